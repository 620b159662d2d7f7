package sidecar

import (
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// In which order commands reach the engine that came over several connections
// (docs/decisions/0163). One lane keeps its order; two don't: one may still have to be
// dialled, or be read later by gateway and engine. A program that writes SUBSCRIBE on
// one connection and then PUBLISH on another, and reads nothing in between, gets its
// message from a plain Redis, which reads whoever wrote first.
//
// So a guest that goes to a private lane puts up a barrier, and so does one that says
// there what would miss for good what others do before it (Command.Listens).
// Guests of the same credential that come later stand in line behind it, unread, until
// the engine has read the command. It shows that by its reply to a fence ahead of the
// command: redis-server writes no reply before it has run all that it has read of a
// connection, and sidecar and gateway send both in one go. Where replies aren't counted
// there can't be a fence, and the engine's confirmation of the subscription shows it.
//
// A barrier takes in what the guest had sent by the time that it was read on its lane,
// up to readSize: that may have come before what the others sent.

// A barrier stands for Limits.Order at most, and barriers have others wait for a quarter
// of the time, after ten times Limits.Order at once: who goes to private lanes all the
// time, over a slow network, slows the others by no more. What is waited for in vain, or
// not at all, is counted (Status.Unordered).
const (
	orderAtOnce = 10
	orderShare  = 4
)

// An order is that in which the guests of one credential go on.
type order struct {
	line   []inLine
	credit time.Duration // how long there may be a line, as of since
	since  time.Time     // when the line began, or the last one ended
}

// inLine is a barrier with who put it up, or a guest that waits.
type inLine struct {
	guest   *guest
	barrier *barrier
}

type barrier struct {
	until  time.Time
	open   bool // its guest is still read: what it has sent belongs before the barrier
	fenced bool // what is being sent has its fence
	sent   bool // something was
	fences int  // that the engine has not answered
}

// orderOf is that of a credential's groups.
func (l *loop) orderOf(d digest) *order {
	for key, g := range l.groups {
		if key.credential == d {
			return g.order
		}
	}
	return &order{credit: orderAtOnce * l.car.limits.Order, since: time.Now()}
}

// behind says whether a guest has to stand in line.
func (g *guest) behind() bool {
	return g.group != nil && len(g.group.order.line) > 0 && (g.barrier == nil || !g.barrier.open)
}

// raise puts up a guest's barrier, if there is none and others may be made to wait. Who
// doesn't read would not read the fence either.
func (l *loop) raise(g *guest) {
	if g.barrier != nil || g.group == nil || len(g.out) > unreadPrivate {
		return
	}
	o, now := g.group.order, time.Now()
	if len(o.line) == 0 {
		o.credit = min(orderAtOnce*l.car.limits.Order, o.credit+now.Sub(o.since)/orderShare)
		o.since = now
	}
	most := min(l.car.limits.Order, o.since.Add(o.credit).Sub(now))
	if most <= 0 {
		l.unordered++
		return
	}
	if len(o.line) == 0 {
		l.lines = append(l.lines, o)
	}
	g.barrier = &barrier{until: now.Add(most), open: true}
	o.line = append(o.line, inLine{g, g.barrier})
}

// stands says whether others still wait for it.
func (b *barrier) stands(g *guest, now time.Time) bool {
	return g.phase < ending && now.Before(b.until) && b.awaited()
}

// awaited says whether the engine has yet to show that it has read what belongs before it.
func (b *barrier) awaited() bool { return !b.sent || b.open || b.fences > 0 }

func (b *barrier) answered() { b.fences-- }

// shut has a guest stand in line like all others, once it was read on its lane.
func (g *guest) shut() {
	if g.barrier != nil && g.own != nil {
		g.barrier.open = false
	}
}

// precede sees to it that the engine reads a command that comes next on a private lane
// before what others send later, if that must be so.
func (l *loop) precede(g *guest, r *run, c *command.Command, argc int) {
	s := &g.course
	channels := c.Listens && c.OnPrivate == command.Doubt
	if s.transaction || s.uncounted && !channels {
		return // in a transaction nothing is listened to yet
	}
	if c.Listens && (c.Name != "xread" || r.fromNow()) {
		l.raise(g)
	}
	b := g.barrier
	var told func()
	switch {
	case b == nil:
	case s.uncounted:
		b.sent = true
		b.fences++
		told = b.answered
	case !b.fenced:
		b.sent, b.fenced = true, true
		b.fences++
		r.send()
		g.own.private.Skip(fenceReply, b.answered)
		g.own.send(fence)
	}
	if channels {
		g.own.private.Subscribe(argc-1, told)
	}
}

// fromNow says whether an XREAD may ask for what comes from now on.
func (r *run) fromNow() bool {
	b, scan := r.b[r.at:], resp.CommandScanner{Authenticated: true}
	h, o := scan.Head(b)
	if o != resp.Whole || h.Inline {
		return true
	}
	n, o := scan.Body(b[h.Len:])
	return o != resp.Whole || slices.ContainsFunc(resp.Args(nil, b[:h.Len+n]), func(arg []byte) bool { return string(arg) == "$" })
}

var (
	fence      = resp.AppendCommand(nil, "ECHO", "redoubt")
	fenceReply = "$7\r\nredoubt\r\n"
)

// advance lets those go on who have nobody before them any more. The loop calls it each
// turn.
func (l *loop) advance(now time.Time) {
	for _, o := range l.lines {
		o.advance(l, now)
	}
	l.lines = slices.DeleteFunc(l.lines, func(o *order) bool { return len(o.line) == 0 })
}

func (o *order) advance(l *loop, now time.Time) {
	for len(o.line) > 0 {
		g, b := o.line[0].guest, o.line[0].barrier
		if b != nil && b.stands(g, now) {
			return
		}
		o.line = o.line[1:]
		if b != nil {
			g.barrier = nil
			if !now.Before(b.until) && b.awaited() {
				l.unordered++
			}
		} else {
			g.listed = false
			l.later(g)
		}
	}
	o.line = nil
	o.credit -= now.Sub(o.since)
	o.since = now
}

// nextBarrier is when a barrier that stands first falls at the latest.
func (l *loop) nextBarrier(now time.Time) (due time.Duration) {
	due = -1
	for _, o := range l.lines {
		if left := max(0, o.line[0].barrier.until.Sub(now)); due < 0 || left < due {
			due = left
		}
	}
	return due
}
