package sidecar

import (
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// What comes back to a guest.

// The bounds that are met before these are in unread.go.
const (
	// maxUnread is what an application may leave unread in all before it is closed,
	// as an engine would by its output limit.
	maxUnread = 64 << 20
	// unreadStranger is the same of a stranger, as in redis-server: its output buffer
	// for who has not authenticated (CVE-2025-21605).
	unreadStranger = 16 << 10
)

// What all leave unread together is bounded by Limits.Unread. With half of it private
// lanes are read only for those who have read all; with more, who has left most is closed.

// count keeps the sum of what is unread.
func (g *guest) count() {
	g.loop.unread += len(g.out) - g.counted
	g.counted = len(g.out)
}

// mostUnread is how much is kept for a guest before its private lane isn't read any more.
func (l *loop) mostUnread() int {
	if l.unread > l.share(l.car.limits.Unread)/2 {
		return 0
	}
	return unreadPrivate
}

// shed is called each turn.
func (l *loop) shed() {
	for l.unread > l.share(l.car.limits.Unread) {
		var most *guest
		for g := range l.guests {
			if most == nil || len(g.out) > len(most.out) {
				most = g
			}
		}
		l.car.log.Warn("an application is closed: all together don't read what they asked for, and it has left most")
		most.close()
	}
}

// Deliver implements lane.Client.
func (g *guest) Deliver(b []byte, n int) {
	g.pending -= n
	if g.phase == gone {
		return
	}
	g.measure(len(b), n)
	if len(g.out) > 0 && !g.socket.blocked { // an answer of our own, before these
		g.out = append(g.out, b...)
		b = nil
		if g.flush(); g.phase == gone {
			return
		}
	}
	if len(b) > 0 && len(g.out) == 0 && !g.socket.blocked {
		k, err := eventloop.Write(g.fd, b)
		if err != nil {
			g.close()
			return
		}
		b = b[k:]
		g.filled(len(b) > 0)
	}
	if g.keep(b); g.phase != gone {
		g.settled()
	}
}

// measure notes large replies.
func (g *guest) measure(size, n int) {
	if g.run += size / max(n, 1); g.run >= bulkyReply {
		g.bulky = true
		if g.own != nil {
			g.course.needed = time.Now()
		}
	}
	if n > 0 {
		g.run = 0
	}
	if g.left || len(g.last) > 0 { // the engine is at work
		g.due = time.Now().Add(halfClosed)
	}
}

// keep puts bytes behind what the application's socket hasn't taken.
func (g *guest) keep(b []byte) {
	if g.stranger() && len(g.out)+len(b) > unreadStranger { // not logged: it may come back at once
		g.close()
		return
	}
	if len(g.out)+len(b) > maxUnread {
		g.loop.car.log.Warn("an application is closed: it does not read what it asked for")
		g.close()
		return
	}
	g.out = append(g.out, b...)
	g.count()
}

// answer gives a guest an answer of our own, behind the replies it waits for.
func (g *guest) answer(b []byte) {
	g.said += len(b)
	switch {
	case g.pending == 0:
		g.keep(b)
		return
	case g.own != nil:
		g.own.private.Answer(func() []byte { return b })
	default:
		g.group.link.books.Answer(g, b)
	}
	g.pending++
}

// Fail implements lane.Client.
func (g *guest) Fail(n int, how lane.Failure) {
	g.pending -= n
	if g.phase == gone {
		return
	}
	told := errorReply(errLost)
	switch how {
	case lane.Torn: // a part of a reply is out: what follows would be taken for its rest
		g.close()
		return
	case lane.NotSent:
		told = errorReply(errAway)
		if g.group != nil && g.group.away != nil {
			told = g.group.away
		}
	case lane.Dropped:
		told = errorReply(errTooLarge)
		g.bulky, g.group.large = true, time.Now()
	}
	for range n {
		g.out = append(g.out, told...)
	}
	g.count()
	g.settled()
}

// settled lets a guest go on that waited for its last reply.
func (g *guest) settled() {
	if g.pending > 0 {
		return
	}
	if len(g.out) > 0 && !g.socket.blocked {
		g.flush()
	}
	switch g.phase {
	case ending:
		g.finish()
	case barred:
		g.loop.later(g)
	}
}

// bar has a guest wait until no reply is due to it, whether it reads them or not.
func (g *guest) bar() {
	g.phase = barred
	g.unchoke()
}

// unchoke has a private lane read again.
func (g *guest) unchoke() {
	if k := g.own; k != nil && k.choked {
		k.choked = false
		g.loop.post(func() { g.loop.receive(k) })
	}
}

// filled notes whether the application's socket is full. A unix socket tells each time
// that its peer has read, so the poller is asked for that only while it matters.
func (g *guest) filled(full bool) {
	if g.socket.blocked == full {
		return
	}
	g.socket.blocked = full
	if !g.socket.unix {
		return
	}
	l := g.loop
	if err := l.poll.WatchWrite(g.fd, l.token(g.fd), full); err != nil {
		l.car.log.Error("an application connection can't be watched", "cause", err)
		g.close()
	}
}

// flush writes what the application's socket takes.
func (g *guest) flush() {
	if g.phase == gone || len(g.out) == 0 {
		return
	}
	n, err := eventloop.Write(g.fd, g.out)
	if err != nil {
		g.close()
		return
	}
	if g.filled(n < len(g.out)); g.socket.blocked {
		g.out = g.out[n:] // not moved: it may be much, and this happens often
	} else {
		g.out = g.out[:0]
		if cap(g.out) > maxShared {
			g.out = nil
		}
	}
	g.count()
	if len(g.out) < unreadPrivate/2 {
		g.unchoke()
	}
	if len(g.out) == 0 {
		g.finish()
	}
}
