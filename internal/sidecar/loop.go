package sidecar

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// The hot path is here, in guest.go and shared.go (what a guest's commands do),
// link.go (a lane's bytes) and replies.go (what comes back). One goroutine on a thread
// of its own, the loop, owns every guest (an application connection) and every link
// (a lane's connection): no locks, channels or hand-overs where bytes flow. A turn:
//
//	1. read each ready guest once, into one buffer for all; append its whole
//	   commands to its lane's batch, or send them over the lane of its own;
//	2. send each batch that is due, as one TLS write: the gateway and the
//	   engine work while we go on;
//	3. read the links that replies have come on; each guest's run of replies
//	   goes to its socket straight from the decrypted buffer.
//
// So a command costs one receive and one send on its own socket, and its share
// of what is done once a batch. Nothing here sleeps but the poller. Whatever
// might block (dialling, TLS, a proof of a password) runs in goroutines, which post
// what they have found.
//
// Memory: a guest is its struct and, between turns, only the rest of a command
// that has come in part (at most largestFrame) and what it hasn't read: unreadShared
// and the replies that were due then, or unreadPrivate, and at most maxUnread, as a
// stranger unreadStranger; all of them together Limits.Unread, and what has come in the present turn.

const (
	// readSize is what is read of a guest, or of a lane, at once, so that none
	// takes more than its share of a turn: a reply of 64 KB in one piece.
	readSize = 66 << 10
	// strangerRead is the same of a stranger: a login, and so few other commands that
	// thousands who send nothing else delay nobody.
	strangerRead = 1 << 10
	// maxShared is the largest command, or MULTI block, that is sent over a
	// shared lane; a guest with a larger one gets a private lane, on which it streams.
	maxShared = 64 << 10
	// maxBacklog is how much a shared lane may have unsent before its guests are no
	// longer read.
	maxBacklog = 1 << 20
)

// loop is an event loop and all that it owns. There may be several: each has its own
// guests and lanes, and shares with the others nothing but what Sidecar holds
// (docs/decisions/0172).
type loop struct {
	car   *Sidecar
	poll  *eventloop.Poller
	buf   []byte // what is read of a guest; good within its part of a turn
	plain []byte // what is read of a private lane; the same

	entities   []entity // by descriptor
	generation int32
	guests     map[*guest]struct{}
	crowd      atomic.Int64 // guests, from when they are dealt
	groups     map[groupKey]*group
	order      []*group            // the same, in the order of their making
	proofs     map[groupKey]*proof // under way, or waiting for an examiner
	wrongs     wrongs
	strangers  []*proof // wait for an examiner; the last to come is the first
	struck     []*proof // the same, of who has given a wrong password before
	idle       []*examiner
	examiners  int
	answers    []lateAnswer // to repeated wrong passwords
	arrived    []*link      // have replies to be read in this turn
	again      []*guest     // have more to be read, or may go on
	lines      []*order     // where guests stand in line
	reminders  map[*guest]struct{}
	tick       time.Time // when the first of these is due
	roll       []entry   // CLIENT LIST, made once a turn
	draining   bool
	listens    bool      // it accepts for all loops
	deaf       bool      // the listeners are closed
	unread     int       // bytes of replies that applications haven't taken
	inquired   time.Time // when the gateway was last dialled for a lane that is silent (route.go)

	turns, commandsSent, lanesLost int64 // since the start
	unordered                      int64 // the same: barriers that fell in vain (order.go)

	mu     sync.Mutex
	posts  []func() // from other goroutines, to be done by the loop
	closed bool
}

// entity is what a descriptor belongs to. The generation tells a late event of
// a closed one from its successor's.
type entity struct {
	generation int32
	guest      *guest
	link       *link
	accepting  *listener
}

// newLoop makes a loop with nothing in it.
func newLoop(car *Sidecar) (*loop, error) {
	poll, err := eventloop.NewPoller()
	if err != nil {
		return nil, err
	}
	return &loop{car: car, poll: poll, reminders: map[*guest]struct{}{}, guests: map[*guest]struct{}{}, groups: map[groupKey]*group{}, proofs: map[groupKey]*proof{}}, nil
}

// share is a loop's part of what all loops may have together.
func (l *loop) share(of int) int { return max(1, of/len(l.car.loops)) }

// post has the loop do something. Any goroutine may call it. It returns false
// if the loop has ended and nothing will be done.
func (l *loop) post(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.posts = append(l.posts, do)
	l.poll.Wake() // under the lock, so that the poller isn't closed meanwhile
	return true
}

// refusePosts has post refuse from now on.
func (l *loop) refusePosts() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// run is the loop, until ctx ends and all guests have ended, or cut ends.
func (l *loop) run(ctx, cut context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.end()
	l.buf, l.plain = make([]byte, readSize), make([]byte, readSize)
	defer context.AfterFunc(ctx, func() { l.post(l.drain) })()
	defer context.AfterFunc(cut, func() { l.post(func() {}) })()
	for cut.Err() == nil && !(l.draining && len(l.guests) == 0) {
		wait := l.nextDue(time.Now())
		if len(l.again) > 0 {
			wait = 0
		}
		l.turn(l.poll.Wait(wait))
	}
}

func (l *loop) turn(events []eventloop.Event) {
	l.turns++
	l.roll = nil
	l.doPosts()
	ready := l.again
	l.again = nil
	for _, g := range ready {
		g.listed = false
		l.goOn(g)
	}
	for _, ev := range events {
		l.dispatch(ev)
	}
	now := time.Now()
	for _, g := range l.order {
		if g.link != nil && g.link.books.Due(now) == 0 {
			l.flush(g.link)
		}
	}
	for _, k := range l.arrived {
		l.receive(k)
	}
	clear(l.arrived) // so that nothing holds on to a lane that has ended
	l.arrived = l.arrived[:0]
	l.expire(now)
	l.advance(now)
	l.shed()
	l.lookAtReminders(now)
}

func (l *loop) doPosts() {
	l.mu.Lock()
	posts := l.posts
	l.posts = nil
	l.mu.Unlock()
	for _, do := range posts {
		do()
	}
}

func (l *loop) dispatch(ev eventloop.Event) {
	if ev.Token.Woken() {
		return
	}
	e := &l.entities[ev.Token.Index]
	if e.generation != ev.Token.Generation {
		return
	}
	switch {
	case e.guest != nil:
		l.stir(e.guest, ev)
	case e.link != nil:
		l.stirLink(e.link, ev)
	case e.accepting != nil:
		l.accept(e.accepting)
	}
}

// add has the poller tell of a descriptor.
func (l *loop) add(fd int, e entity) error {
	for fd >= len(l.entities) {
		l.entities = append(l.entities, make([]entity, max(64, len(l.entities)))...)
	}
	l.generation = (l.generation + 1) & 0x7fffffff
	e.generation = l.generation
	l.entities[fd] = e
	if e.guest != nil && e.guest.socket.unix {
		return l.poll.AddReader(fd, l.token(fd))
	}
	return l.poll.Add(fd, l.token(fd))
}

// token is what the poller tells of a descriptor under.
func (l *loop) token(fd int) eventloop.Token {
	return eventloop.Token{Index: int32(fd), Generation: l.entities[fd].generation}
}

// nextDue is how long the poller may sleep: until a batch is due, or something
// expires.
func (l *loop) nextDue(now time.Time) time.Duration {
	wait := l.nextExpiry(now)
	if due := l.nextBarrier(now); due >= 0 && (wait < 0 || due < wait) {
		wait = due
	}
	if !l.tick.IsZero() && (wait < 0 || l.tick.Sub(now) < wait) {
		wait = max(0, l.tick.Sub(now))
	}
	for _, g := range l.order {
		due := lane.Never
		if k := g.link; k != nil {
			due = min(k.books.Due(now), max(0, k.worn.at.Sub(now)))
			if k.books.Awaits() {
				due = min(due, max(0, k.heard.Add(l.car.limits.Stall).Sub(now)), l.nextInquiry(k, now))
			}
			if k.next != nil {
				due = min(due, max(0, k.holdUntil.Sub(now)))
			}
		}
		if g.standby != nil {
			due = min(due, max(0, g.standbyUntil.Sub(now)))
		}
		if g.guests == 0 {
			due = min(due, max(0, g.idle.Add(linger).Sub(now)))
		}
		if due != lane.Never && (wait < 0 || due < wait) {
			wait = due
		}
	}
	return wait
}

// drain ends guests that wait for nothing, now, and the others when they do.
func (l *loop) drain() {
	l.draining = true
	l.deafen()
	for g := range l.guests {
		g.tear()
		switch {
		case g.own != nil && g.course.uncounted, g.phase <= barred && g.pending == 0 && len(g.out) == 0:
			g.close()
		case g.phase != waiting: // who waits ends when that is over
			g.end()
		}
	}
}

// deafen closes the listeners: whoever connects is to be refused, not left waiting.
func (l *loop) deafen() {
	if l.deaf || !l.listens {
		return
	}
	l.deaf = true
	for _, on := range l.car.listeners {
		if on.fd >= 0 {
			if on.fd < len(l.entities) {
				l.entities[on.fd] = entity{}
			}
			eventloop.Close(on.fd)
		}
	}
}

// end closes what is left.
func (l *loop) end() {
	l.refusePosts()
	l.doPosts()
	for g := range l.guests {
		g.close()
	}
	for _, g := range l.order {
		l.drop(g)
	}
	for _, e := range l.idle { // the others end by themselves, since post refuses
		close(e.next)
	}
	l.deafen()
	l.poll.Close()
}
