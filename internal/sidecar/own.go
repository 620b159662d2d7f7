package sidecar

import (
	"errors"
	"time"

	"github.com/redoubt-cache/redoubt/internal/lane"
	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// How a guest gets a lane of its own, and goes back to the shared one
// (docs/decisions/0041, 0137).

// leave has a guest get a private lane, once no reply is due. The command at hand
// is looked at again then, so it always returns again.
func (l *loop) leave(g *guest) outcome {
	g.partial = false
	l.raise(g)
	if g.pending > 0 {
		g.phase = barred
		return again
	}
	if l.car.own.Load() >= int64(l.car.settingsNow().OwnLanes) {
		g.answer(errorReply(errMaxClients))
		g.end()
		return again
	}
	if g.group.standby != nil {
		l.adopt(g)
		return again
	}
	if l.ownLanes() >= l.car.settingsNow().OwnLanes {
		l.makeRoom()
	}
	l.car.own.Add(1)
	g.phase = waiting
	who := g.group.who.clone() // the group may be dropped meanwhile
	key := g.group.key
	l.car.start(func() {
		defer clear(who.password)
		p := l.car.prove(l.car.hard, who, key.protocol, key.db)
		p.closeUnless(l.post(func() { l.left(g, p) }))
	})
	return again
}

// left goes on with a guest that was to get a private lane. If there is none, it is
// closed, and told why where it is refused: most applications come back by themselves.
func (l *loop) left(g *guest, p proven) {
	l.car.own.Add(-1)
	l.car.noteReach(p)
	if g.phase == gone {
		p.closeUnless(false)
		return
	}
	switch {
	case p.err != nil && tunnel.Refusal(p.err) != "": // for a person, it doesn't pass by itself
		g.answer(errorReply(awayText(p.err)))
		g.end()
	case p.err != nil:
		g.cut()
	case p.refusal != nil:
		g.answer(p.refusal)
		g.end()
	case !g.keepsTo(p.from):
		p.conn.Close()
	default:
		if k, err := l.newLink(p); err != nil {
			l.car.log.Warn("a private lane is lost", "cause", err)
			g.cut()
		} else {
			l.give(g, k, l.car.privateBooks(g))
			l.keepStandby(g.group)
		}
	}
	l.resume(g)
}

// privateBooks are those of a fresh private lane.
func (c *Sidecar) privateBooks(g *guest) *lane.Private {
	return &lane.Private{Client: g, Errors: c.refusals.reply}
}

// give makes a lane a guest's own.
func (l *loop) give(g *guest, k *link, books *lane.Private) {
	k.guest, k.private = g, books
	k.group, k.books = nil, nil
	g.own, g.course = k, course{needed: time.Now()}
	l.car.own.Add(1)
	l.remind(g, g.course.needed.Add(min(l.car.limits.Own, l.car.limits.Dial)))
}

// introduce is the first that a private lane hears of its guest: the guest's name, and
// where nobody has heard of the lane for a while, a fence.
func (g *guest) introduce() {
	k := g.own
	if g.known.name != "" {
		k.private.Skip("+OK\r\n", nil)
		k.send(resp.AppendCommand(nil, "CLIENT", "SETNAME", g.known.name))
	}
	if !k.unheard.IsZero() {
		k.private.Skip(fenceReply, func() { k.unheard = time.Time{} })
		k.send(fence)
	}
}

// seize gives the shared lane to the guest that has it alone and takes its reply
// more slowly than it comes. What the others hadn't sent goes over the next lane.
func (l *loop) seize(k *link, g *guest) {
	of := k.group
	books, own, others := k.books.Seize()
	of.link, of.unsent = nil, others
	k.abandonNext()
	l.give(g, k, books)
	if len(own) > 0 {
		k.send(own)
		l.flushOwn(k)
	}
	l.letGo(k)
	if l.draining {
		of.failUnsent()
		return
	}
	l.redial(of, 0)
}

// sendUnsent sends over a group's new lane what its last one was seized before.
func (of *group) sendUnsent() {
	for _, u := range of.unsent {
		if u.Answer != nil {
			of.link.books.Answer(u.Client, u.Answer)
		} else {
			of.link.books.Send(u.Client, u.Commands, u.N)
		}
	}
	of.unsent = nil
}

// failUnsent tells that there is no new lane.
func (of *group) failUnsent() {
	unsent := of.unsent
	of.unsent = nil
	for _, u := range unsent {
		if u.Answer != nil {
			u.Client.Deliver(u.Answer, 1)
		} else {
			u.Client.Fail(u.N, lane.NotSent)
		}
	}
}

// dropOwn closes a guest's private lane, if it has one.
func (l *loop) dropOwn(g *guest) {
	k := g.own
	if k == nil {
		return
	}
	g.own, g.course = nil, course{}
	l.car.own.Add(-1)
	l.closeLink(k)
	if len(k.held) > 0 { // nobody but the guest waits there
		k.held, g.listed = nil, false
	}
}

// loseOwn ends a guest whose private lane has ended.
func (l *loop) loseOwn(k *link, cause error) {
	g := k.guest
	due, uncounted := g.pending, g.course.uncounted
	l.dropOwn(g)
	if g.phase >= parting {
		return
	}
	switch {
	case errors.Is(cause, lane.ErrUnasked), errors.Is(cause, lane.ErrMalformed), errors.Is(cause, lane.ErrNotRejected):
		l.car.log.Error("lane closed: the engine broke the protocol", "cause", cause)
	case due > 0 && !g.left && !uncounted:
		l.car.log.Warn("lane lost with commands under way", "waiting", due, "cause", cause)
	}
	g.cut()
}

// mayReturn sends a guest back to the shared lane if it has asked for nothing else for
// a while, nothing of it is left on its own, and nothing but what leaves nothing was
// ever asked there. Its own lane is closed, so that nothing can come out of it for
// anybody.
func (l *loop) mayReturn(g *guest, now time.Time) {
	own := l.car.limits.Own
	c := &g.course
	if c.strayed || c.uncounted || g.group == nil { // for good
		return
	}
	if at := c.needed.Add(own); now.Before(at) {
		l.remind(g, at)
		return
	}
	key := g.group.key
	key.db = g.known.db
	to := l.groups[key]
	if g.phase != serving || g.pending > 0 || c.body || c.transaction || c.watching || len(g.out) > 0 || to == nil || to.link == nil {
		l.remind(g, now.Add(own))
		return
	}
	g.scripted = g.scripted || c.scripted
	l.dropOwn(g)
	g.join(to)
	g.bulky, g.partial = false, false
	l.later(g)
}
