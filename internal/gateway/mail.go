package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// cpusPerLoop: a loop fills one CPU at most. It needs some of a second one for
// what its connections' kernel side and the engine do, and Redis itself stops
// at one.
const cpusPerLoop = 4

// loops are all there are.
type loops struct {
	all  []*loop
	deal dealer
}

// about is whom a relay is for.
type about struct {
	peer    tunnel.Peer
	source  netip.Addr
	several bool // its host has further gateways, or so it says
	since   time.Time
}

// mailbox is how other goroutines speak to a loop.
type mailbox struct {
	mu    sync.Mutex
	fresh []*relay
	judge bool // something has changed that peers are judged by
	drain drainOrder
	asked []chan<- struct{} // closed by a loop that turns

	closed bool // the poller is, and its descriptors may be another's
}

// drainOrder is given once, and lastCall once later.
type drainOrder struct {
	begun    bool
	timeout  time.Duration
	lastCall bool // nobody will be handed over any more
}

func newLoops(judge func(*about) error, farewell func(*relay)) (*loops, error) {
	s := &loops{}
	for range max(1, runtime.GOMAXPROCS(0)/cpusPerLoop) {
		poller, err := eventloop.NewPoller()
		if err != nil {
			s.close()
			return nil, err
		}
		s.all = append(s.all, &loop{
			poller: poller, judge: judge, farewell: farewell,
			buf: chunks.Get().(*[chunkSize]byte)[:], lingering: map[*relay]struct{}{}, worn: map[*relay]struct{}{}, keyBytes: keyBytes,
		})
	}
	return s, nil
}

// add hands a relay over; from then on it is its loop's.
func (s *loops) add(r *relay) {
	s.all[s.deal.choose(s.all)].tell(func(m *mailbox) { m.fresh = append(m.fresh, r) })
}

// judge has every relay's peer judged anew.
func (s *loops) judge() {
	for _, l := range s.all {
		l.tell(func(m *mailbox) { m.judge = true })
	}
}

// turn waits until each loop has turned, and says whether they did before ctx, or
// the loops, ended.
func (s *loops) turn(ctx context.Context) bool {
	for _, l := range s.all {
		turned := make(chan struct{})
		if !l.tell(func(m *mailbox) { m.asked = append(m.asked, turned) }) {
			return false
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// beginDrain has every relay end, those that are still handed over too.
func (s *loops) beginDrain(timeout time.Duration) {
	for _, l := range s.all {
		l.tell(func(m *mailbox) { m.drain.begun, m.drain.timeout = true, timeout })
	}
}

// lastCall ends each loop when its last relay has.
func (s *loops) lastCall() {
	for _, l := range s.all {
		l.tell(func(m *mailbox) { m.drain.lastCall = true })
	}
}

// close gives the pollers back, when nobody runs or adds any more.
func (s *loops) close() {
	for _, l := range s.all {
		l.mail.mu.Lock()
		l.mail.closed = true
		l.poller.Close()
		l.mail.mu.Unlock()
	}
}

// tell leaves news for a loop. Any goroutine may call it; it returns false when
// the loop is closed and nobody will read them.
func (l *loop) tell(news func(*mailbox)) bool {
	l.mail.mu.Lock()
	defer l.mail.mu.Unlock()
	if l.mail.closed {
		return false
	}
	news(&l.mail)
	l.poller.Wake() // under the lock, so that the poller isn't closed meanwhile
	return true
}

// collect reads the mail, in the loop.
func (l *loop) collect() {
	l.mail.mu.Lock()
	fresh, judge, order, asked := l.mail.fresh, l.mail.judge, l.mail.drain, l.mail.asked
	l.mail.fresh, l.mail.judge, l.mail.asked = nil, false, nil
	l.mail.mu.Unlock()
	if judge {
		l.judgeAll()
	}
	for _, r := range fresh {
		l.settle(r)
	}
	l.drain.order(order)
	for _, a := range asked {
		close(a)
	}
}

// over says that the loop's work is done.
func (l *loop) over() bool { return l.drain.lastCall && l.live == 0 }

// newRelay takes both connections away from Go's poller. On an error peer and
// engine are as they were.
func newRelay(a about, peer channel, wire *eventloop.Wire, engine net.Conn) (*relay, error) {
	r := &relay{about: a, wire: wire, peer: peer}
	r.in.ready, r.out.ready = true, true
	var err error
	if r.engineFD, err = eventloop.Detach(engine); err != nil {
		return nil, err
	}
	if r.peerFD, err = wire.Detach(); err != nil {
		eventloop.Close(r.engineFD)
		return nil, err
	}
	return r, nil
}

// settle gives a relay its place and the poller's attention.
func (l *loop) settle(r *relay) {
	if len(l.vacant) == 0 {
		l.vacant = append(l.vacant, int32(len(l.places)))
		l.places = append(l.places, place{})
	}
	last := len(l.vacant) - 1
	index := l.vacant[last]
	l.vacant = l.vacant[:last]
	p := &l.places[index]
	p.relay = r
	l.live++
	l.enqueue(r)
	r.spot.engine = eventloop.Token{Index: index*sides + sideEngine, Generation: p.generation}
	err := l.poller.AddReader(r.engineFD, r.spot.engine)
	if err == nil {
		err = l.poller.Add(r.peerFD, eventloop.Token{Index: index*sides + sidePeer, Generation: p.generation})
	}
	if err == nil {
		err = l.judge(&r.about) // since its handshake that may have changed
	}
	if err != nil {
		r.lose(err)
	}
}

// judgeAll cuts those who may not stay.
func (l *loop) judgeAll() {
	for i := range l.places {
		r := l.places[i].relay
		if r == nil || r.gone {
			continue
		}
		if err := l.judge(&r.about); err != nil {
			r.lose(fmt.Errorf("cut: %w", err))
			l.enqueue(r)
		}
	}
}

// bury closes both sides and forgets a relay, which is in no queue.
func (l *loop) bury(r *relay) {
	r.wire.Close()
	eventloop.Close(r.engineFD)
	r.release()
	index := r.spot.engine.Index / sides
	p := &l.places[index]
	p.relay = nil
	p.generation++
	l.vacant = append(l.vacant, index)
	l.live--
	l.carries.Add(-1)
	delete(l.lingering, r)
	delete(l.worn, r)
	l.farewells.Go(func() { l.farewell(r) })
}
