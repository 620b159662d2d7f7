package sidecar

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/lane"
)

// A group is guests that share a lane. It outlives its last guest by linger, so
// that an application that connects for each request finds its lane again.
type group struct {
	key        groupKey
	who        credential
	hello      []byte // the engine's reply to HELLO, for guests that say it again
	link       *link  // nil while the cache is away
	guests     int
	idle       time.Time // when its last guest left
	generation uint64    // of the route, for all of its lanes
	order      *order    // of all groups of this credential

	standby      *link // is kept for the next who goes to a lane of his own (standby.go)
	standbyUntil time.Time
	preparing    bool // one is being made

	large  time.Time     // when a reply was last too large to be held
	unsent []lane.Unsent // of a lane that was seized (own.go)

	away    []byte   // what guests are told since the last attempt to make a lane failed
	waiters []*guest // wait for the first attempt
	trying  *attempt // to make a lane again; nil: none is under way
}

// An attempt to make a group's lane again. One that the group doesn't know any
// more, since a newcomer's proof was faster or all have left, counts for nothing.
type attempt struct {
	number int
	cancel context.CancelFunc
}

const (
	// linger is how long a group without guests keeps its lane and password.
	linger = 10 * time.Second
	// largeFor is how long newcomers are kept apart, and maxApart how many handshakes
	// may be under way for one more.
	largeFor = time.Minute
	maxApart = 8
	// maxGroups bounds the lanes of all loops; guests beyond get lanes of their own, which the
	// limit on connections bounds.
	maxGroups = 256
	// Redialling waits between these, doubling, with jitter, so that many hosts
	// don't come back to a restarted gateway in one moment.
	redialFirst = 50 * time.Millisecond
	redialMost  = 5 * time.Second
)

// attach makes the connection of a proof the lane of a group.
func (l *loop) attach(to *group, p proven) bool {
	if p.from != to.generation {
		p.conn.Close()
		return false
	}
	k, err := l.newLink(p)
	if err != nil {
		l.car.log.Warn("a shared lane is lost", "cause", err)
		return false
	}
	k.group, k.books, k.worn = to, lane.New(), wear{time.Now().Add(keyAge), keyBytes}
	k.books.FencePerClient, k.books.Errors = l.car.settingsNow().FencePerGuest, l.car.refusals.reply
	to.link, to.away, to.hello = k, nil, p.hello
	if to.trying != nil {
		to.trying.cancel()
		to.trying = nil
	}
	to.sendUnsent()
	l.wake(to)
	return true
}

// keepsApart says whether a newcomer gets a private lane at once: others of its group
// have had replies that are too large to be held, and those who connect for each
// request would never get one. Few do at a time, since each costs a handshake.
func (of *group) keepsApart(g *guest) bool {
	if g.asked || of.large.IsZero() {
		return false
	}
	if time.Since(of.large) > largeFor {
		of.large = time.Time{}
		return false
	}
	return len(g.loop.car.proving) < maxApart
}

// lose closes a lane that has ended or is at fault, fails what was under way on
// it, and tries to make another.
func (l *loop) lose(k *link, cause error) {
	if k.lost {
		return
	}
	if k.standbyOf != nil {
		l.dropStandby(k.standbyOf)
		return
	}
	if k.owes() { // who is told that it may have run must not find that it runs later
		k.wire.Discard()
	}
	if k.guest != nil {
		l.loseOwn(k, cause)
		return
	}
	l.closeLink(k)
	k.abandonNext()
	if k.group.link == k {
		k.group.link = nil
	}
	waiting := k.books.Outstanding()
	k.books.Abandon()
	l.letGo(k)
	if waiting > 0 || !errors.Is(cause, net.ErrClosed) {
		l.lanesLost++
		l.car.log.Warn("a shared lane is lost", "cause", cause, "waiting", waiting)
	}
	for g := range l.guests { // the engine may be another one, with none of their scripts
		if g.scripted && g.group == k.group && g.own == nil && g.phase <= barred {
			g.cut()
		}
	}
	switch {
	case l.draining, l.groups[k.group.key] != k.group: // dropped
	case k.group.guests > 0:
		l.redial(k.group, 0)
	default: // nobody misses it
		l.drop(k.group)
	}
}

// redial makes a new lane for a group, in a goroutine, after a pause that grows
// with the attempts.
func (l *loop) redial(to *group, number int) {
	ctx, cancel := context.WithCancel(l.car.hard)
	try := &attempt{number: number, cancel: cancel}
	to.trying = try
	who := to.who.clone() // the group may be dropped meanwhile
	l.car.start(func() {
		defer cancel()
		defer clear(who.password)
		if !pause(ctx, number) {
			return
		}
		p := l.car.prove(ctx, who, to.key.protocol, to.key.db)
		l.car.learnMemory(ctx, &p)
		p.closeUnless(l.post(func() { l.redialled(to, try, p) }))
	})
}

// pause waits before an attempt; false: don't try.
func pause(ctx context.Context, attempt int) bool {
	if attempt == 0 {
		return ctx.Err() == nil
	}
	most := min(redialFirst<<min(attempt, 16), redialMost)
	jitter, err := rand.Int(rand.Reader, big.NewInt(int64(most)))
	if err != nil {
		jitter = big.NewInt(0)
	}
	select {
	case <-time.After(most/2 + time.Duration(jitter.Int64()/2)):
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *loop) redialled(to *group, try *attempt, p proven) {
	if to.trying != try {
		p.closeUnless(false)
		return
	}
	to.trying = nil
	l.car.noteReach(p)
	switch {
	case p.conn != nil && l.attach(to, p):
		return
	case p.final(): // the password is no longer good: who holds it must say so again
		l.car.log.Warn("the engine no longer takes a password that it took before", "guests", to.guests)
		for g := range l.guests {
			if g.group == to && g.own == nil { // the engine ends private lanes itself
				g.close()
			}
		}
		l.drop(to)
	default:
		to.away = errorReply(awayText(p.err))
		if p.refusal != nil {
			to.away = errorReply(errAwayRefused + "the engine says " + string(bytes.Trim(p.refusal, "-\r\n")))
		}
		if !l.draining {
			l.redial(to, try.number+1)
		}
	}
	to.failUnsent()
	l.wake(to)
}

// wake lets guests go on that waited for their group's lane.
func (l *loop) wake(to *group) {
	waiters := to.waiters
	to.waiters = nil
	for _, g := range waiters {
		l.resume(g)
	}
}

// away deals with a command while its group has no lane: it waits for the first
// attempt to make one, and is told at once when that has failed.
func (l *loop) away(g *guest) outcome {
	if g.group.away != nil {
		g.answer(g.group.away)
		return done
	}
	g.phase = waiting
	g.group.waiters = append(g.group.waiters, g)
	return again
}

// expire gives up lanes that have stalled: no command on a shared lane waits for
// anything, so one that is silent owes a reply that it will not give. It drops
// groups that nobody has used for a while.
func (l *loop) expire(now time.Time) {
	l.expireProofs(now)
	for _, g := range l.order {
		if k := g.link; k != nil {
			l.rekey(k, now)
		}
		if k := g.link; k != nil && k.next != nil {
			l.succeed(k, now)
		}
		if k := g.link; k != nil && k.books.Awaits() {
			if now.Sub(k.heard) >= l.car.limits.Stall {
				l.lose(k, errStalled)
			} else {
				l.inquire(k, now)
			}
		}
		if g.standby != nil && !now.Before(g.standbyUntil) {
			l.dropStandby(g)
		}
		if g.guests == 0 && now.Sub(g.idle) >= linger {
			l.drop(g)
		}
	}
}

// forget takes a group off the list. A list that is being gone through stays as it is.
func (l *loop) forget(g *group) {
	delete(l.groups, g.key)
	l.order = slices.DeleteFunc(slices.Clone(l.order), func(other *group) bool { return other == g })
}

// drop forgets a group: its lane, its password.
func (l *loop) drop(g *group) {
	l.forget(g)
	if g.trying != nil {
		g.trying.cancel()
		g.trying = nil
	}
	clear(g.who.password)
	l.dropStandby(g)
	g.failUnsent()
	if g.link != nil {
		l.lose(g.link, net.ErrClosed)
	}
}
