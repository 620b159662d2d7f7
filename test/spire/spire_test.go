//go:build slow && spiffe

// Package spire_test runs a gateway and a sidecar on certificates of a real
// SPIRE: its server and agent are built from source, by a module of their own
// (tools/go.mod), so that nothing of them is among the product's dependencies.
//
//	make test-spire
package spire_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// bin has what was built for all tests.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "redoubt-spire-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	for _, build := range []struct {
		cgo  string
		args []string
	}{
		// SPIRE's server keeps its books in SQLite, which is C.
		{"1", []string{"build", "-C", "tools", "-trimpath", "-ldflags=-s -w", "-o", dir + "/", "github.com/spiffe/spire/cmd/spire-server", "github.com/spiffe/spire/cmd/spire-agent"}},
		{"0", []string{"build", "-tags", "spiffe", "-o", dir + "/", "github.com/redoubt-cache/redoubt/cmd/redoubt"}},
	} {
		cmd := exec.Command("go", build.args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+build.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", build.args, err, out)
			return 1
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // other users run redoubt
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// webUser is whom the application's registration entry is for.
const webUser = "4711"

// spire is a SPIRE server and agent of the trust domain "clinic".
type spire struct {
	t              *testing.T
	dir            string // for everybody to enter: the agent's socket lies there
	server, socket string // unix sockets
}

func startSPIRE(t *testing.T) *spire {
	t.Helper()
	dir, err := os.MkdirTemp("", "redoubt-spire-") // t.TempDir is root's alone
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	s := &spire{t: t, dir: dir, server: filepath.Join(dir, "server.sock"), socket: filepath.Join(dir, "agent.sock")}
	port := freePort(t)
	s.write("server.conf", fmt.Sprintf(`server {
  bind_address = "127.0.0.1"
  bind_port = "%s"
  socket_path = "%s"
  trust_domain = "clinic"
  data_dir = "%s"
  log_level = "INFO"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3", connection_string = "%s/books.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`, port, s.server, dir, dir))
	lab.Start(t, exec.Command(filepath.Join(bin, "spire-server"), "run", "-config", filepath.Join(dir, "server.conf")), "Starting Server APIs")
	s.eventually("the server answers", func() bool {
		return exec.Command(filepath.Join(bin, "spire-server"), "healthcheck", "-socketPath", s.server).Run() == nil
	})
	s.write("bundle.pem", s.command("bundle", "show"))
	token := regexp.MustCompile(`Token: (\S+)`).FindStringSubmatch(s.command("token", "generate", "-spiffeID", "spiffe://clinic/agent/here"))
	if token == nil {
		t.Fatal("the server gives no join token")
	}
	s.write("agent.conf", fmt.Sprintf(`agent {
  data_dir = "%s/agent"
  log_level = "INFO"
  server_address = "127.0.0.1"
  server_port = "%s"
  socket_path = "%s"
  trust_bundle_path = "%s/bundle.pem"
  trust_domain = "clinic"
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`, dir, port, s.socket, dir))
	must(t, os.Mkdir(filepath.Join(dir, "agent"), 0o700))
	lab.Start(t, exec.Command(filepath.Join(bin, "spire-agent"), "run", "-config", filepath.Join(dir, "agent.conf"), "-joinToken", token[1]), "Starting Workload and SDS APIs")
	return s
}

// register lets a local user have an identity, for as short a time as SPIRE
// likes, so that it is renewed as we look on.
func (s *spire) register(id, uid string) {
	s.t.Helper()
	s.command("entry", "create", "-parentID", "spiffe://clinic/agent/here", "-spiffeID", id, "-selector", "unix:uid:"+uid, "-x509SVIDTTL", "20")
}

func (s *spire) command(args ...string) string {
	s.t.Helper()
	out, err := exec.Command(filepath.Join(bin, "spire-server"), append(args, "-socketPath", s.server)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("spire-server %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *spire) write(name, text string) {
	s.t.Helper()
	must(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
}

// redoubt is a role on SPIRE's certificates, as a local user.
func (s *spire) redoubt(uid, role, conf string) *exec.Cmd {
	s.t.Helper()
	s.write(role+".yaml", conf+"tls: {workload_api: unix://"+s.socket+"}\n")
	return exec.Command("setpriv", "--reuid="+uid, "--regid="+uid, "--clear-groups", filepath.Join(bin, "redoubt"), role, "--config", filepath.Join(s.dir, role+".yaml"))
}

func (s *spire) gateway(address string) *lab.Process {
	s.t.Helper()
	if out, err := exec.Command(filepath.Join(bin, "redoubt"), "secret", "new", "--out", filepath.Join(s.dir, "secret")).CombinedOutput(); err != nil {
		s.t.Fatalf("redoubt secret new: %v\n%s", err, out)
	}
	return lab.Start(s.t, s.redoubt("0", "gateway", `deployment: clinic
name: cache-1
listen: `+address+`
engine: {password_digests: secret/password.sha256, memory: 64mb, max_value: 32mb}
`), "ready")
}

func (s *spire) sidecar(uid, listen, gateway string) *exec.Cmd {
	return s.redoubt(uid, "sidecar", `deployment: clinic
name: web-1
listen: `+listen+`
gateways: [{name: cache-1, address: "`+gateway+`"}]
`)
}

// eventually waits for what no event tells of, in another program.
func (s *spire) eventually(what string, done func() bool) {
	s.t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not within 3 minutes: %s", what)
		}
	}
}

// TestARealSPIREBringsAndRenewsTheCertificates: gateway and sidecar get their
// identities from the agent, by the local user that each runs as; certificates
// of seconds are renewed again and again, the CA is replaced, and the
// application's connection sees nothing of it.
func TestARealSPIREBringsAndRenewsTheCertificates(t *testing.T) {
	s := startSPIRE(t)
	s.register("spiffe://clinic/gateway/cache-1", "0")
	s.register("spiffe://clinic/batch/nightly", "0") // not ours: to be passed over
	s.register("spiffe://clinic/app/web-1", webUser)
	tunnel, local := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	gateway := s.gateway(tunnel)
	sidecar := lab.Start(t, s.sidecar(webUser, local, tunnel), "ready")

	url, err := os.ReadFile(filepath.Join(s.dir, "secret", "app.env"))
	must(t, err)
	_, password, _ := strings.Cut(strings.TrimSpace(string(url)), "redis://:")
	password, _, _ = strings.Cut(password, "@")
	conn, err := net.Dial("tcp", local)
	must(t, err)
	app := lab.NewClient(t, conn)
	app.Want("+OK\r\n", "AUTH", password)
	renewed := func(n int) func() bool {
		return func() bool {
			app.Want("+PONG\r\n", "PING")
			const says = "a new certificate is in use"
			return strings.Count(gateway.Output(), says) >= n && strings.Count(sidecar.Output(), says) >= n
		}
	}
	s.eventually("both have a second certificate after the first", renewed(2))

	// Another CA of SPIRE's, both believed for a while.
	authority := regexp.MustCompile(`Authority ID: (\S+)`).FindStringSubmatch(s.command("localauthority", "x509", "prepare"))
	if authority == nil {
		t.Fatal("SPIRE prepares no other CA")
	}
	two := func() bool {
		app.Want("+PONG\r\n", "PING")
		return strings.Contains(gateway.Output(), "other CAs are believed") && strings.Contains(sidecar.Output(), "other CAs are believed")
	}
	s.eventually("both believe two CAs", two)
	s.command("localauthority", "x509", "activate", "-authorityID", authority[1])
	have := max(strings.Count(gateway.Output(), "a new certificate"), strings.Count(sidecar.Output(), "a new certificate"))
	s.eventually("both have certificates of the new CA", renewed(have+2))
	fresh, err := net.Dial("tcp", local)
	must(t, err)
	again := lab.NewClient(t, fresh)
	again.Want("+OK\r\n", "AUTH", password)
	again.Want("+PONG\r\n", "PING")
}

// TestWhoIsNotRegisteredGetsNoIdentity: the agent knows the local user that asks.
func TestWhoIsNotRegisteredGetsNoIdentity(t *testing.T) {
	s := startSPIRE(t)
	s.register("spiffe://clinic/app/web-1", webUser)
	s.register("spiffe://clinic/app/web-2", "4712")
	for uid, says := range map[string]string{"4713": "no identity issued", "4712": "is of spiffe://clinic/app/web-2"} {
		cmd := s.sidecar(uid, "127.0.0.1:"+freePort(t), "127.0.0.1:1")
		t.Run(uid, func(t *testing.T) {
			t.Parallel()
			stop := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
			defer stop.Stop()
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(string(out), says) {
				t.Errorf("exit code %d, want it to say %q:\n%s", code, says, out)
			}
		})
	}
}

// freePort is one that nobody has now, below those that the kernel gives to
// connections.
func freePort(t *testing.T) string {
	t.Helper()
	nextPort++
	for ; nextPort < 32000; nextPort++ {
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", nextPort)); err == nil {
			l.Close()
			return fmt.Sprint(nextPort)
		}
	}
	t.Fatal("no port is free")
	return ""
}

var nextPort = 22000 + os.Getpid()%5000

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
