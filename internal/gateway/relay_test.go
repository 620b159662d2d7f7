package gateway_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/gateway"
)

func TestThePeersHalfCloseReachesTheEngineAndTheReplyComesBack(t *testing.T) {
	path := engine(t, func(c *net.UnixConn) { // answers once it has heard the end
		all, _ := io.ReadAll(c)
		c.Write([]byte(strings.ToUpper(string(all))))
	})
	g := start(t, path, nil)
	conn := g.dial()
	conn.Write([]byte("question"))
	must(t, conn.CloseWrite())
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "QUESTION" {
		t.Errorf("%q, %v", got, err)
	}
	conn.Close()
	g.line("connection closed", `reason="peer closed"`, "bytes_in=8", "bytes_out=8")
}

func TestAFINWithoutCloseNotifyIsAHalfCloseToo(t *testing.T) {
	path := engine(t, func(c *net.UnixConn) {
		all, _ := io.ReadAll(c)
		c.Write(all)
	})
	g := start(t, path, nil)
	conn := g.dial()
	conn.Write([]byte("question"))
	must(t, conn.NetConn().(*eventloop.Wire).Conn.(*net.TCPConn).CloseWrite())
	if got, err := io.ReadAll(conn); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTheEnginesHalfCloseReachesThePeerWhileItGoesOnSending(t *testing.T) {
	received := make(chan string, 1)
	path := engine(t, func(c *net.UnixConn) {
		c.Write([]byte("last words"))
		c.CloseWrite()
		all, _ := io.ReadAll(c)
		received <- string(all)
	})
	g := start(t, path, nil)
	conn := g.dial()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "last words" {
		t.Fatalf("%q, %v", got, err)
	}
	conn.Write([]byte("still here"))
	conn.Close()
	if got := <-received; got != "still here" {
		t.Errorf("the engine heard %q", got)
	}
}

// TestTheEnginesLastWordsAreNotLost: a peer that goes on sending to an engine
// that has gone must not get a reset in place of the reply.
func TestTheEnginesLastWordsAreNotLost(t *testing.T) {
	words := bytes.Repeat([]byte("w"), 1<<20)
	path := engine(t, func(c *net.UnixConn) {
		c.Read(make([]byte, 1))
		c.Write(words)
	})
	for range 5 {
		g := start(t, path, nil)
		conn := g.dial()
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for range 100 {
				if _, err := conn.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, words) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		conn.NetConn().Close()
		<-stop
	}
}

func TestRedisQUITGivesItsReplyThenTheEnd(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	conn := g.dial()
	conn.Write([]byte(encode("QUIT") + encode("PING") + encode("PING")))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "+OK\r\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBulkPassesUnchangedBothWaysAtOnce sends 64 MB each way, with a reader that
// takes small bites, while another connection must not feel it.
func TestBulkPassesUnchangedBothWaysAtOnce(t *testing.T) {
	const size = 64 << 20
	sum := func(seed uint64, w io.Writer) [32]byte {
		h := sha256.New()
		io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{byte(seed)}), size)
		return [32]byte(h.Sum(nil))
	}
	engineGot, engineSent := make(chan [32]byte, 1), make(chan [32]byte, 1)
	path := engine(t, func(c *net.UnixConn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if first[0] == 'p' { // the other connection: echo
			c.Write(first)
			io.Copy(c, c)
			return
		}
		go func() { engineSent <- sum(2, c); c.CloseWrite() }()
		h := sha256.New()
		io.Copy(h, c)
		engineGot <- [32]byte(h.Sum(nil))
	})
	g := start(t, path, nil)
	other := g.dial()
	conn := g.dial()
	conn.Write([]byte("b"))
	sent := make(chan [32]byte, 1)
	go func() { sent <- sum(1, conn); conn.CloseWrite() }()
	// The first bites are slow: a reader that is stuck while the other is served.
	conn.SetDeadline(time.Now().Add(10 * patience)) // it is much
	h := sha256.New()
	for range 100 {
		ping(t, other)
		if _, err := io.CopyN(h, conn, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.Copy(h, conn); err != nil {
		t.Fatal(err)
	}
	if <-engineSent != [32]byte(h.Sum(nil)) {
		t.Error("what the engine sent came out changed")
	}
	if <-sent != <-engineGot {
		t.Error("what the peer sent came out changed")
	}
}

func TestAPeerThatReadsNothingHoldsUpNobody(t *testing.T) {
	path := engine(t, func(c *net.UnixConn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if first[0] == 'p' {
			c.Write(first)
			io.Copy(c, c)
			return
		}
		io.Copy(c, zeros{}) // for ever, as fast as it is taken
	})
	g := start(t, path, nil)
	for range 10 {
		g.dial().Write([]byte("b")) // and never read
	}
	other := g.dial()
	for range 200 {
		ping(t, other)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// ping has one byte echoed.
func ping(t *testing.T, conn *tls.Conn) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("p")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionOutlivesTheHandshakesDeadline(t *testing.T) {
	path, _ := redis(t)
	const timeout = 3 * time.Second // or a handshake fails beside much else
	g := start(t, path, func(o *gateway.Options) { o.Limits.HandshakeTimeout = timeout })
	conn := g.dial()
	if got := ask(t, conn, "BLPOP", "none", "3.5"); got != "*-1" {
		t.Fatal(got)
	}
	if got := ask(t, conn, "PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestTheEnginesEndIsSaidInTLS: with a FIN only, nobody could tell the end from
// a wire that was cut (RFC 8446 §6.1).
func TestTheEnginesEndIsSaidInTLS(t *testing.T) {
	path := engine(t, func(c *net.UnixConn) { c.Read(make([]byte, 1)) })
	g := start(t, path, nil)
	raw := &counting{TCPConn: g.raw("127.0.0.1")}
	conn := tls.Client(raw, g.app.ClientConfig(g.gateway))
	must(t, conn.Handshake())
	conn.Write([]byte("x"))
	before := raw.n
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	if got, want := raw.n-before, 5+2+1+16; got != want { // header, alert, type, tag
		t.Errorf("%d bytes came before the end, a close_notify has %d", got, want)
	}
	raw.SetReadDeadline(time.Now().Add(time.Second)) // sooner than the gateway closes by itself
	if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("no FIN behind it: %v", err)
	}
}

type counting struct {
	*net.TCPConn
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.n += n
	return n, err
}
