package e2e_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestGarbageOnEitherPortEndsInABoundAndTheRestGoesOn: each connection that
// speaks nonsense, or too slowly, is closed; a good one beside it never notices.
func TestGarbageOnEitherPortEndsInABoundAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	random := make([]byte, 1<<20)
	rand.Read(random)
	good := d.Connect(t)
	var ends sync.WaitGroup
	for name, garbage := range map[string]string{
		"random bytes":         string(random),
		"an HTTP request":      "POST / HTTP/1.1\r\nHost: cache\r\nContent-Length: 5\r\n\r\nhello",
		"a huge argument":      "*1\r\n$9223372036854775807\r\n",
		"a negative argument":  "*2\r\n$3\r\nGET\r\n$-2\r\n\r\n",
		"a huge array":         "*2147483648\r\n",
		"no array":             "*x\r\n",
		"a line without end":   strings.Repeat("a", 1<<20),
		"unbalanced quotes":    "SET \"k v\r\n",
		"a TLS client's hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"Redis without TLS":    "*1\r\n$4\r\nPING\r\n",
		"nothing":              "",
	} {
		for port, address := range map[string]string{"sidecar": d.Sidecar, "gateway": d.Gateway} {
			if port == "sidecar" && (name == "nothing" || name == "a TLS client's hello" || name == "Redis without TLS") {
				continue // an idle or a slow application is not an attack
			}
			ends.Go(func() {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Errorf("%s, %s: %v", port, name, err)
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(time.Minute)) // the gateway gives a handshake 5 s
				io.WriteString(conn, garbage)                 // may fail half-way: closed already
				if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
					t.Errorf("%s, %s: the connection is still open", port, name)
				}
			})
		}
	}
	ends.Wait()
	good.Want("+PONG\r\n", "PING")
	d.Connect(t).Want("+PONG\r\n", "PING")
	if strings.Contains(d.Output(), "goroutine ") {
		t.Errorf("something panicked:\n%s", d.Output())
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestALaggingHandshakeLocksNobodyOut holds more handshakes open, from one
// address, than the gateway takes at a time from all.
func TestALaggingHandshakeLocksNobodyOut(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	attacker := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}}
	for range 1100 {
		conn, err := attacker.Dial("tcp", d.Gateway)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	c := lab.NewClient(t, mustConnect(t, d.Sidecar))
	began := time.Now()
	c.Want("+OK\r\n", "AUTH", d.Password())
	t.Logf("a new application was served after %v", time.Since(began))
}

// TestFilesThatCantBeTrustedAreRefused: each line of the error says what to do.
func TestFilesThatCantBeTrustedAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		role  string
		spoil func(s *site) error
		code  int
		says  []string
	}{
		"the key is open to the group": {"gateway", func(s *site) error { return os.Chmod(s.path("cache-1", "tls", "tls.pem"), 0o640) }, 2, []string{"tls.pem", "chmod 600"}},
		"the sidecar's key is open":    {"sidecar", func(s *site) error { return os.Chmod(s.path("web-1", "tls", "tls.pem"), 0o604) }, 2, []string{"tls.pem", "chmod 600"}},
		"no certificate":               {"gateway", func(s *site) error { return os.Remove(s.path("cache-1", "tls", "tls.pem")) }, 2, []string{"tls.pem"}},
		"another host's key": {"gateway", func(s *site) error {
			conf := s.path("cache-1", "gateway.yaml")
			text, err := os.ReadFile(conf)
			if err != nil {
				return err
			}
			text = bytes.Replace(text, []byte("tls: {"), []byte("tls: {key: ../web-1/tls/tls.pem, "), 1)
			return os.WriteFile(conf, text, 0o600)
		}, 2, []string{"not the key of this certificate"}},
		"broken YAML":     {"gateway", func(s *site) error { return os.WriteFile(s.path("cache-1", "gateway.yaml"), []byte("a: [b"), 0o600) }, 2, []string{"gateway.yaml", "not YAML"}},
		"no such file":    {"sidecar", func(s *site) error { return os.Remove(s.path("web-1", "sidecar.yaml")) }, 2, []string{"sidecar.yaml"}},
		"digest writable": {"gateway", func(s *site) error { return os.Chmod(s.path("secret", "password.sha256"), 0o666) }, 2, []string{"password.sha256", "chmod 644"}},
		"no digest":       {"gateway", func(s *site) error { return os.WriteFile(s.path("secret", "password.sha256"), nil, 0o600) }, 2, []string{"password.sha256", "redoubt secret new"}},
		"a password instead of its digest": {"gateway", func(s *site) error {
			return os.WriteFile(s.path("secret", "password.sha256"), []byte("hunter2hunter2\n"), 0o600)
		}, 2, []string{"SHA-256"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if err := c.spoil(s); err != nil {
				t.Fatal(err)
			}
			host, dir := s.cache, "cache-1"
			if c.role == "sidecar" {
				host, dir = s.web, "web-1"
			}
			out, code := lab.Run(t, host.Command(lab.Redoubt(t), c.role, "--config", s.path(dir, c.role+".yaml")))
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("doesn't say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "hunter2") {
				t.Errorf("repeats the secret:\n%s", out)
			}
		})
	}
}

// TestACertificateOfAnotherHostIsRefused: a directory copied from web-1.
func TestACertificateOfAnotherHostIsRefused(t *testing.T) {
	s := newSite(t)
	if out, code := lab.Run(t, exec.Command("cp", "-r", s.path("web-1", "tls"), s.path("cache-1"))); code != 0 {
		t.Fatal(out)
	}
	if err := os.RemoveAll(s.path("web-1")); err != nil {
		t.Fatal(err)
	}
	out, code := lab.Run(t, s.cache.Command(lab.Redoubt(t), "gateway", "--config", filepath.Join(s.path("cache-1"), "gateway.yaml")))
	if code != 2 || !strings.Contains(out, "spiffe://clinic/app/web-1") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
}

// TestStateWithAPartMissingSaysHowToBeginAnew: it isn't painted over, since who
// lost the ledger can't revoke what it told of.
func TestStateWithAPartMissingSaysHowToBeginAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if code := lab.UpIn(t, dir).Stop(); code != 0 {
		t.Fatalf("up ended with %d", code)
	}
	if err := os.Remove(filepath.Join(dir, "ca", "issued")); err != nil {
		t.Fatal(err)
	}
	out, code := lab.Run(t, exec.Command(lab.Redoubt(t), "up", "--dir", dir, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"))
	if code == 0 || !strings.Contains(out, "remove "+dir) || !strings.Contains(out, filepath.Join(dir, "ca", "issued")) {
		t.Errorf("%d %s", code, out)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	lab.UpIn(t, dir).Connect(t).Want("+PONG\r\n", "PING")
}
