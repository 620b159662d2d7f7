package sidecar

import "time"

// A reply of up to 512 MB to a guest that has the lane alone passes as it
// comes, and may come faster than the application reads. At chokeAt the lane is
// then choked: nothing more is read of it until the application has taken
// half. The others on the lane wait, as they would for the rest of the reply;
// an application that takes nothing at all is closed soon, so that they don't
// wait for it. Whoever has had such a reply moves to a lane of its own.

// chokeAt is how much of a reply is kept for an application that has the lane
// alone.
const chokeAt = 32 << 20

// drinkPatience is how long an application that chokes its lane may take
// nothing.
const drinkPatience = time.Second

// choke stops the lane for a guest whose reply passes as it comes. It returns
// false for one that shares a batch: there nobody must wait for it.
func (g *guest) choke() bool {
	k := g.link()
	if k == nil || k.books.Owner() != g {
		return false
	}
	if k.choked != g {
		k.choked, g.drank = g, time.Now()
	}
	return true
}

// swallowed notes that the application has taken something.
func (g *guest) swallowed() {
	if k := g.link(); k == nil || k.choked != g {
		return
	}
	g.drank = time.Now()
	if len(g.out) < chokeAt/2 {
		g.release()
	}
}

// release lets the guest's lane go on, if it is choked by this guest.
func (g *guest) release() {
	k := g.link()
	if k == nil || k.choked != g {
		return
	}
	k.choked, k.heard = nil, time.Now()
	g.loop.post(func() { g.loop.receive(k) })
}
