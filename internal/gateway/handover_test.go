package gateway_test

import (
	"crypto/tls"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
)

// TestBytesThatComeWithTheHandshakeAreNotForgotten: they lie in crypto/tls at the
// hand-over, and no event will ever tell of them.
func TestBytesThatComeWithTheHandshakeAreNotForgotten(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	for _, command := range []string{encode("PING"), encode("ECHO", string(make([]byte, 3000)))} {
		raw := &holding{TCPConn: g.raw("127.0.0.1")}
		conn := tls.Client(raw, g.app.ClientConfig(g.gateway))
		must(t, conn.Handshake())
		if len(raw.held) == 0 {
			t.Fatal("the handshake's end is out already")
		}
		_, err := conn.Write([]byte(command))
		must(t, err)
		must(t, raw.release()) // Finished and the command in one segment
		if _, err := conn.Read(make([]byte, 100)); err != nil {
			t.Errorf("no answer: %v", err)
		}
		raw.Close()
	}
}

// holding keeps what is written after the first hello until release.
type holding struct {
	*net.TCPConn
	greeted bool
	held    []byte
}

func (c *holding) Write(b []byte) (int, error) {
	if !c.greeted {
		c.greeted = true
		return c.TCPConn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

func (c *holding) release() error {
	_, err := c.TCPConn.Write(c.held)
	return err
}

// TestIdleConnectionsCostNoGoroutine: what they do cost is in
// BenchmarkIdleMemory.
func TestIdleConnectionsCostNoGoroutine(t *testing.T) {
	const conns = 200
	manyFiles(t, 3*conns+200)
	path, _ := redis(t)
	g := start(t, path, nil)
	ask(t, g.dial(), "PING")
	before := runtime.NumGoroutine()
	for range conns - 1 {
		if got := ask(t, g.dial(), "PING"); got != "+PONG" {
			t.Fatal(got)
		}
	}
	for late := time.Now().Add(patience); ; { // the last handshake's goroutine is about to end
		now := runtime.NumGoroutine()
		if now <= before {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("%d goroutines more", now-before)
		}
		runtime.Gosched()
	}
}

func manyFiles(t testing.TB, need uint64) {
	t.Helper()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Cur < need {
		t.Fatalf("this test opens %d files, the limit is %d: ulimit -n %[1]d", need, limit.Cur)
	}
}

// TestSeveralLoopsCarryAndDrain: as on a machine with many CPUs.
func TestSeveralLoopsCarryAndDrain(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = time.Minute })
	var conns []*tls.Conn
	for range 20 {
		conns = append(conns, g.dial())
	}
	for range 50 {
		for _, conn := range conns {
			if got := ask(t, conn, "PING"); got != "+PONG" {
				t.Fatal(got)
			}
		}
	}
	begun := time.Now()
	g.stop()
	for _, conn := range conns {
		closed(t, conn)
		conn.Close()
	}
	must(t, g.wait())
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
