package gateway_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
)

func TestIdleConnectionsEndAtOnceOnADrain(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = time.Minute })
	var conns []net.Conn
	for range 20 {
		conn := g.dial()
		ask(t, conn, "PING")
		conns = append(conns, conn)
	}
	begun := time.Now()
	g.stop()
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want a clean end", err)
		}
		conn.Close()
	}
	must(t, g.wait())
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	g.line("connection closed", "reason=drained")
}

func TestABlockedCommandAndAHalfClosedPeerDoNotHoldADrain(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = time.Minute })
	blocked := g.dial()
	ask(t, blocked, "PING")
	blocked.Write([]byte(encode("BLPOP", "none", "0")))
	subscribed := g.dial()
	ask(t, subscribed, "SUBSCRIBE", "none")
	begun := time.Now()
	g.stop()
	for _, conn := range []net.Conn{blocked, subscribed} {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("got %v, want a clean end", err)
		}
		conn.Close()
	}
	must(t, g.wait())
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestADrainDeliversWhatIsUnderWay: a reply whose first byte comes only after the
// stop, and one of 64 MB whose reader pauses until then.
func TestADrainDeliversWhatIsUnderWay(t *testing.T) {
	const size = 64 << 20
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = time.Minute })
	big := g.dial()
	if got := ask(t, big, "SETRANGE", "big", "67108863", "x"); got != ":67108864" {
		t.Fatal(got)
	}
	big.Write([]byte(encode("GET", "big")))
	head := make([]byte, len("$67108864\r\n"))
	if _, err := io.ReadFull(big, head); err != nil {
		t.Fatal(err)
	}
	slow := g.dial()
	ask(t, slow, "PING")
	slow.Write([]byte(encode("BLPOP", "none", "0.3")))
	g.stop()
	if got, err := io.ReadAll(slow); err != nil || string(got) != "*-1\r\n" {
		t.Errorf("the late reply: %q, %v", got, err)
	}
	if _, err := io.CopyN(io.Discard, big, size+2); err != nil {
		t.Errorf("the large reply: %v", err)
	}
	big.Close()
	slow.Close()
	must(t, g.wait())
}

func TestAnUploadUnderWayIsFinishedOnADrain(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = time.Minute })
	conn := g.dial()
	value := bytes.Repeat([]byte("v"), 32<<20)
	command := encode("SET", "upload", string(value))
	half := len(command) / 2
	conn.Write([]byte(command[:half]))
	g.stop()
	conn.Write([]byte(command[half:]))
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "+OK\r\n" {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()
	must(t, g.wait())
}

func TestABusyConnectionIsEndedBetweenRepliesWhenHalfTheTimeIsOver(t *testing.T) {
	path, _ := redis(t)
	for tries := 1; ; tries++ {
		took, pause := drainABusyOne(t, path)
		if took >= 3*time.Second {
			return
		}
		if pause < 90*time.Millisecond || tries == 20 { // else it was not busy, but quiet, since its machine was
			t.Fatalf("ended after %s; it paused for %s at most", took, pause)
		}
	}
}

// drainABusyOne stops a gateway under a connection that is always busy, and returns when
// that ended, and its longest pause.
func drainABusyOne(t *testing.T, path string) (took, pause time.Duration) {
	t.Helper()
	g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = 6 * time.Second })
	conn := g.dial()
	asked, answered := 0, 0
	var begun time.Time
	reply := make([]byte, len("+PONG\r\n"))
	last := time.Now()
	since := func() { // the last step
		now := time.Now()
		pause, last = max(pause, now.Sub(last)), now
	}
	for {
		if asked == 100 {
			begun = time.Now()
			g.stop()
		}
		if _, err := conn.Write([]byte(encode("PING"))); err != nil {
			break
		}
		since()
		asked++
		if _, err := io.ReadFull(conn, reply); err != nil {
			if err != io.EOF {
				t.Errorf("the end came as %v", err) // of one that was cut
			}
			break
		}
		since()
		answered++
	}
	took = time.Since(begun)
	conn.Close()
	must(t, g.wait())
	if asked-answered > 1 {
		t.Errorf("%d asked, %d answered", asked, answered)
	}
	return took, pause
}

func TestAStalledPeerIsCutWhenTheTimeIsOver(t *testing.T) {
	path, _ := redis(t)
	for _, timeout := range []time.Duration{0, time.Second} {
		g := start(t, path, func(o *gateway.Options) { o.Limits.DrainTimeout = timeout })
		conn := g.dial()
		ask(t, conn, "SETRANGE", "big", "67108863", "x")
		conn.Write([]byte(encode("GET", "big")))
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		g.stop() // and read no more
		must(t, g.wait())
		if took := time.Since(begun); took < timeout || took > timeout+20*time.Second { // the engine ends it after 30
			t.Errorf("drain timeout %s: took %s", timeout, took)
		}
		g.line("connection closed", "reason=", "drain")
	}
}

func TestHandshakesUnderWayEndAtOnceOnADrain(t *testing.T) {
	g := start(t, "/nowhere", func(o *gateway.Options) { o.Limits.HandshakeTimeout = time.Minute })
	conn := g.raw("127.0.0.1")
	conn.Write([]byte{22, 3, 1})
	begun := time.Now()
	g.stop()
	closed(t, conn)
	must(t, g.wait())
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
