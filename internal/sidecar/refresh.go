package sidecar

import "time"

// A shared lane lives on when this host has a new certificate, but a fresh one is
// better: when the CA's root is replaced, gateways cut what came with the old
// one. Its keys wear out too: crypto/tls never changes those of a connection, and
// a lane carries all of a host's traffic (docs/decisions/0144). So each lane gets
// a successor: a connection is made and proved beside it,
// then its guests are not read until nothing is outstanding, which takes a round
// trip, and go on over the successor. No command is lost or run twice for it.

// holdAtMost bounds that pause: a lane that is not done by then, since a reply is
// large or slowly read, stays as it is.
const holdAtMost = 500 * time.Millisecond

// The keys of a lane are used for so many bytes on the wire, both ways together,
// and for so long; a successor that could not be had is tried for again.
const (
	keyBytes      = 1 << 35
	keyAge        = time.Hour
	keyBytesRetry = 1 << 30
	keyAgeRetry   = time.Minute
)

// wear is when a lane's keys have been used long enough.
type wear struct {
	at    time.Time
	bytes int64 // of Wire.Carried
}

// rekey gives a lane a successor when its keys are worn.
func (l *loop) rekey(k *link, now time.Time) {
	carried := k.wire.Carried()
	if carried < k.worn.bytes && now.Before(k.worn.at) {
		return
	}
	k.worn = wear{now.Add(keyAgeRetry), carried + keyBytesRetry}
	l.refresh(k.group)
}

// Refresh gives every lane that is shared, or on standby, a fresh connection. It doesn't
// wait for that.
func (c *Sidecar) Refresh() {
	c.each(func(l *loop) {
		for _, g := range l.order {
			l.refresh(g)
			if g.standby != nil {
				l.dropStandby(g)
				l.keepStandby(g)
			}
		}
	})
}

func (l *loop) refresh(of *group) {
	k := of.link
	if k == nil || k.next != nil || l.draining {
		return
	}
	who := of.who.clone() // the group may be dropped meanwhile
	l.car.start(func() {
		defer clear(who.password)
		p := l.car.prove(l.car.hard, who, of.key.protocol, of.key.db)
		if p.conn != nil { // else the lane that there is must do
			p.closeUnless(l.post(func() { l.hold(k, p) }))
		}
	})
}

// hold has a lane's guests wait until it can be succeeded.
func (l *loop) hold(k *link, p proven) {
	if k.lost || k.books == nil || k.next != nil || l.draining {
		p.closeUnless(false)
		return
	}
	k.next, k.holdUntil = &p, time.Now().Add(holdAtMost)
}

// succeed lets a lane's successor take over when nothing is under way, or gives
// it up when that takes too long. The loop calls it each turn.
func (l *loop) succeed(k *link, now time.Time) {
	switch {
	case k.books.Idle() && k.wire.Unsent() == 0:
		p := *k.next
		k.next = nil
		if l.attach(k.group, p) {
			l.closeLink(k)
		}
		l.letGo(k)
	case !now.Before(k.holdUntil):
		k.abandonNext()
		l.letGo(k)
	}
}

func (k *link) abandonNext() {
	if k.next != nil {
		k.next.closeUnless(false)
		k.next = nil
	}
}
