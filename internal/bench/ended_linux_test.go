package bench

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestAnEndThatComesWithTheLastBytesIsSeen: half a reply and the end of the
// connection, in one event. No other event will tell of the end, and the other
// half will never come: a generator that stops at the half waits until the run
// is over, and reports a peer that broke off as one that was slow.
func TestAnEndThatComesWithTheLastBytesIsSeen(t *testing.T) {
	for name, dial := range map[string]func(*testing.T, net.Conn, net.Conn) (*tls.Conn, *eventloop.Wire, net.Conn){
		"plain": func(t *testing.T, client, server net.Conn) (*tls.Conn, *eventloop.Wire, net.Conn) {
			return nil, eventloop.NewWire(client), server
		},
		"TLS": secured,
	} {
		t.Run(name, func(t *testing.T) {
			client, peer := tcpPair(t)
			secure, wire, server := dial(t, client, peer)
			fd, err := wire.Detach()
			if err != nil {
				t.Fatal(err)
			}
			defer wire.Close()
			g := &generator{exchange: newExchange(Load{Pipeline: 1, ValueSize: 256}, ""), buf: make([]byte, readSize), recorder: newRecorder()}
			g.conns = []conn{{fd: fd, wire: wire, tls: secure, busy: true}}
			if _, err := server.Write(g.exchange.reply[:100]); err != nil {
				t.Fatal(err)
			}
			peer.Close()
			// Added now, the poller tells of both in one event.
			if g.poller, err = eventloop.NewPoller(); err != nil {
				t.Fatal(err)
			}
			defer g.poller.Close()
			if err := g.poller.Add(fd, eventloop.Token{}); err != nil {
				t.Fatal(err)
			}
			var events []eventloop.Event
			for late := time.Now().Add(time.Minute); len(events) == 0 && time.Now().Before(late); { // a signal ends a Wait
				events = g.poller.Wait(time.Second)
			}
			if len(events) != 1 || !events[0].Readable || !events[0].Ended {
				t.Fatalf("the kernel told %+v: this test needs bytes and end in one event", events)
			}
			if err := g.goOn(events[0]); err == nil || !strings.Contains(err.Error(), "closed") && err != io.ErrUnexpectedEOF {
				t.Errorf("got %v, want the end of the connection", err)
			}
			if g.conns[0].got != 100 {
				t.Errorf("%d bytes were taken, 100 had come", g.conns[0].got)
			}
		})
	}
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// secured puts the tunnel's TLS on a connection.
func secured(t *testing.T, client, server net.Conn) (*tls.Conn, *eventloop.Wire, net.Conn) {
	t.Helper()
	s, err := newSite("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	load := func(end string) *tunnel.Credentials {
		c, err := tunnel.LoadCredentials(tunnel.Files{Certificate: s.path(end, "tls.pem"), CA: s.path(end, "ca.crt")})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	wire := eventloop.NewWire(client)
	ours, theirs := tls.Client(wire, load("client").ClientConfig(s.gatewayID)), tls.Server(server, load("server").ServerConfig())
	shaken := make(chan error, 1)
	go func() { shaken <- theirs.HandshakeContext(t.Context()) }()
	if err := ours.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return ours, wire, theirs
}
