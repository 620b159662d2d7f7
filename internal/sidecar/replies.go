package sidecar

import (
	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// What comes back to a guest, and how it ends.

// Deliver implements lane.Client.
func (g *guest) Deliver(b []byte, n int) {
	g.pending -= n
	if g.gone {
		return
	}
	if g.run += len(b) / max(n, 1); g.run >= bulkyReply {
		g.bulky = true
	}
	if n > 0 {
		g.run = 0
	}
	if len(g.out) > 0 && !g.blocked { // an answer of our own, before these
		g.out = append(g.out, b...)
		b = nil
		if g.flush(); g.gone {
			return
		}
	}
	if len(b) > 0 && len(g.out) == 0 && !g.blocked {
		k, err := eventloop.Write(g.fd, b)
		if err != nil {
			g.close()
			return
		}
		b = b[k:]
		g.blocked = len(b) > 0
	}
	if unread := len(g.out) + len(b); unread > chokeAt && !g.choke() && unread > maxUnread {
		g.loop.car.log.Warn("an application is closed: it does not read what it asked for")
		g.close()
		return
	}
	g.out = append(g.out, b...)
	g.settled()
}

// bulkyReply is a reply large enough that its guest had better not share: others
// would wait for it.
const bulkyReply = 256 << 10

// Fail implements lane.Client.
func (g *guest) Fail(n int, how lane.Failure) {
	g.pending -= n
	if g.gone {
		return
	}
	if how == lane.Torn { // a part of a reply is out: what follows would be taken for its rest
		g.close()
		return
	}
	text := errLost
	if how == lane.NotSent {
		text = errAway
	}
	for range n {
		g.out = append(g.out, errorReply(text)...)
	}
	g.settled()
}

// settled lets a guest go on that waited for its last reply.
func (g *guest) settled() {
	if g.pending > 0 {
		return
	}
	if len(g.out) > 0 && !g.blocked {
		g.flush()
	}
	switch {
	case g.gone:
	case g.ending:
		g.end()
	case g.barrier:
		g.loop.later(g)
	}
}

// flush writes what the application's socket takes.
func (g *guest) flush() {
	if g.gone || len(g.out) == 0 {
		return
	}
	n, err := eventloop.Write(g.fd, g.out)
	if err != nil {
		g.close()
		return
	}
	g.blocked = n < len(g.out)
	if g.blocked {
		g.out = g.out[n:] // not moved: it may be much, and this happens often
		g.swallowed()
		return
	}
	g.out = g.out[:0]
	if cap(g.out) > maxShared {
		g.out = nil
	}
	g.swallowed()
	if g.ending {
		g.end()
	}
}

// end closes a guest once it has been told all.
func (g *guest) end() {
	g.ending = true
	if g.gone || g.pending > 0 || g.waiting {
		return
	}
	if len(g.out) > 0 {
		if !g.blocked {
			g.flush()
		}
		return
	}
	g.close()
}
