package sidecar

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// A credential is a user and password, kept in memory for as long as a guest
// uses it: a new lane must prove it again. It is never logged.
type credential struct{ user, password []byte }

func (c credential) clone() credential {
	return credential{bytes.Clone(c.user), bytes.Clone(c.password)}
}

// groupKey is what guests must have in common to share a lane: the credential
// (as a keyed digest, so that finding a group compares no password), protocol
// and database.
type groupKey struct {
	credential [sha256.Size]byte
	protocol   int
	db         int
}

// A group is guests that share a lane. It outlives its last guest by linger, so
// that an application that connects for each request finds its lane again.
type group struct {
	key    groupKey
	who    credential
	hello  []byte // the engine's reply to HELLO, for guests that say it again
	link   *link  // nil while the cache is away
	guests int
	idle   time.Time // when its last guest left

	away    bool     // the last attempt to make a lane failed
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
	// maxProofs bounds the lanes being made at the same time: many applications
	// that come back at once would otherwise be more than the gateway takes
	// handshakes from one host.
	maxProofs = 64
	// maxGroups bounds lanes; guests beyond get lanes of their own, which the
	// limit on connections bounds.
	maxGroups = 256
	// Redialling waits between these, doubling, with jitter, so that many hosts
	// don't come back to a restarted gateway in one moment.
	redialFirst = 50 * time.Millisecond
	redialMost  = 5 * time.Second
)

// keyOf is the group of a credential.
func (l *loop) keyOf(who credential, protocol, db int) groupKey {
	mac := hmac.New(sha256.New, l.car.digestKey[:])
	fmt.Fprintf(mac, "%d:", len(who.user)) // no two credentials look alike
	mac.Write(who.user)
	mac.Write(who.password)
	k := groupKey{protocol: protocol, db: db}
	mac.Sum(k.credential[:0])
	return k
}

// enroll moves a guest to the group of a credential, making it if need be, and
// calls done in the loop with the group's HELLO reply, or a refusal.
// It returns false if the guest has to wait.
func (l *loop) enroll(g *guest, who credential, protocol, db int, done func(hello, refusal []byte)) bool {
	key := l.keyOf(who, protocol, db)
	// Where the cache was away when last tried, a newcomer tries anew.
	if to, ok := l.groups[key]; ok && to.link != nil {
		g.join(to)
		done(to.hello, nil)
		return true
	}
	g.waiting = true
	who = who.clone()
	l.car.work.Go(func() {
		p := l.car.prove(l.car.hard, who, protocol, db)
		p.closeUnless(l.post(func() { l.proved(g, key, who, p, done) }))
	})
	return false
}

// proved goes on with a guest whose credential has been tried.
func (l *loop) proved(g *guest, key groupKey, who credential, p proven, done func(hello, refusal []byte)) {
	g.waiting = false
	l.car.reached(p.err)
	to := l.groups[key]
	switch {
	case p.conn == nil:
	case to != nil && to.link != nil: // another guest was faster
		p.conn.Close()
	case to != nil:
		l.attach(to, p)
	case g.gone:
		p.conn.Close()
	default:
		to = &group{key: key, who: who.clone()}
		l.groups[key] = to
		if !l.attach(to, p) {
			l.drop(to)
		}
	}
	clear(who.password)
	if g.gone {
		return
	}
	switch {
	case to != nil && to.link != nil && p.refusal == nil && p.err == nil:
		g.join(to)
		done(to.hello, nil)
	case p.refusal != nil:
		done(nil, p.refusal)
	case errors.Is(p.err, ErrRefused):
		done(nil, errorReply(errAwayRefused))
	default:
		done(nil, errorReply(errAway))
	}
	if len(g.out) > 0 && g.pending == 0 && !g.blocked {
		g.flush()
	}
	if g.ending {
		g.end()
	}
	l.later(g)
}

// attach makes the connection of a proof the lane of a group.
func (l *loop) attach(to *group, p proven) bool {
	conn := p.conn
	if err := l.car.doubt(conn); err != nil { // CutIf may just have looked
		l.car.log.Warn("a shared lane is lost", "cause", err)
		conn.Close()
		return false
	}
	k := &link{group: to, conn: conn, books: lane.New(), worn: wear{time.Now().Add(keyAge), keyBytes}}
	k.books.FencePerClient, k.books.Errors = l.car.perGuest, l.car.refusals.reply
	if t, ok := conn.(*tls.Conn); ok {
		k.wire, _ = t.NetConn().(*eventloop.Wire)
	} else {
		k.wire = eventloop.NewWire(conn)
		k.conn = k.wire
	}
	if k.wire == nil {
		l.car.log.Error("a lane can't be driven by the loop: its TLS is not on a wire")
		conn.Close()
		return false
	}
	fd, err := k.wire.Detach()
	if err == nil {
		k.fd = fd
		err = l.add(fd, entity{link: k})
	}
	if err != nil {
		l.car.log.Error("a lane can't be driven by the loop", "cause", err)
		k.conn.Close()
		return false
	}
	to.link, to.away, to.hello = k, false, p.hello
	if to.trying != nil {
		to.trying.cancel()
		to.trying = nil
	}
	l.wake(to)
	l.arrived = append(l.arrived, k) // bytes may lie in its TLS already
	return true
}

// lose closes a lane that has ended or is at fault, fails what was under way on
// it, and tries to make another.
func (l *loop) lose(k *link, cause error) {
	if k.lost {
		return
	}
	k.lost = true
	l.entities[k.fd] = entity{}
	k.conn.Close()
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
	switch {
	case l.draining:
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
	l.car.work.Go(func() {
		defer cancel()
		defer clear(who.password)
		if !pause(ctx, number) {
			return
		}
		p := l.car.prove(ctx, who, to.key.protocol, to.key.db)
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
	l.car.reached(p.err)
	switch {
	case p.conn != nil && l.attach(to, p):
	case p.final(): // the password is no longer good: who holds it must say so again
		l.car.log.Warn("the engine no longer takes a password that it took before", "guests", to.guests)
		for g := range l.guests {
			if g.group == to {
				g.close()
			}
		}
		l.drop(to)
	default:
		to.away = true
		if !l.draining {
			l.redial(to, try.number+1)
		}
	}
	l.wake(to)
}

// wake lets guests go on that waited for their group's lane.
func (l *loop) wake(to *group) {
	for _, g := range to.waiters {
		g.waiting = false
		if g.ending {
			g.end()
		}
		l.later(g)
	}
	to.waiters = nil
}

// away deals with a command while its group has no lane: it waits for the first
// attempt to make one, and is told at once when that has failed.
func (l *loop) away(g *guest) bool {
	if g.group.away {
		g.answer(errorReply(errAway))
		return true
	}
	g.waiting = true
	g.group.waiters = append(g.group.waiters, g)
	return false
}

// expire gives up lanes that have stalled: no command on a shared lane waits for
// anything, so one that is silent owes a reply that it will not give. It drops
// groups that nobody has used for a while.
func (l *loop) expire(now time.Time) {
	for _, g := range l.groups {
		if k := g.link; k != nil {
			l.rekey(k, now)
		}
		if k := g.link; k != nil && k.next != nil {
			l.succeed(k, now)
		}
		if k := g.link; k != nil && k.choked != nil {
			if now.Sub(k.choked.drank) >= drinkPatience {
				l.car.log.Warn("an application is closed: it does not read what it asked for")
				k.choked.close()
			}
			continue
		}
		if k := g.link; k != nil && k.books.Awaits() && now.Sub(k.heard) >= l.car.limits.Stall {
			l.lose(k, errStalled)
		}
		if g.guests == 0 && now.Sub(g.idle) >= linger {
			l.drop(g)
		}
	}
}

// drop forgets a group: its lane, its password.
func (l *loop) drop(g *group) {
	delete(l.groups, g.key)
	if g.trying != nil {
		g.trying.cancel()
		g.trying = nil
	}
	clear(g.who.password)
	if g.link != nil {
		l.lose(g.link, net.ErrClosed)
	}
}
