package sidecar

import "time"

// A group of which somebody has lately gone to a private lane keeps one on standby for
// the next who does (docs/decisions/0164): dialled and proved beside the shared lane, of
// its generation, used by nobody yet. Who takes it needs no dial, and has nobody wait for
// one (order.go). It never becomes anything else than one guest's own.

// standbyFor is how long a lane is kept ready after somebody has last gone to one. It has
// carried nothing but its login then, so that its keys can't wear.
const standbyFor = 5 * time.Minute

// keepStandby has a group get a lane on standby, if it has none and there is room.
func (l *loop) keepStandby(of *group) {
	if of == nil || l.groups[of.key] != of || l.draining {
		return
	}
	of.standbyUntil = time.Now().Add(standbyFor)
	if of.standby != nil || of.preparing || l.ownLanes() >= l.car.settingsNow().OwnLanes {
		return
	}
	of.preparing = true
	l.car.standbys.Add(1)
	who := of.who.clone() // the group may be dropped meanwhile
	l.car.start(func() {
		defer clear(who.password)
		p := l.car.prove(l.car.hard, who, of.key.protocol, of.key.db)
		p.closeUnless(l.post(func() { l.prepared(of, p) }))
	})
}

// prepared takes what was made. Without success there is none, until the next leaves.
func (l *loop) prepared(of *group, p proven) {
	of.preparing = false
	l.car.standbys.Add(-1)
	if p.conn == nil || l.groups[of.key] != of || l.draining || p.from != of.generation || l.ownLanes() >= l.car.settingsNow().OwnLanes {
		p.closeUnless(false)
		return
	}
	k, err := l.newLink(p)
	if err != nil {
		return
	}
	k.standbyOf, of.standby = of, k
	l.car.standbys.Add(1)
}

// adopt gives a guest its group's lane on standby.
func (l *loop) adopt(g *guest) {
	of := g.group
	k := of.standby
	of.standby, k.standbyOf = nil, nil
	l.car.standbys.Add(-1)
	k.unheard = time.Now()
	l.give(g, k, l.car.privateBooks(g))
	l.keepStandby(of)
}

// lookForLife gives up a lane that was on standby and over which nothing comes: what it leads
// to may have gone without a word, and a dial would have shown that.
func (l *loop) lookForLife(g *guest, now time.Time) {
	switch due := g.own.unheard.Add(l.car.limits.Dial); {
	case g.own.choked:
		l.remind(g, now.Add(l.car.limits.Dial))
	case now.Before(due):
		l.remind(g, now.Add(min(l.car.limits.Own, due.Sub(now))))
	default:
		l.lose(g.own, errStalled)
	}
}

// dropStandby closes a group's lane on standby, if it has one.
func (l *loop) dropStandby(of *group) {
	if k := of.standby; k != nil {
		of.standby = nil
		l.car.standbys.Add(-1)
		l.closeLink(k)
	}
}

// makeRoom gives up one lane on standby, so that somebody may have one of his own.
func (l *loop) makeRoom() {
	for _, of := range l.order {
		if of.standby != nil {
			l.dropStandby(of)
			return
		}
	}
}

// ownLanes are those that Limits.OwnLanes bounds; lanes on standby give way.
func (l *loop) ownLanes() int { return int(l.car.own.Load() + l.car.standbys.Load()) }
