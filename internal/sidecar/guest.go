package sidecar

import (
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A guest is an application connection that shares a lane with others. The
// loop owns it. What needs a lane of its own makes it a session (moveout.go).
type guest struct {
	loop   *loop
	fd     int
	member *member // in the list of all
	known  known
	group  *group // nil before authentication
	scan   resp.CommandScanner

	in      []byte // what has come and isn't consumed
	out     []byte // what the application's socket hasn't taken
	pending int    // replies to come, our own among them

	readable bool // the socket may have more
	ended    bool // and then its end: a short read is not the last
	blocked  bool // the socket is full
	queued   bool // on the loop's list, or its lane's
	partial  bool // in is the beginning of a command: more must come first
	barrier  bool // goes on when nothing is pending: what is next changes its lane
	waiting  bool // for a proof, or a lane
	ending   bool // closes when nothing is pending
	leaving  bool // becomes a session as soon as what is in hand is stored
	gone     bool
	drank    time.Time // when the application last took something, while it chokes its lane
	run      int       // bytes of the reply under way that were delivered
	bulky    bool      // had a reply that others should not wait for
}

func (g *guest) link() *link {
	if g.group == nil {
		return nil
	}
	return g.group.link
}

// consume does what the bytes that have come ask for; b is in the loop's buffer.
func (l *loop) consume(g *guest, b []byte) {
	if len(g.in) > 0 {
		g.in = append(g.in, b...)
		b = g.in
	}
	g.partial, g.barrier = false, false
	used := l.commands(g, b)
	switch {
	case g.gone:
		return
	case used == len(b):
		g.in = g.in[:0]
		if cap(g.in) > maxShared {
			g.in = nil
		}
	default:
		g.in = append(g.in[:0], b[used:]...)
	}
	if g.partial && len(g.in) >= maxShared {
		l.moveOut(g) // a large command
	}
	if g.leaving {
		l.handOver(g)
		return
	}
	if len(g.out) > 0 && g.pending == 0 && !g.blocked && !g.gone { // else it goes with what is pending
		g.flush()
	}
}

// commands takes whole commands off b and returns how many bytes they were. A
// run of commands that are sent on as they are is sent at once.
func (l *loop) commands(g *guest, b []byte) (used int) {
	from, owed := 0, 0
	send := func() {
		if owed > 0 {
			g.pending += owed
			l.commandsSent += int64(owed)
			g.group.link.books.Send(g, b[from:used], owed)
		}
		from, owed = used, 0
	}
	for used < len(b) && !g.waiting && !g.gone && !g.ending {
		g.scan.Authenticated = g.group != nil
		h, o := g.scan.Head(b[used:])
		n := 0
		if o == resp.Whole && !h.Inline && h.Argc > 0 {
			n, o = g.scan.Body(b[used+h.Len:])
		}
		if o == resp.More {
			g.partial = true
			break
		}
		if o == resp.Malformed {
			send()
			g.answer(errorReply(errProtocol + g.scan.Fault()))
			g.end()
			return len(b)
		}
		size := h.Len + n
		if h.Argc == 0 && !h.Inline { // an empty line
			send()
			used += size
			from = used
			continue
		}
		step := step{size: size, forward: 1}
		if !g.plain(h) {
			step = l.step(g, h, b[used:], size)
		}
		if step.forward > 0 {
			used += step.size
			owed += step.forward
			continue
		}
		send()
		if done := step.do == nil || step.do(); !done {
			break
		}
		if g.gone {
			return used
		}
		used += step.size
		from = used
	}
	send()
	return used
}

// plain says that a command is sent on as it is, which nearly all are: step
// would come to the same, and costs more.
func (g *guest) plain(h resp.Head) bool {
	if h.Inline || g.bulky || g.link() == nil {
		return false
	}
	c := command.Lookup(h.Name, h.Sub)
	return wayOf(c) == shares && !c.MayBlock
}

// A step is what a guest's next command comes to.
type step struct {
	size    int         // bytes that it takes
	forward int         // sent on as it is, for so many replies
	do      func() bool // else this; false: not done yet, come again
}

// step decides on the command that b begins with and that has size bytes.
func (l *loop) step(g *guest, h resp.Head, b []byte, size int) step {
	if h.Inline {
		return step{size: size, do: func() bool { return l.inline(g, b[:size]) }}
	}
	c := command.Lookup(h.Name, h.Sub)
	if g.group == nil {
		return step{size: size, do: func() bool { return l.stranger(g, c, b[:size]) }}
	}
	way := wayOf(c)
	if way == shares && c.MayBlock && command.Blocks(resp.Args(nil, b[:size])[1:]) {
		way = movesOut
	}
	switch way {
	case shares:
		if g.group.link == nil {
			return step{size: size, do: func() bool { return l.away(g) }}
		}
		if g.bulky && g.pending == 0 {
			return step{size: size, do: func() bool { return l.moveOut(g) }}
		}
		return step{size: size, forward: 1}
	case opensBlock:
		return l.block(g, b, size)
	}
	return step{size: size, do: func() bool { return l.special(g, c, way, resp.Args(nil, b[:size])) }}
}

// block looks whether a whole MULTI … EXEC of shared commands is there: it goes
// as one unit, which nothing else can come between. Client libraries wrap their
// pipelines in it. One that comes in pieces needs a lane of its own.
func (l *loop) block(g *guest, b []byte, size int) step {
	var scan resp.CommandScanner
	scan.Authenticated, scan.MaxBulk = true, g.scan.MaxBulk
	end, replies := size, 1
	for end < len(b) && end <= maxShared {
		h, o := scan.Head(b[end:])
		if o != resp.Whole || h.Inline || h.Argc == 0 {
			break
		}
		n, o := scan.Body(b[end+h.Len:])
		if o != resp.Whole {
			break
		}
		c := command.Lookup(h.Name, h.Sub)
		end += h.Len + n
		replies++
		if c.Name == "exec" || c.Name == "discard" {
			if g.group.link == nil || h.Argc != 1 {
				break
			}
			return step{size: end, forward: replies}
		}
		if wayOf(c) != shares || c.MayBlock {
			break
		}
	}
	return step{size: size, do: func() bool { return l.moveOut(g) }}
}

// inline is a command that came as a line of text: from a person, mostly.
func (l *loop) inline(g *guest, line []byte) bool {
	frame, err := resp.AppendInline(nil, line)
	if err != nil {
		g.answer(errorReply(errProtocol + err.Error()))
		g.end()
		return true
	}
	args := resp.Args(nil, frame)
	if len(args) == 0 {
		return true
	}
	var sub []byte
	if len(args) > 1 {
		sub = args[1]
	}
	c := command.Lookup(args[0], sub)
	switch way := wayOf(c); {
	case g.group == nil:
		return l.stranger(g, c, frame)
	case way == shares && !c.MayBlock && g.group.link != nil:
		g.pending++
		l.commandsSent++
		g.group.link.books.Send(g, frame, 1)
		return true
	case way == shares || way == opensBlock:
		return l.moveOut(g)
	default:
		return l.special(g, c, way, args)
	}
}

// answer gives a guest an answer of our own, behind the replies it waits for.
func (g *guest) answer(b []byte) {
	if k := g.link(); g.pending > 0 && k != nil {
		g.pending++
		k.books.Answer(g, b)
		return
	}
	g.out = append(g.out, b...)
}

// close ends a guest now. Replies that still come for it are dropped.
func (g *guest) close() {
	if g.gone {
		return
	}
	g.vanish()
	eventloop.Close(g.fd)
	g.loop.car.leave(g.member)
}

// vanish takes a guest out of the loop; its descriptor stays open.
func (g *guest) vanish() {
	g.gone = true
	g.loop.entities[g.fd] = entity{}
	delete(g.loop.guests, g)
	g.release()
	g.join(nil)
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
