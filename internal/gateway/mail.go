package gateway

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
)

// cpusPerLoop: a loop fills one CPU at most. It needs some of a second one for
// what its connections' kernel side and the engine do, and Redis itself stops
// at one.
const cpusPerLoop = 4

// loops are all there are; connections are dealt out in turn.
type loops struct {
	all  []*loop
	next atomic.Uint32
}

// about is what the log says of a relay.
type about struct {
	peer   identity.ID
	source netip.Addr
	since  time.Time
}

// mailbox is how other goroutines speak to a loop.
type mailbox struct {
	mu    sync.Mutex
	fresh []*relay
	drain drainOrder
}

// drainOrder is given once, and lastCall once later.
type drainOrder struct {
	begun    bool
	timeout  time.Duration
	lastCall bool // nobody will be handed over any more
}

func newLoops(farewell func(*relay)) (*loops, error) {
	s := &loops{}
	for range max(1, runtime.GOMAXPROCS(0)/cpusPerLoop) {
		poller, err := eventloop.NewPoller()
		if err != nil {
			s.close()
			return nil, err
		}
		s.all = append(s.all, &loop{
			poller: poller, farewell: farewell,
			buf: make([]byte, chunkSize), lingering: map[*relay]struct{}{},
		})
	}
	return s, nil
}

// add hands a relay over; from then on it is its loop's.
func (s *loops) add(r *relay) {
	s.all[int(s.next.Add(1))%len(s.all)].tell(func(m *mailbox) { m.fresh = append(m.fresh, r) })
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

// close gives the pollers back, when nobody runs, adds or tells any more.
func (s *loops) close() {
	for _, l := range s.all {
		l.poller.Close()
	}
}

func (l *loop) tell(news func(*mailbox)) {
	l.mail.mu.Lock()
	news(&l.mail)
	l.mail.mu.Unlock()
	l.poller.Wake()
}

// collect reads the mail, in the loop.
func (l *loop) collect() {
	l.mail.mu.Lock()
	fresh, order := l.mail.fresh, l.mail.drain
	l.mail.fresh = nil
	l.mail.mu.Unlock()
	for _, r := range fresh {
		l.settle(r)
	}
	l.drain.order(order)
}

// over says that the loop's work is done.
func (l *loop) over() bool { return l.drain.lastCall && l.live == 0 }
