package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/lane"
	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Which gateway: each has a cache of its own, so "which gateway" is "which data",
// and it is decided in this one place, for the whole sidecar. A sidecar uses one of
// its gateways at a time. It goes on to another when that one can't be reached and
// the other can, and stays there: what it has left may hold values from before.
// Each such step begins a generation. A lane is of the generation in which it was
// dialled, an application connection of that of its first lane; those of an
// older one are closed, so that none ever sees two caches (docs/decisions/0141).

// Gateway is one that a sidecar may use.
type Gateway struct {
	Name string // in its certificate
	// Dial makes a fresh connection to the engine behind it.
	Dial func(context.Context) (net.Conn, error)
}

// gateways are where all lanes of a sidecar go. Any goroutine may use it.
type gateways struct {
	all []Gateway
	log *slog.Logger
	// lives says whether a lane that stands gives a sign of life; left is called,
	// with the new generation, before anybody is told of it, and must not block.
	lives func(context.Context) bool
	left  func(generation uint64)

	searching chan struct{} // has room for one

	mu      sync.Mutex
	current place
	serving *Serving // by the last dial
	err     error    // of the last dial; nil: it succeeded
	tried   time.Time
}

// place is a gateway in a generation.
type place struct {
	index      int
	generation uint64 // from 1 on
}

// Serving is the gateway that answered the last dial.
type Serving struct {
	Gateway string    `json:"gateway"`
	Address string    `json:"address"`
	Dialled time.Time `json:"dialled"`
}

// attemptMost is how long a gateway may be silent before the next one is tried.
const attemptMost = time.Second

func newGateways(all []Gateway, log *slog.Logger) *gateways {
	return &gateways{all: all, log: log, searching: make(chan struct{}, 1), current: place{0, 1}}
}

func (r *gateways) now() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// dial makes a lane to the current gateway, after it has gone on to another if need
// be, and says of which generation it is. Its error tells of each gateway that was
// tried.
func (r *gateways) dial(ctx context.Context) (net.Conn, uint64, error) {
	conn, to, err := r.find(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != context.Canceled { // else somebody lost interest, which says nothing
		r.tried, r.err = time.Now(), err
	}
	if err == nil {
		r.serving = &Serving{Gateway: r.all[to.index].Name, Address: conn.RemoteAddr().String(), Dialled: time.Now()}
	}
	return conn, to.generation, err
}

// refused notes that a gateway turned away a lane which had been dialled.
func (r *gateways) refused(err error) {
	if tunnel.Refusal(err) == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.err = time.Now(), err
}

func (r *gateways) find(ctx context.Context) (net.Conn, place, error) {
	for {
		at := r.now()
		conn, err := r.try(ctx, at.index, len(r.all))
		switch {
		case err == nil && r.now() == at:
			return conn, at, nil
		case err == nil:
			conn.Close() // it has gone on meanwhile
			continue
		case len(r.all) == 1 || ctx.Err() != nil:
			return nil, at, err
		}
		conn, to, err := r.goOn(ctx, at, err)
		if err == nil && conn == nil {
			continue
		}
		return conn, to, err
	}
}

// try dials one gateway, and leaves time for so many in all.
func (r *gateways) try(ctx context.Context, index, left int) (net.Conn, error) {
	if left > 1 {
		most := attemptMost
		if end, ok := ctx.Deadline(); ok {
			most = min(most, time.Until(end)/time.Duration(left))
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	return r.all[index].Dial(ctx)
}

// goOn looks for another gateway, since the one at from could not be reached, and
// makes it the current one. It returns nothing if another goroutine has done so.
func (r *gateways) goOn(ctx context.Context, from place, cause error) (net.Conn, place, error) {
	select {
	case r.searching <- struct{}{}:
		defer func() { <-r.searching }()
	case <-ctx.Done():
		return nil, from, cause
	}
	if r.now() != from {
		return nil, from, nil
	}
	failures := []error{cause}
	for i := range r.all {
		if i == from.index || ctx.Err() != nil {
			continue
		}
		conn, err := r.try(ctx, i, len(r.all)-len(failures))
		if err != nil {
			failures = append(failures, err)
			continue
		}
		// Where nobody listens any more, what stands there ends too. Else the gateway may
		// only take no more, and what stands there is not given up.
		if !errors.Is(cause, syscall.ECONNREFUSED) && r.lives(ctx) {
			conn.Close()
			return nil, from, cause
		}
		return conn, r.step(from, i, cause), nil
	}
	return nil, from, errors.Join(failures...)
}

// step makes another gateway the current one.
func (r *gateways) step(from place, to int, cause error) place {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = place{to, from.generation + 1}
	r.log.Warn("gone on to another gateway: its cache is another one, and application connections that used the one before are closed",
		"from", r.all[from.index].Name, "to", r.all[to].Name, "cause", cause)
	r.left(r.current.generation)
	return r.current
}

// How old an answer may be for who asks whether a gateway serves: its log has two
// lines for each probe. One that is away is tried again for the next who asks.
const (
	answeredFor = 5 * time.Second
	probeWithin = 4 * time.Second // less than admin's answer may take
)

// Serving is the gateway that serves, or why none does. While no lane stands, nobody
// would notice that it is gone: then one is dialled.
func (c *Sidecar) Serving(ctx context.Context, idle bool) (*Serving, error) {
	r := c.gateways
	r.mu.Lock()
	ask := r.err != nil || idle && time.Since(r.tried) > answeredFor
	r.mu.Unlock()
	if ask {
		ctx, cancel := context.WithTimeout(ctx, probeWithin)
		defer cancel()
		if conn, _, err := r.dial(ctx); err == nil {
			r.refused(greet(ctx, conn))
			conn.Close()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	return r.serving, nil
}

// greet asks a fresh lane for a first reply, which is the engine's that it wants a
// password, or why the gateway turns us away.
func greet(ctx context.Context, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	reply, err := exchange(conn, resp.AppendCommand(nil, "PING"))
	if err != nil {
		return err
	}
	return tunnel.Declined(reply)
}

// inquire dials the gateway when a lane that owes replies has been silent for as long
// as a gateway may be: an engine that is busy is waited for, a gateway that is gone is
// not. It is done where there is another to go on to.
func (l *loop) inquire(k *link, now time.Time) {
	if l.nextInquiry(k, now) > 0 {
		return
	}
	l.inquired = now
	l.car.start(func() {
		ctx, cancel := context.WithTimeout(l.car.hard, l.car.limits.Dial)
		defer cancel()
		if conn, _, err := l.car.gateways.dial(ctx); err == nil {
			conn.Close()
		}
	})
}

// nextInquiry is when a lane's silence is to be looked into.
func (l *loop) nextInquiry(k *link, now time.Time) time.Duration {
	if len(l.car.gateways.all) == 1 {
		return lane.Never
	}
	return max(0, k.heard.Add(attemptMost).Sub(now), l.inquired.Add(l.car.limits.Dial).Sub(now))
}

// signOfLife bounds the wait for one: a gateway answers an ECHO in milliseconds.
const signOfLife = 500 * time.Millisecond

// lives asks every shared lane for a sign of life, and is true as soon as one gives
// it: a gateway that can't be dialled may have no room for more, and its cache is
// there. It is false when none stands.
func (c *Sidecar) lives(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signOfLife)
	defer cancel()
	heard := make(chan struct{}, 1)
	var silent atomic.Int64 // loops without a lane
	if c.each(func(l *loop) {
		if !l.question(heard) && silent.Add(1) == int64(len(c.loops)) {
			cancel()
		}
	}) == 0 {
		return false
	}
	select {
	case <-heard:
		return true
	case <-ctx.Done():
		return false
	}
}

// question has each lane tell when something comes on it, and sees to it that
// something must. It returns false if there is none.
func (l *loop) question(heard chan<- struct{}) (any bool) {
	for _, g := range l.order {
		k := g.link
		if k == nil {
			continue
		}
		any = true
		k.askers = append(k.askers, heard)
		if k.books.Outstanding() == 0 && !k.books.Awaits() {
			k.books.Send(forNobody{}, nil, 0) // goes out as a fence alone
		}
	}
	return any
}

func (k *link) answerAskers() {
	for _, heard := range k.askers {
		tell(heard)
	}
	k.askers = nil
}

func tell(heard chan<- struct{}) {
	select {
	case heard <- struct{}{}:
	default:
	}
}

// forNobody is the client of a fence that nothing stands behind.
type forNobody struct{}

func (forNobody) Deliver([]byte, int)    {}
func (forNobody) Fail(int, lane.Failure) {}

// sees says whether a connection may use a lane of a generation: that of its first
// lane, and no other.
func (g *guest) sees(generation uint64) bool {
	if g.seen == 0 {
		g.seen = generation
	}
	return g.seen == generation
}

// stale says whether a connection has seen a cache that the sidecar has left.
func (g *guest) stale(now uint64) bool { return g.seen != 0 && g.seen != now }

// keepsTo says whether a guest may use a lane of a generation. One that may not is
// ended.
func (g *guest) keepsTo(generation uint64) bool {
	if g.sees(generation) {
		return true
	}
	g.cut()
	return false
}

// forsake ends the lanes and guests of older generations: what was under way is told
// that it may have run, what was not sent yet, that the cache is away. Guests that wait
// for a proof are ended when that is over (keepsTo).
func (l *loop) forsake(now uint64) {
	for g := range l.guests {
		switch {
		case !g.stale(now) || g.phase == waiting:
		case g.own != nil:
			l.lose(g.own, errLeft)
		default:
			g.end()
		}
	}
	for _, to := range l.order {
		if to.generation == now {
			continue
		}
		for _, g := range to.waiters {
			if g.phase == waiting {
				g.cut()
			}
		}
		to.waiters = nil
		l.forget(to)
		if to.link != nil {
			l.lose(to.link, errLeft)
		}
		l.drop(to)
	}
}

// awayText says why a command was not sent: a gateway that refuses this host is for
// its operator to mend, one that doesn't answer may come back.
func awayText(cause error) string {
	if words := tunnel.Refusal(cause); words != "" {
		return errAwayRefused + words
	}
	return errAway
}
