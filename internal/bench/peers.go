package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// A peer is one way from an application to an engine. All carry mutual TLS 1.3
// with certificates of the same CA, the plain one apart.
type peer struct {
	name, title string
	program     []string // the names it may have; none: this program
	version     string   // the argument that makes it tell its version
	start       func(context.Context, *site, string) (target, error)
}

// plainName is the peer that all others are compared with.
const plainName = "plain"

// peers are all that we know, in the order of the tables.
func peers() []peer {
	engine := []string{"redis-server", "valkey-server"}
	return []peer{
		{plainName, "plain engine", engine, "--version", startPlain},
		{"redoubt", "Redoubt", nil, "", startRedoubt},
		{"native", "the engine's TLS", engine, "--version", startNative},
		{"stunnel", "stunnel ×2", []string{"stunnel", "stunnel4"}, "-version", startStunnel},
		{"haproxy", "HAProxy ×2", []string{"haproxy"}, "-v", startHAProxy},
		{"ghostunnel", "ghostunnel ×2", []string{"ghostunnel"}, "--version", startGhostunnel},
	}
}

// ValidPeers says whether all names are of peers.
func ValidPeers(names []string) error {
	var known []string
	for _, p := range peers() {
		known = append(known, p.name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("no peer is called %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

// chosenPeers are those of the names, and plain, which always runs; no names
// are all.
func chosenPeers(names []string) []peer {
	if len(names) == 0 {
		return peers()
	}
	return slices.DeleteFunc(peers(), func(p peer) bool { return p.name != plainName && !slices.Contains(names, p.name) })
}

// absentError says why a peer can't run here, which is no failure.
type absentError string

func (e absentError) Error() string { return string(e) }

// find looks a program up; distributions put some where only root looks.
func find(names []string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", absentError("not installed: no " + strings.Join(names, " or ") + " in PATH")
}

var versionPattern = regexp.MustCompile(`(?:^|[ =v])(\d+\.\d+[\w.+-]*)`)

// versionOf asks a program for its version; "" if it doesn't say.
func versionOf(ctx context.Context, program, flag string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, program, flag).CombinedOutput() // ghostunnel's exit code is 0, stunnel's was not always
	if m := versionPattern.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}

// engineConf is an engine's configuration. It goes through standard input, so
// that the password is in no argument and no file; it stands last, so that no
// complaint about another line repeats it.
func (s *site) engineConf(lines ...string) string {
	conf := append(lines, "bind 127.0.0.1", `save ""`, "appendonly no", "daemonize no", "loglevel warning", "maxclients 10000", "dir "+s.dir)
	return strings.Join(append(conf, "requirepass "+s.password), "\n") + "\n"
}

func startPlain(ctx context.Context, s *site, program string) (target, error) {
	ports, err := freePorts(1)
	if err != nil {
		return target{}, err
	}
	s.plain = loopback(ports[0])
	unix := s.path("plain.sock")
	if err := s.run(filepath.Base(program), s.engineConf("port "+ports[0], "unixsocket "+unix), program, "-"); err != nil {
		return target{}, err
	}
	return s.await(ctx, func() (target, error) { return target{address: s.plain, unix: unix, password: s.password}, nil })
}

func startRedoubt(ctx context.Context, s *site, program string) (target, error) {
	ports, err := freePorts(2)
	if err != nil {
		return target{}, err
	}
	dir, unix := s.path("redoubt"), s.path("redoubt.sock")
	err = s.run("redoubt up", "", program, "up", "--dir", dir, "--engine", s.engine,
		"--listen", loopback(ports[0]), "--unix", unix, "--gateway", loopback(ports[1]))
	if err != nil {
		return target{}, err
	}
	return s.await(ctx, func() (target, error) {
		env, err := statedir.ReadSecret(filepath.Join(dir, "app.env"))
		if err != nil {
			return target{}, err
		}
		password, address, found := bytes.Cut(bytes.TrimSpace(bytes.TrimPrefix(env, []byte("REDIS_URL=redis://:"))), []byte("@"))
		if !found {
			return target{}, errors.New("app.env holds no REDIS_URL")
		}
		return target{address: string(address), unix: unix, password: string(password)}, nil
	})
}

func startNative(ctx context.Context, s *site, program string) (target, error) {
	ports, err := freePorts(1)
	if err != nil {
		return target{}, err
	}
	credentials, err := tunnel.LoadCredentials(tunnel.Files{Certificate: s.path("client", "tls.pem"), CA: s.path("client", "ca.crt")})
	if err != nil {
		return target{}, err
	}
	conf := s.engineConf("tls-port "+ports[0], "port 0", `tls-protocols "TLSv1.3"`, "tls-auth-clients yes",
		"tls-cert-file "+s.path("server", "tls.pem"), "tls-key-file "+s.path("server", "tls.pem"), "tls-ca-cert-file "+s.path("server", "ca.crt"))
	if err := s.run(filepath.Base(program)+" with TLS", conf, program, "-"); err != nil {
		return target{}, err
	}
	t, err := s.await(ctx, func() (target, error) {
		return target{address: loopback(ports[0]), password: s.password, tls: withoutALPN(credentials.ClientConfig(s.gatewayID))}, nil
	})
	if err != nil && strings.Contains(err.Error(), "tls-port") {
		// An engine that was built without TLS doesn't know the directive.
		s.processes = s.processes[:len(s.processes)-1]
		return target{}, absentError("this engine was built without TLS")
	}
	return t, err
}

// withoutALPN is the tunnel's own policy for an engine, which doesn't speak the
// gateway's protocol by that name; all else about it is checked.
func withoutALPN(c *tls.Config) *tls.Config {
	check := c.VerifyConnection
	c.NextProtos = nil
	c.VerifyConnection = func(state tls.ConnectionState) error {
		state.NegotiatedProtocol = tunnel.Relay
		return check(state)
	}
	return c
}

// pair starts both ends of a proxy: the application's, which listens for us,
// and the engine's.
func (s *site) pair(ctx context.Context, name string, run func(end, listen, connect string) error) (target, error) {
	ports, err := freePorts(2)
	if err != nil {
		return target{}, err
	}
	app, wire := loopback(ports[0]), loopback(ports[1])
	if err := run("server", wire, s.plain); err != nil {
		return target{}, err
	}
	if err := run("client", app, wire); err != nil {
		return target{}, err
	}
	return s.await(ctx, func() (target, error) { return target{address: app, password: s.password}, nil })
}

func startStunnel(ctx context.Context, s *site, program string) (target, error) {
	return s.pair(ctx, "stunnel", func(end, listen, connect string) error {
		return s.runWithFile("stunnel", end, program, fmt.Sprintf(`foreground = yes
pid =
syslog = no
debug = 3
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[tunnel]
client = %s
accept = %s
connect = %s
cert = %s
CAfile = %s
verifyChain = yes
sslVersionMin = TLSv1.3
`, map[string]string{"client": "yes", "server": "no"}[end], listen, connect, s.path(end, "tls.pem"), s.path(end, "ca.crt")))
	})
}

func startHAProxy(ctx context.Context, s *site, program string) (target, error) {
	return s.pair(ctx, "haproxy", func(end, listen, connect string) error {
		secure := fmt.Sprintf("ssl crt %s ca-file %s verify required ssl-min-ver TLSv1.3", s.path(end, "tls.pem"), s.path(end, "ca.crt"))
		bind, server := secure, ""
		if end == "client" {
			bind, server = "", secure
		}
		return s.runWithFile("haproxy", end, program, fmt.Sprintf(`global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen tunnel
  bind %s %s
  server next %s %s
`, listen, bind, connect, server), "-db", "-f")
	})
}

func startGhostunnel(ctx context.Context, s *site, program string) (target, error) {
	return s.pair(ctx, "ghostunnel", func(end, listen, connect string) error {
		who := "--allow-all"
		if end == "client" {
			who = "--verify-uri=" + s.gatewayID.String()
		}
		return s.run("ghostunnel, "+end, "", program, end, "--listen", listen, "--target", connect, who, "--quiet=all",
			"--cert", s.path(end, "tls.pem"), "--key", s.path(end, "tls.pem"), "--cacert", s.path(end, "ca.crt"))
	})
}

// runWithFile starts an end of a proxy whose configuration is a file, which it
// is given as the last argument.
func (s *site) runWithFile(name, end, program, conf string, args ...string) error {
	file := s.path(name + "-" + end + ".conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	return s.run(name+", "+end, "", program, append(args, file)...)
}
