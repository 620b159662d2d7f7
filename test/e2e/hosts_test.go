package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// site is a deployment on hosts of its own: what the operations manual says,
// done by the commands that it says.
type site struct {
	t          *testing.T
	net        *lab.Network
	cache, web *lab.Host
	dir        string // a folder for each host, and the CA's
}

func newSite(t *testing.T) *site {
	t.Helper()
	n := lab.NewNetwork(t)
	return siteOn(t, n, n.Host("cache-1", "10.77.0.2/24"), n.Host("web-1", "10.77.0.3/24"), "admit: [10.77.0.3/32]\n")
}

// siteOn is the same on hosts that are there; more is further configuration of
// the gateway.
func siteOn(t *testing.T, n *lab.Network, cache, web *lab.Host, more string) *site {
	t.Helper()
	s := &site{t: t, net: n, dir: t.TempDir(), cache: cache, web: web}
	s.redoubt("pki", "init", "--deployment", "clinic", "--dir", s.path("ca"))
	s.redoubt("pki", "issue", "--dir", s.path("ca"), "--role", "gateway", "--name", "cache-1", "--ip", "10.77.0.2", "--out", s.path("cache-1", "tls"))
	s.redoubt("pki", "issue", "--dir", s.path("ca"), "--role", "app", "--name", "web-1", "--out", s.path("web-1", "tls"))
	s.redoubt("secret", "new", "--out", s.path("secret"))
	s.write("gateway.yaml", s.path("cache-1"), `deployment: clinic
name: cache-1
listen: 10.77.0.2:6379
`+more+`tls: {certificate: tls/tls.pem, ca: tls/ca.crt}
engine: {password_digests: ../secret/password.sha256, memory: 64mb, max_value: 32mb}
`)
	s.write("sidecar.yaml", s.path("web-1"), `deployment: clinic
name: web-1
gateways: [{name: cache-1, address: 10.77.0.2:6379}]
tls: {certificate: tls/tls.pem, ca: tls/ca.crt}
unix: {path: redis.sock}
`)
	return s
}

func (s *site) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *site) write(name, dir, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) redoubt(args ...string) {
	s.t.Helper()
	if out, code := lab.Run(s.t, exec.Command(lab.Redoubt(s.t), args...)); code != 0 {
		s.t.Fatalf("redoubt %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

func (s *site) gateway() *lab.Process {
	return lab.Start(s.t, s.cache.Command(lab.Redoubt(s.t), "gateway", "--config", s.path("cache-1", "gateway.yaml"), "--log-format", "text"), "msg=ready")
}

func (s *site) sidecar(on *lab.Host) *lab.Process {
	return lab.Start(s.t, on.Command(lab.Redoubt(s.t), "sidecar", "--config", s.path("web-1", "sidecar.yaml"), "--log-format", "text"), "msg=ready")
}

// app runs redis-cli as the application on the web host.
func (s *site) app(args ...string) string {
	s.t.Helper()
	url := strings.TrimPrefix(strings.TrimSpace(read(s.t, s.path("secret", "app.env"))), "REDIS_URL=")
	cmd := s.web.Command(append([]string{"redis-cli", "--no-auth-warning", "-u", url}, args...)...)
	out, code := lab.Run(s.t, cmd)
	if code != 0 {
		s.t.Fatalf("redis-cli %v: exit code %d\n%s", args[0], code, out)
	}
	return strings.TrimSpace(out)
}

// TestOnTheWireThereIsOnlyTLS captures what travels between two hosts while a
// marked value is written, published and read.
func TestOnTheWireThereIsOnlyTLS(t *testing.T) {
	s := newSite(t)
	gateway, _ := s.gateway(), s.sidecar(s.web)
	capture := s.path("capture")
	tcpdump := lab.Start(t, s.net.OnTheSwitch("tcpdump", "-i", "switch", "-U", "-n", "-Z", "root", "-w", capture), "listening on")
	m := mark()
	if got := s.app("SET", "key:"+m, m); got != "OK" {
		t.Fatal(got)
	}
	if got := s.app("GET", "key:"+m); got != m {
		t.Fatal(got)
	}
	s.app("PUBLISH", m, m)
	s.app("EVAL", "return '"+m+"'", "0") // refused; the refusal travels too
	secret := strings.TrimSpace(read(t, s.path("secret", "app.env")))
	password := secret[strings.Index(secret, "://:")+4 : strings.LastIndex(secret, "@")]

	// The control: what is sent in the clear on the same wire is found.
	inTheClear := mark()
	listener := lab.Start(t, s.cache.Command("/usr/bin/python3", "-u", "-c",
		"import socket; s=socket.create_server(('10.77.0.2', 7777)); print('listening'); c,_=s.accept(); c.recv(100); c.send(b'x')"), "listening")
	out, code := lab.Run(t, s.web.Command("/usr/bin/python3", "-c",
		fmt.Sprintf("import socket; c=socket.create_connection(('10.77.0.2', 7777)); c.send(b'%s'); c.recv(1)", inTheClear)))
	if code != 0 {
		t.Fatal(out)
	}
	listener.Wait()
	within(t, time.Minute, "the capture to be written", func() bool {
		return strings.Contains(read(t, capture), inTheClear)
	})
	tcpdump.Stop()

	packets := []byte(read(t, capture))
	for what, secret := range map[string]string{"the marked value": m, "the password": password, "a Redis command": "*3\r\n$3\r\nSET", "an engine's reply": "+OK\r\n"} {
		if bytes.Contains(packets, []byte(secret)) {
			t.Errorf("%s travels in the clear", what)
		}
	}
	// RFC 8446 §5.1: a record of application data is 23, version 3.3.
	if n := bytes.Count(packets, []byte{23, 3, 3}); n < 10 {
		t.Errorf("only %d TLS records: was anything captured?", n)
	}
	for _, output := range []string{gateway.Output()} {
		if strings.Contains(output, m) || strings.Contains(output, password) {
			t.Error("the gateway's log holds what it carried")
		}
	}
	within(t, time.Minute, "the gateway's log to name the peer", func() bool { return strings.Contains(gateway.Output(), "spiffe://clinic/app/web-1") })
}

func TestOnlyTheAdmittedHostReachesTheTunnel(t *testing.T) {
	s := newSite(t)
	outsider := s.net.Host("outsider", "10.77.0.66/24")
	gateway := s.gateway()
	s.sidecar(s.web)
	if got := s.app("PING"); got != "PONG" {
		t.Fatal(got)
	}
	// It has stolen everything the application host has, but not its address.
	if err := os.Rename(s.path("web-1", "redis.sock"), s.path("web-1", "moved.sock")); err != nil {
		t.Fatal(err) // the two hosts share a file system here
	}
	stolen := s.sidecar(outsider)
	url := strings.TrimPrefix(strings.TrimSpace(read(t, s.path("secret", "app.env"))), "REDIS_URL=")
	out, _ := lab.Run(t, outsider.Command("redis-cli", "--no-auth-warning", "-u", url, "PING"))
	if strings.Contains(out, "PONG") {
		t.Fatal("an outsider got through")
	}
	stolen.Stop()
	within(t, time.Minute, "the refusal to be logged", func() bool { return strings.Contains(gateway.Output(), "10.77.0.66") })
	// The engine listens nowhere on the network, and the sidecar on loopback only.
	for _, h := range []*lab.Host{s.cache, s.web} {
		out, code := lab.Run(t, h.Command("ss", "-Hltnu"))
		if code != 0 {
			t.Fatal(out)
		}
		for line := range strings.Lines(out) {
			local := strings.Fields(line)[4]
			if local != "10.77.0.2:6379" && !strings.HasPrefix(local, "127.0.0.1:") {
				t.Errorf("something listens on %s", local)
			}
		}
	}
}

func TestASidecarOutlivesItsGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first := s.gateway()
	s.sidecar(s.web)
	if got := s.app("PING"); got != "PONG" {
		t.Fatal(got)
	}
	if code := first.Stop(); code != 0 {
		t.Fatalf("the gateway ended with %d\n%s", code, first.Output())
	}
	url := strings.TrimPrefix(strings.TrimSpace(read(t, s.path("secret", "app.env"))), "REDIS_URL=")
	out, _ := lab.Run(t, s.web.Command("redis-cli", "--no-auth-warning", "-u", url, "PING"))
	if !strings.Contains(out, "cache") || strings.Contains(out, "PONG") {
		t.Errorf("with the gateway away the application is told: %s", out)
	}
	s.gateway()
	if got := s.app("PING"); got != "PONG" {
		t.Fatal(got)
	}
}
