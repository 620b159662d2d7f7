package sidecar

import (
	"io"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A guest is an application connection. The loop owns it from accept to close.
//
// What it is on:
//
//	stranger   no lane: it has not authenticated. All that it says is answered
//	           here; only a password costs anything beyond this process.
//	shared     its group's lane (group), with all others of the same credential,
//	           protocol and database.
//	private    a lane of its own (own), on which the engine keeps what belongs to
//	           a connection. It stays counted in its group, and goes back to that
//	           group's lane when it no longer needs its own (own.go).
//
// Where it is (phase):
//
//	serving ──► barred ──► serving     a command that changes its lane waits until
//	   │                               no reply is due
//	   ├─────► waiting ──► serving     for a proof of its password, or for a lane
//	   ├─────► ending ───► parting     no more is done for it; it gets what is due
//	   ▼                      │        told all; what it still says is dropped, so
//	 gone ◄───────────────────┘        that no reset overtakes our last words
//
// What always holds:
//   - Replies come in the order of the commands. pending counts those that are due,
//     our own answers among them; while it isn't 0, an answer of our own goes behind
//     them through the lane's books, never straight to out.
//   - It changes lanes only with pending 0, and never back from a private lane that
//     holds something of it.
//   - in is what came and isn't done with. partial: it is the beginning of a command,
//     and nothing is to be done before more has come.
//   - Readiness is remembered, since the poller tells of it once: socket.readable is
//     cleared only by a read that found nothing more.
//   - stopped says whether it may be read, and why not. Each reason has one event that
//     ends it: the last reply (settled), the proof or lane (resume), its turn (advance),
//     room on its lane (relieve). listed: it is on the loop's list, in line, or on its
//     lane's held, on one of them only.
//   - A full socket doesn't keep it from being read: who only writes until he is done,
//     as most client libraries do with a pipeline, would wait for ever. On a shared lane
//     it gets a private one when much is unread, and there the engine keeps the replies,
//     as it does for a direct connection.
type guest struct {
	loop   *loop
	since  time.Time
	at     net.Addr // where it came in
	seen   uint64   // generation of the route that its first lane had; 0: it had none (route.go)
	known  known
	group  *group // whose credential it has proved; nil: a stranger
	own    *link  // its private lane
	course course // of its commands on it

	barrier *barrier // has others of its credential wait (order.go)

	fd      int
	socket  socket
	phase   phase
	listed  bool
	scan    resp.CommandScanner
	in      []byte
	partial bool
	out     []byte // what its socket hasn't taken
	counted int    // of it, in the loop's sum
	pending int
	said    int // bytes of our own answers since it was last read
	due     time.Time

	run      int     // bytes that came of the reply under way
	bulky    bool    // had a reply that others should not wait for
	asked    bool    // has sent something over a shared lane
	scripted bool    // has used a script, which it believes that the engine has
	struck   bool    // its last password was wrong
	untried  bool    // its last password could not be tried
	left     bool    // the application has ended: nobody is told of what fails
	called   []entry // the connections of other loops, for its CLIENT LIST
	last     []byte  // what it is told when its lane, whose replies aren't counted, has ended
}

// socket is what is known of the application's socket.
type socket struct {
	readable bool // it may have more
	ended    bool // and then its end: a short read is not the last
	over     bool // its end was read
	blocked  bool // it is full
	unix     bool // it is a unix socket
}

type phase uint8

const (
	serving phase = iota
	barred
	waiting
	ending
	parting
	gone
)

// A stop is what a guest waits for before it may be read again.
type stop uint8

const (
	goes stop = iota
	forReplies
	forLane
	forTurn
	forRoom
	forNothing // it is over
)

// link is the lane that it is on; nil: none.
func (g *guest) link() *link {
	switch {
	case g.own != nil:
		return g.own
	case g.group != nil:
		return g.group.link
	}
	return nil
}

// stranger says whether it has not authenticated.
func (g *guest) stranger() bool { return g.group == nil && g.own == nil }

// stopped says whether a guest's commands may be taken now, and if not, why.
func (g *guest) stopped() stop {
	k := g.link()
	switch {
	case g.phase == waiting:
		return forLane
	case g.phase > waiting:
		return forNothing
	case g.pending > 0 && (g.phase == barred || k == nil): // or sent nowhere yet
		return forReplies
	case g.behind():
		return forTurn
	case k != nil && k.backlogged():
		return forRoom
	}
	return goes
}

// mayGo says the same, and lists the guest where it waits.
func (l *loop) mayGo(g *guest) bool {
	switch g.stopped() {
	case goes:
		return true
	case forReplies:
		g.phase = barred
	case forTurn:
		if !g.listed {
			g.listed = true
			o := g.group.order
			o.line = append(o.line, inLine{guest: g})
		}
	case forRoom:
		if !g.listed {
			g.listed = true
			k := g.link()
			k.held = append(k.held, g)
		}
	}
	return false
}

// stir does what an event lets a guest do. What it calls may close the guest,
// which empties its entity.
func (l *loop) stir(g *guest, ev eventloop.Event) {
	g.socket.ended = g.socket.ended || ev.Ended
	g.socket.readable = g.socket.readable || ev.Readable
	if ev.Writable && g.socket.blocked {
		g.filled(false)
		g.flush()
	}
	l.goOn(g)
}

// goOn has a guest do what it can.
func (l *loop) goOn(g *guest) {
	switch g.phase {
	case gone:
		return
	case ending, parting: // it may write, and not read, until it is done
		l.discard(g)
	default:
		l.take(g)
	}
	if g.socket.ended && g.own != nil && (g.phase == barred || g.phase == ending) {
		l.halfClose(g) // it isn't served, but what it waits for must not run for nobody
	}
}

// take reads a guest once and does what it asks for, as far as it may.
func (l *loop) take(g *guest) {
	if !l.mayGo(g) {
		return
	}
	if len(g.in) > 0 && !g.partial {
		l.consume(g, nil)
		if !l.mayGo(g) {
			return
		}
		if len(g.in) > 0 && !g.partial { // the rest in its next turn
			l.later(g)
			return
		}
	}
	if !g.socket.readable || l.draining {
		g.shut()
		return
	}
	buf := l.buf
	if g.stranger() {
		buf = buf[:strangerRead]
	}
	n, err := eventloop.Read(g.fd, buf)
	switch {
	case err == eventloop.ErrAgain:
		g.socket.readable = false
	case err == io.EOF:
		g.socket.over = true
		l.appEnded(g)
	case err != nil:
		g.close()
	default:
		if n == len(buf) || g.socket.ended { // the end may have come with the bytes
			l.later(g)
		} else {
			g.socket.readable = false
		}
		l.consume(g, buf[:n])
		if len(g.in) > 0 && !g.partial && g.phase == serving {
			l.later(g)
		}
	}
	g.shut()
	if k := g.link(); k != nil && k.books != nil && k.books.Full() {
		l.flush(k) // the engine needn't wait for the rest of the turn
	}
}

// consume does what the bytes that have come ask for; b is in the loop's buffer.
func (l *loop) consume(g *guest, b []byte) {
	if len(g.in) > 0 {
		g.in = append(g.in, b...)
		b = g.in
	}
	g.partial, g.phase, g.said = false, serving, 0
	if g.barrier != nil {
		g.barrier.fenced = false
	}
	used := l.commands(g, b)
	switch {
	case g.phase >= parting:
		return
	case used == len(b):
		g.in = g.in[:0]
		if cap(g.in) > maxShared {
			g.in = nil
		}
	default:
		g.in = append(g.in[:0], b[used:]...)
	}
	if g.own != nil {
		l.flushOwn(g.own)
	}
	if g.partial && g.phase == serving && g.group != nil && g.own == nil && len(g.in) >= maxShared {
		l.leave(g) // a large command
	}
	if len(g.out) > 0 && (g.pending == 0 || g.own != nil) && !g.socket.blocked { // else it goes with what is pending, which on a shared lane waits for nobody
		g.flush()
	}
}

// commands takes whole commands off b, and on a private lane parts of one, and
// returns how many bytes they were.
func (l *loop) commands(g *guest, b []byte) (used int) {
	for used < len(b) && g.phase == serving && !g.partial && g.said < saidATurn {
		var n int
		on := g.own
		switch {
		case g.own != nil:
			n = l.onPrivate(g, b[used:])
		case g.group != nil:
			n = l.onShared(g, b[used:])
		default:
			n = l.asStranger(g, b[used:])
		}
		if n == 0 && g.phase == serving && g.own == on { // else the same on a lane of its own
			break
		}
		used += n
	}
	return used
}

// saidATurn bounds the answers of our own that a guest gets in a turn: they may be
// much longer than what asks for them.
const saidATurn = 256 << 10

// next finds the command that b begins with, and how many bytes it has.
func (g *guest) next(b []byte) (h resp.Head, size int, o resp.Outcome) {
	g.scan.Authenticated = !g.stranger()
	h, o = g.scan.Head(b)
	n := 0
	if o == resp.Whole && !h.Inline && h.Argc > 0 {
		n, o = g.scan.Body(b[h.Len:])
	}
	return h, h.Len + n, o
}

// later lets a guest go on in the next turn.
func (l *loop) later(g *guest) {
	if !g.listed {
		g.listed = true
		l.again = append(l.again, g)
	}
}

// resume lets a guest go on that has waited for a proof, or for a lane.
func (l *loop) resume(g *guest) {
	if g.phase == waiting {
		g.phase, g.partial = serving, false
		if l.draining || g.stale(l.car.gateways.now().generation) { // its group is no more
			g.end()
		}
	}
	if g.phase == gone {
		return
	}
	if len(g.out) > 0 && g.pending == 0 && !g.socket.blocked {
		g.flush()
	}
	l.later(g)
}

// join makes a guest one of a group, or of none.
func (g *guest) join(to *group) {
	if g.group != nil {
		g.group.guests--
		if g.group.guests == 0 {
			g.group.idle = time.Now()
		}
	}
	g.group = to
	if to != nil {
		to.guests++
	}
}
