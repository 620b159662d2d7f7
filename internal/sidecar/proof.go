package sidecar

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// How a credential is proved: a lane that nobody else uses yet logs in with it, and
// becomes the lane of the credential's group. One proof serves all guests that ask for
// the same group meanwhile, so that many connections that start at once cost one
// handshake. Who the sidecar has no proof of yet, a stranger, may be guessing: strangers
// have examiners of their own, few, and never take the places of lanes that are made
// again or of a proven credential's further databases (docs/decisions/0143).

const (
	// maxProofs bounds the lanes of proven credentials being made at the same time:
	// many that come back at once would otherwise be more than the gateway takes
	// handshakes from one host.
	maxProofs = 64
	// maxExaminers bounds the strangers that are proved at the same time, by all loops.
	maxExaminers = 8
	// wrongRest is an examiner's pause after a wrong password: with it all of them try
	// 800 a second at most.
	wrongRest = 10 * time.Millisecond
	// refuseAfter is how long who repeats a wrong password waits for the answer.
	refuseAfter = 100 * time.Millisecond
	// spareFor is how long an examiner keeps a lane on which a password was wrong, for
	// the next stranger: guessing costs the gateway no handshakes.
	spareFor = time.Second
)

// A proof is a group that is asked for and has no lane.
type proof struct {
	key        groupKey
	who        credential
	since      time.Time
	applicants []applicant
}

// applicant is a guest that waits for a proof, and what it wants to be then.
type applicant struct {
	guest *guest
	as    handshake
}

// wanted says whether anybody still waits for it.
func (p *proof) wanted() bool {
	return slices.ContainsFunc(p.applicants, func(a applicant) bool { return a.guest.phase != gone })
}

// proven is what a proof found: a lane that is authenticated and in its
// database, or the engine's refusal, or why there was none of either.
type proven struct {
	conn    net.Conn
	from    uint64 // the generation of the route
	hello   []byte
	refusal []byte
	err     error
	queued  bool // it had no turn in time: err says nothing of the gateway
}

// wrong says that the engine knows no such password.
func (p proven) wrong() bool { return bytes.HasPrefix(p.refusal, []byte("-WRONGPASS ")) }

// final says whether a refusal is about the credential. Others pass: an engine
// that is full, loads its data or runs a script.
func (p proven) final() bool {
	return p.wrong() || bytes.HasPrefix(p.refusal, []byte("-NOAUTH ")) || bytes.HasPrefix(p.refusal, []byte("-NOPERM "))
}

// noteReach notes what a proof found of whether the cache can be reached. A wait in a
// queue of ours says nothing, nor what became of a lane to a gateway that was left
// meanwhile.
func (c *Sidecar) noteReach(p proven) {
	if !p.queued && (p.from == 0 || p.from == c.gateways.now().generation) {
		c.reached(p.err)
		c.gateways.refused(p.err)
	}
}

// closeUnless closes a lane that nobody takes.
func (p proven) closeUnless(taken bool) {
	if !taken && p.conn != nil {
		p.conn.Close()
	}
}

// A handshake is what a guest becomes if the engine takes its credential.
type handshake struct {
	protocol int
	db       int
	name     string
	hello    bool // it is answered as HELLO is, not with OK
}

// enter makes a guest what it wanted to be, and answers it.
func (g *guest) enter(to *group, who credential, as handshake, hello []byte) {
	g.struck, g.untried = false, false
	g.join(to)
	g.known.user, g.known.protocol, g.known.db, g.known.name = string(who.user), as.protocol, as.db, as.name
	if as.hello {
		g.answer(g.ownHello(hello))
	} else {
		g.answer(okReply)
	}
}

// enroll moves a guest to the group of a credential, making it if need be, and
// answers it. A failure changes nothing. Nothing is pending.
func (l *loop) enroll(g *guest, who credential, as handshake) {
	key := groupKey{l.car.digestOf(who), as.protocol, as.db}
	// Where the cache was away when last tried, a newcomer tries anew.
	if to, ok := l.groups[key]; ok && to.link != nil {
		if g.keepsTo(to.generation) {
			g.enter(to, who, as, to.hello)
		}
		return
	}
	g.phase = waiting
	now := time.Now()
	if refusal := l.wrongs.recall(key.credential, now); refusal != nil {
		l.refuseLater(g, refusal, now)
		return
	}
	if p, ok := l.proofs[key]; ok {
		p.applicants = append(p.applicants, applicant{g, as})
		return
	}
	p := &proof{key: key, who: who.clone(), since: now, applicants: []applicant{{g, as}}}
	l.proofs[key] = p
	if l.knows(key.credential) {
		l.car.start(func() {
			r := l.car.prove(l.car.hard, p.who, as.protocol, as.db)
			r.closeUnless(l.post(func() { l.judged(p, r) }))
		})
		return
	}
	queue := &l.strangers
	if g.struck {
		queue = &l.struck
	}
	*queue = append(*queue, p)
	l.examineNext()
}

// knows says whether a credential has been proved, for whatever protocol and database.
func (l *loop) knows(d digest) bool {
	for key := range l.groups {
		if key.credential == d {
			return true
		}
	}
	return false
}

// judged goes on with the guests whose credential has been tried.
func (l *loop) judged(p *proof, r proven) {
	delete(l.proofs, p.key)
	l.car.noteReach(r)
	to := l.groups[p.key]
	tooMany := false
	switch {
	case r.conn == nil:
	case to != nil && to.link != nil: // it was made again meanwhile
		r.conn.Close()
	case to != nil:
		l.attach(to, r)
	case !p.wanted():
		r.conn.Close()
	case len(l.groups) >= l.share(maxGroups):
		tooMany = l.apart(p, r)
	default:
		to = &group{key: p.key, who: p.who.clone(), generation: r.from, order: l.orderOf(p.key.credential)}
		l.groups[p.key], l.order = to, append(l.order, to)
		if !l.attach(to, r) {
			l.drop(to)
		}
	}
	if r.wrong() {
		l.wrongs.add(p.key.credential, r.refusal, time.Now())
	}
	for _, a := range p.applicants {
		g := a.guest
		switch {
		case g.phase == gone, g.own != nil:
		case r.refusal != nil:
			if r.wrong() {
				l.strike(g)
			}
			g.untried = !r.final()
			g.answer(r.refusal)
		case r.queued:
			g.untaken(errCrowded)
		case tooMany: // for a lane of his own too
			l.enroll(g, p.who, a.as)
			continue
		case r.err == nil && to != nil && to.link != nil:
			if g.keepsTo(to.generation) {
				g.enter(to, p.who, a.as, to.hello)
			}
		default:
			g.untaken(awayText(r.err))
		}
		l.resume(g)
	}
	clear(p.who.password)
}

// untaken tells a guest that it can't be what it wanted to be now. No engine says that,
// and client libraries go on all the same: in another database, if they had asked for one,
// so the connection ends; unauthenticated, so a stranger may only ask again, which some do,
// and is closed for anything else (stranger).
func (g *guest) untaken(text string) {
	g.answer(errorReply(text))
	if g.untried = g.stranger(); !g.untried {
		g.end()
	}
}

// apart gives a guest the lane on which its credential was proved for its own, since
// there are too many groups for one more. It returns whether others may try it again.
func (l *loop) apart(p *proof, r proven) bool {
	k, err := l.newLink(r)
	if err != nil {
		l.car.log.Warn("a private lane is lost", "cause", err)
		return false
	}
	for _, a := range p.applicants {
		if g := a.guest; g.phase != gone && g.sees(r.from) {
			g.enter(nil, p.who, a.as, r.hello)
			l.give(g, k, l.car.privateBooks(g))
			return true
		}
	}
	l.closeLink(k)
	return false
}

// prove makes a lane for a credential that was proved before. It runs in a goroutine
// of its own.
func (c *Sidecar) prove(ctx context.Context, who credential, protocol, db int) proven {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Dial)
	defer cancel()
	select {
	case c.proving <- struct{}{}:
		defer func() { <-c.proving }()
	case <-ctx.Done():
		return proven{err: ctx.Err(), queued: true}
	}
	conn, from, err := c.gateways.dial(ctx)
	if err != nil {
		return proven{err: err}
	}
	p := proveOn(ctx, conn, who, protocol, db)
	if p.from = from; p.conn == nil {
		conn.Close()
	}
	return p
}

// proveOn brings a lane to where a group is: HELLO, SELECT, each alone, since some
// engines lose a failing reply when others are pending (redis/redis#15640). Without
// success the lane is still the caller's.
func proveOn(ctx context.Context, conn net.Conn, who credential, protocol, db int) (p proven) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	p.hello, p.err = login(conn, who, protocol)
	if p.err == nil {
		p.err = tunnel.Declined(p.hello)
	}
	if p.err == nil && p.hello[0] == '-' {
		p.refusal = p.hello
	}
	if db != 0 && p.err == nil && p.refusal == nil {
		var reply []byte
		if reply, p.err = exchange(conn, resp.AppendCommand(nil, "SELECT", strconv.Itoa(db))); p.err == nil && reply[0] == '-' {
			p.refusal = reply
		}
	}
	if !stop() && p.err == nil {
		p.err = ctx.Err()
	}
	if p.err == nil && p.refusal == nil {
		p.conn = conn
	}
	return p
}

// exchange sends one command over a connection that nobody else uses and reads its
// reply, which must be small and the only one.
func exchange(conn net.Conn, command []byte) ([]byte, error) {
	if _, err := conn.Write(command); err != nil {
		return nil, err
	}
	var scan resp.ReplyScanner
	reply := make([]byte, 0, 4<<10)
	for seen := 0; ; {
		n, err := conn.Read(reply[len(reply):cap(reply)])
		reply = reply[:len(reply)+n]
		k, o := scan.Scan(reply[seen:])
		seen += k
		switch {
		case o == resp.Malformed || o == resp.Whole && seen < len(reply) || len(reply) == cap(reply):
			return nil, errUnreadable
		case o == resp.Whole:
			return reply, nil
		case err != nil:
			return nil, err
		}
	}
}
