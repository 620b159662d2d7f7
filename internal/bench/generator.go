package bench

// The load generator. One goroutine on a thread of its own waits for all
// connections at once (epoll), reads what came, and sends what is next: a
// request costs one receive, one send, and its share of a wait. It is the other
// half of every figure that it produces, so it does nothing else: no
// allocation, no lock, no goroutine a connection.
//
// A closed loop sends a connection's next batch as soon as the last one is
// answered. An open loop has a timetable: request k is due at k/Rate, whatever
// happened to those before it. It is sent on the connection that has been idle
// for longest, or, when all are busy, on the first that isn't any more; its
// latency counts from when it was due.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

const (
	// patience bounds a wait, so that the end of ctx is seen.
	patience = 50 * time.Millisecond
	// grace is how long an open loop goes on after its end for what was due
	// before it.
	grace = time.Second
	// readSize is what one receive takes at most.
	readSize = 64 << 10
)

// conn is a connection of the loop.
type conn struct {
	fd         int
	generation int32
	wire       *eventloop.Wire // nil for churn, which has bare descriptors
	tls        *tls.Conn       // nil: plain TCP
	busy       bool            // a batch is under way
	since      time.Duration   // when it was sent, or due
	ended      bool            // nothing comes after what is there: a short read is not the last
	got        int             // bytes of its reply so far
	unsent     []byte          // what the kernel hasn't taken of its request
}

type generator struct {
	load     Load
	exchange exchange
	remote   net.TCPAddr // churn only
	made     int         // connections of churn so far
	poller   *eventloop.Poller
	conns    []conn
	buf      []byte
	started  time.Time
	begin    time.Duration // of what counts, after the warm-up
	end      time.Duration
	recorder *recorder
	due      timetable
}

// measure puts a load on a target: for warmup without counting, then for
// duration.
func measure(ctx context.Context, t target, l Load, warmup, duration time.Duration) (*recorder, error) {
	x := newExchange(l, t.password)
	if err := x.preload(ctx, t); err != nil {
		return nil, err
	}
	if l.Churn && t.tls != nil {
		return measureChurnTLS(ctx, t, x, l, warmup, duration)
	}
	poller, err := eventloop.NewPoller()
	if err != nil {
		return nil, err
	}
	defer poller.Close()
	g := &generator{
		load: l, exchange: x, poller: poller, conns: make([]conn, l.Connections), buf: make([]byte, readSize),
		begin: warmup, end: warmup + duration, recorder: newRecorder(), due: newTimetable(l),
	}
	defer g.close()
	if err := g.connect(ctx, t); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer exactTimers()()
	if err := g.run(ctx); err != nil {
		return nil, err
	}
	if g.recorder.count == 0 {
		return nil, fmt.Errorf("not one answer within %v", duration)
	}
	return g.recorder, nil
}

// connect opens all connections of a load that keeps them.
func (g *generator) connect(ctx context.Context, t target) error {
	if g.load.Churn {
		remote, err := net.ResolveTCPAddr("tcp", t.address)
		if err != nil {
			return err
		}
		g.remote = *remote
		for i := range g.conns {
			g.conns[i].fd = -1
		}
		return nil
	}
	for i := range g.conns {
		l, err := dial(ctx, t)
		if err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, len(g.conns), err)
		}
		fd, err := l.wire.Detach()
		if err != nil {
			l.wire.Close()
			return err
		}
		g.conns[i] = conn{fd: fd, wire: l.wire, tls: l.tls}
		add := g.poller.Add
		if g.load.Unix { // else it would tell of Writable whenever the peer has read
			add = g.poller.AddReader
		}
		if err := add(fd, eventloop.Token{Index: int32(i)}); err != nil {
			return err
		}
	}
	return nil
}

func (g *generator) close() {
	for i := range g.conns {
		switch c := &g.conns[i]; {
		case c.wire != nil:
			c.wire.Close()
		case g.load.Churn && c.fd >= 0:
			eventloop.Close(c.fd)
		}
	}
}

func (g *generator) now() time.Duration { return time.Since(g.started) }

func (g *generator) run(ctx context.Context) error {
	g.started = time.Now()
	for i := range g.conns {
		if err := g.next(int32(i), g.now()); err != nil {
			return err
		}
	}
	for {
		wait, err := g.sendDue(g.now())
		if err != nil {
			return err
		}
		if g.over(g.now()) {
			g.chargeRest(g.now())
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, ev := range g.poller.Wait(wait) {
			if err := g.goOn(ev); err != nil {
				return err
			}
		}
	}
}

// goOn does what has become possible on a connection.
func (g *generator) goOn(ev eventloop.Event) error {
	i := ev.Token.Index
	c := &g.conns[i]
	if ev.Token.Generation != c.generation {
		return nil // of a connection that churn has closed
	}
	if ev.Writable && (len(c.unsent) > 0 || c.tls != nil) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if !ev.Readable {
		return nil
	}
	c.ended = c.ended || ev.Ended
	switch {
	case c.wire == nil:
	case ev.Ended:
		c.wire.Ended()
	default:
		c.wire.Ready()
	}
	for {
		n, err := c.read(g.buf)
		if err == eventloop.ErrAgain {
			return nil
		}
		if err != nil {
			return closedEarly(err)
		}
		if err := g.take(i, g.buf[:n]); err != nil {
			return err
		}
		// A short receive has emptied the socket (edge-triggered: the next byte
		// is a new event), but for an end that came with the bytes. TLS has to be
		// read dry; a new connection isn't ours yet.
		if c.tls == nil && n < len(g.buf) && !c.ended || ev.Token.Generation != c.generation {
			return nil
		}
	}
}

// take counts replies, and asks for the next when all are there.
func (g *generator) take(i int32, in []byte) error {
	c, want := &g.conns[i], g.exchange.reply
	due := want[c.got:]
	if !c.busy {
		due = nil
	}
	if n := min(len(in), len(due)); !bytes.Equal(in[:n], due[:n]) {
		return wrongReply(in[g.exchange.startOfWrong(in[:n], c.got):])
	}
	if len(in) > len(due) {
		return errors.New("more was answered than asked")
	}
	before := c.got / g.exchange.one
	c.got += len(in)
	now := g.now()
	if n := c.got/g.exchange.one - before; n > 0 {
		g.count(now, c.since, n)
	}
	if c.got < len(want) {
		return nil
	}
	c.busy = false
	return g.next(i, now)
}

func (g *generator) count(now, since time.Duration, n int) {
	if now >= g.begin && now < g.end {
		g.recorder.count += int64(n)
	}
	// An open loop charges every request that was due in the time; a closed one,
	// every reply that came in it.
	at := now
	if g.load.Rate > 0 {
		at = since
	}
	if at >= g.begin && at < g.end {
		g.recorder.add(now-since, n)
	}
}

// next says what an idle connection does.
func (g *generator) next(i int32, now time.Duration) error {
	switch {
	case g.load.Rate > 0:
		g.due.idle(i)
		return nil
	case g.load.Churn:
		return g.reconnect(i, now)
	}
	return g.send(i, now)
}

func (g *generator) send(i int32, since time.Duration) error {
	c := &g.conns[i]
	c.busy, c.since, c.got, c.unsent = true, since, 0, g.exchange.request
	err := c.flush()
	if err == nil && len(c.unsent) > 0 && g.load.Unix {
		err = g.poller.WatchWrite(c.fd, eventloop.Token{Index: i}, true)
	}
	return err
}

// reconnect replaces a connection by a new one. The request goes off when the
// kernel says that it is connected.
func (g *generator) reconnect(i int32, now time.Duration) error {
	c := &g.conns[i]
	if c.fd >= 0 {
		eventloop.Close(c.fd)
	}
	fd, err := connect(g.remote, g.made)
	g.made++
	if err != nil {
		c.fd = -1
		return err
	}
	*c = conn{fd: fd, generation: c.generation + 1, busy: true, since: now, unsent: g.exchange.request}
	return g.poller.Add(fd, eventloop.Token{Index: i, Generation: c.generation})
}

func (c *conn) read(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(b)
	}
	return eventloop.Read(c.fd, b)
}

// flush sends what the kernel takes.
func (c *conn) flush() error {
	if c.tls == nil {
		n, err := eventloop.Write(c.fd, c.unsent)
		c.unsent = c.unsent[n:]
		return err
	}
	if len(c.unsent) > 0 {
		c.wire.Hold() // several records, one call
		n, err := c.tls.Write(c.unsent)
		c.unsent = c.unsent[n:]
		if err != nil {
			return err
		}
	}
	return c.wire.Flush()
}
