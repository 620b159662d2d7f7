package e2e_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestAConnectionThatABoxHasForgottenIsFoundOut: between the hosts something drops what
// belongs to connections that stand, and says nothing. Who is blocked or subscribed
// sends nothing himself, and would wait for ever; the kernel's probes find out.
func TestAConnectionThatABoxHasForgottenIsFoundOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.gateway()
	s.sidecar(s.web)
	secret := strings.TrimSpace(read(t, s.path("secret", "app.env")))
	password := secret[strings.Index(secret, "://:")+4 : strings.LastIndex(secret, "@")]
	waiting := map[string]net.Conn{"BLPOP nothing 0\r\n": nil, "SUBSCRIBE nothing\r\n": nil}
	for command := range waiting {
		conn, err := net.Dial("unix", s.path("web-1", "redis.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := lab.NewClient(t, conn)
		c.Want("+OK\r\n", "AUTH", password)
		c.Want("+PONG\r\n", "PING")
		if _, err := io.WriteString(conn, command); err != nil {
			t.Fatal(err)
		}
		waiting[command] = conn
	}
	within(t, time.Minute, "both wait at the engine", func() bool {
		out, _ := lab.Run(t, s.cache.Command("ss", "-Htn", "state", "established", "sport", "=", ":6379"))
		return strings.Count(out, "\n") >= 3 // the shared one, and theirs
	})
	forget := "table ip box { chain to { type filter hook input priority 0; tcp dport 6379 tcp flags & syn == 0 drop; }; chain from { type filter hook output priority 0; tcp sport 6379 tcp flags & syn == 0 drop; }; }"
	if out, code := lab.Run(t, s.cache.Command("nft", forget)); code != 0 {
		t.Fatal(out)
	}
	began := time.Now()
	for command, conn := range waiting {
		conn.SetDeadline(time.Now().Add(3 * time.Minute)) // 30 are enough
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("%q: still waits: %v", command, err)
		}
		t.Logf("%q ended after %v", command, time.Since(began))
	}
}
