// Package gateway is the cache host's end of the tunnel: the one open port.
//
// It admits by network, ends TLS, learns who is there, counts, and then carries
// bytes between the peer and the engine's unix socket until one of them ends.
// It knows no RESP: what a command may do is the engine's ACL's business, and a
// relay that doesn't parse can't be fooled by parsing differently.
//
// The daemon calls New, which opens the port, and Run, which blocks until its
// context ends and everything that it started has ended too. A connection's way
// is the order of the files: gateway.go accepts, admit.go counts, conn.go shakes
// hands and dials the engine, mail.go hands over, relay.go carries, drain.go
// brings it to an end. Until the hand-over a connection has a goroutine of its
// own; from then on it is one of many in an event loop, and has none.
//
// It is for Linux (epoll); elsewhere New says so.
//
// It guarantees:
//   - no byte reaches the engine from a peer that has not passed tunnel's check;
//   - who has not proved anything yet can't lock out who has, nor one source
//     another: see handshakes in admit.go;
//   - bytes come out in order, unchanged, as far as they come at all; half-close
//     passes through in both directions; a peer that stops reading holds up
//     nobody else, and its own sender by back-pressure only;
//   - one log line for each connection opened, closed or refused, with identity,
//     source, reason, bytes and duration. Refusals are bounded in number, since
//     strangers cause them.
//
// It never logs or keeps what is carried, and never connects anywhere but through
// Options.Dial. All that it says by itself is one line, to a proved peer that it
// can't serve: why (tunnel.Sorry).
//
// The tests relay to a real redis-server over real TLS, attack the port with
// everything that is not a rightful client, and end with a check that no
// goroutine is left.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Options are what a gateway needs; every field but Admit, Alone, Enroll and Renew is
// required. What of them may change later is Settings.
type Options struct {
	Settings
	Listen string // HOST:PORT
	// Listener is what it accepts from, if it is set, instead of a port that it opens; it
	// is one of tunnel.Listen's, or of the same socket in another process.
	Listener    net.Listener
	Credentials *tunnel.Credentials
	// Dial connects to the engine. It must return a *net.UnixConn: the engine
	// listens nowhere else.
	Dial func(context.Context) (net.Conn, error)
	// Enroll and Renew serve the protocols of that name (package tunnel), if they
	// are set. Each is called in a goroutine of its own once the handshake is done,
	// and returns when its connection or the context ends; it doesn't close.
	// Who enrols is a stranger and holds a place among the handshakes, so what it asks
	// must come within HandshakeTimeout, which is in force; Enroll sets a deadline for
	// its answer only. Who renews is a proved peer and counts as one; Renew sets the
	// deadlines.
	Enroll, Renew func(context.Context, tunnel.Conn)
	Log           *slog.Logger
}

// Gateway is an open port and the connections through it.
type Gateway struct {
	options    Options // but for Settings: those are in force
	inForce    atomic.Pointer[Settings]
	changing   sync.Mutex // of inForce and all that follows from it
	listener   net.Listener
	visitors   visitors
	handshakes *handshakes
	peers      *peers
	loops      *loops
	refusals   *refusals
	handlers   sync.WaitGroup // from accept until refused or handed over
	running    sync.WaitGroup // the loops
}

// New opens the port, so that one that is taken is known at once. Nothing is
// accepted before Run.
func New(o Options) (*Gateway, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	listener := o.Listener
	if listener == nil {
		var err error
		if listener, err = Open(o.Listen); err != nil {
			return nil, err
		}
	}
	g := &Gateway{
		options:    o,
		listener:   listener,
		handshakes: newHandshakes(o.Limits.Handshakes),
		peers:      newPeers(o.Limits.Connections, o.Limits.PerIdentity),
		refusals:   newRefusals(o.Log),
		visitors:   visitors{all: map[net.Conn]netip.Addr{}},
	}
	var err error
	if g.loops, err = newLoops(g.judge, g.farewell); err != nil {
		listener.Close()
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.put(o.Settings)
	return g, nil
}

// Open opens a gateway's port.
func Open(address string) (net.Listener, error) {
	listener, err := tunnel.Listen(context.Background(), address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("gateway: %s is taken by another process (ss -ltnp shows it): %w", address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("gateway: listen on %s: %w", address, err)
	}
	return listener, nil
}

// Check says what New would refuse, but for the port.
func (o *Options) Check() error {
	if err := o.check(); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

func (o *Options) check() error {
	if o.Credentials == nil || o.Dial == nil || o.Log == nil {
		return errors.New("credentials, a way to the engine and a log are required")
	}
	if id := o.Credentials.ID(); id.Role() != identity.Gateway {
		return fmt.Errorf("%s can't serve: a gateway's certificate is needed", id)
	}
	return o.Settings.check()
}

// further are the protocols beside the relay.
func (o *Options) further() (names []string) {
	if o.Enroll != nil {
		names = append(names, tunnel.Enroll)
	}
	if o.Renew != nil {
		names = append(names, tunnel.Renew)
	}
	return names
}

// Addr is where it listens.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Loops is how many threads its event loops hold while Run runs.
func (g *Gateway) Loops() int { return len(g.loops.all) }

// Run accepts connections until ctx ends, then drains: it returns within
// DrainTimeout, and a little, with every goroutine ended. The end of ctx is no
// error. It can be called once.
func (g *Gateway) Run(ctx context.Context, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	unlisten := context.AfterFunc(ctx, func() { g.listener.Close() })
	defer unlisten()
	for _, l := range g.loops.all {
		g.running.Go(l.run)
	}
	judged, stopJudging := context.WithCancel(context.Background()) // until the drain is over
	defer stopJudging()
	var judging sync.WaitGroup
	judging.Go(func() { g.keepJudging(judged) })
	ready()
	err := g.accept(ctx)
	stop() // when accept failed by itself: whoever dials the engine now stops too
	g.listener.Close()
	g.drain()
	stopJudging()
	judging.Wait()
	g.loops.close()
	g.refusals.flush()
	return err
}

// accept hands each connection to a goroutine of its own. It never waits for a
// peer: a stranger who is slow must not hold the door shut.
func (g *Gateway) accept(ctx context.Context) error {
	var pause time.Duration
	var shortage eventloop.Shortage
	for {
		conn, err := g.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			if shortage.Accepted() {
				g.options.Log.Info("connections are accepted again")
			}
			g.welcome(ctx, conn)
		case ctx.Err() != nil:
			return nil
		case eventloop.Passing(err):
			// The next Accept would fail at once, so a loop would spin.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			if shortage.Failed() {
				g.options.Log.Error("connections can't be accepted; trying again", "error", err)
			}
			if !wait(ctx, pause) {
				return nil
			}
		default:
			return fmt.Errorf("gateway: accept on %s: %w", g.Addr(), err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
