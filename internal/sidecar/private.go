package sidecar

import (
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// What a guest's commands come to on its private lane. They pass in the bytes in
// which they came, a large one piece by piece.

// largestFrame bounds commands that are looked at whole, and thereby what is kept of
// them. All that is valid before authentication fits.
const largestFrame = resp.MaxArgsBeforeAuth * (resp.MaxBulkBeforeAuth + 32)

// maxPlaces bounds what is kept of answers of our own that wait behind slow replies.
const maxPlaces = 16 << 10

// A run is bytes of commands that pass as they are.
type run struct {
	g    *guest
	b    []byte
	from int // b[from:at] is to be sent
	at   int // b[at:] was not looked at
	owed int // commands in b[from:at] whose replies aren't expected yet
}

// send sends what is to be sent.
func (r *run) send() {
	if r.at > r.from {
		if r.owed > 0 {
			r.g.expect(r.owed)
		}
		r.g.own.send(r.b[r.from:r.at])
	}
	r.from, r.owed = r.at, 0
}

// take takes the next n bytes out of what passes, behind what stands before them.
func (r *run) take(n int) []byte {
	r.send()
	b := r.b[r.at : r.at+n]
	r.at += n
	r.from = r.at
	return b
}

// expect says that n commands are sent.
func (g *guest) expect(n int) {
	g.pending += n
	g.own.private.Expect(n)
}

// onPrivate takes commands off b, and returns how many bytes they were.
func (l *loop) onPrivate(g *guest, b []byte) int {
	r := run{g: g, b: b}
	k := g.own
	if !k.met {
		k.met = true
		g.introduce()
	}
	for (r.at < len(b) || g.course.body) && g.phase == serving && g.own == k && !g.partial && g.said < saidATurn {
		if !g.course.body && k.private.Places() >= maxPlaces {
			g.bar()
			break
		}
		outcome := resp.Whole
		if g.course.body {
			outcome = g.inBody(&r)
		} else {
			outcome = l.atHead(g, &r)
		}
		if outcome == resp.Malformed {
			g.malformed(&r)
			return len(b)
		}
		if outcome == resp.More {
			g.partial = true
		}
	}
	if g.own == k {
		r.send()
	}
	return r.at
}

// atHead looks at the next command and decides its way.
func (l *loop) atHead(g *guest, r *run) resp.Outcome {
	g.scan.Authenticated = true // where nothing is counted, the engine has these bounds too
	h, o := g.scan.Head(r.b[r.at:])
	if o != resp.Whole {
		return o
	}
	if h.Inline || h.Argc == 0 {
		ask, err := request(h, r.b[r.at:r.at+h.Len])
		if err != nil {
			r.take(h.Len)
			g.farewell(errProtocol + err.Error())
		} else if ask.command == nil {
			r.take(h.Len)
		} else if l.whole(g, r, ask, h.Len) == again {
			return resp.Whole
		}
		return o
	}
	c := command.Lookup(h.Name, h.Sub)
	if g.course.wantsAll(c) {
		return l.atWhole(g, r, c, h)
	}
	l.precede(g, r, c, h.Argc)
	counted := !g.course.uncounted
	use := g.course.next(c, h.Argc)
	switch {
	case use == command.Refuse:
		r.take(h.Len)
		g.course.instead = func() { g.refuse(c) }
	case use == command.Doubt:
		r.send()
		g.doubt(c)
		g.course.doubted = true
	case use == command.Uncount && counted:
		r.send()
		g.own.private.Uncount()
	case counted:
		r.owed++
	}
	g.course.body = true
	if g.course.instead == nil {
		r.at += h.Len
	}
	return o
}

// atWhole handles a command whose arguments matter, once all of it is there.
func (l *loop) atWhole(g *guest, r *run, c *command.Command, h resp.Head) resp.Outcome {
	rest := r.b[r.at:]
	n, o := g.scan.Body(rest[h.Len:])
	n += h.Len
	switch {
	case o == resp.More && n < largestFrame && len(rest) < largestFrame:
		return o // to be looked at again, from its head
	case o == resp.More:
		r.take(n)
		g.course.heed(c)
		g.course.body = true
		g.course.instead = func() { g.tooLong(c) }
		return resp.Whole
	case o == resp.Malformed:
		return o
	}
	l.whole(g, r, ask{command: c, args: resp.Args(nil, rest[:n]), frame: rest[:n]}, n)
	return o
}

// inBody goes on with a command whose way is decided.
func (g *guest) inBody(r *run) resp.Outcome {
	n, o := g.scan.Body(r.b[r.at:])
	if o == resp.More && n >= maxShared/2 { // a large command
		g.course.needed = time.Now()
	}
	if g.course.instead != nil {
		r.take(n)
	} else {
		r.at += n
	}
	if o != resp.Whole {
		return o
	}
	g.course.body = false
	if g.course.doubted {
		g.course.doubted = false
		r.send()
		g.bar()
	}
	if do := g.course.instead; do != nil {
		g.course.instead = nil
		do()
	}
	return o
}

// whole handles a command that is in hand and takes size bytes. It returns again if
// the command is to be looked at again.
func (l *loop) whole(g *guest, r *run, a ask, size int) outcome {
	c := a.command
	s := &g.course
	if s.transaction && !s.uncounted && (c.Name == "auth" || c.Name == "hello") || c.OnPrivate == command.Change && !s.uncounted {
		// What it does depends on whether the MULTI succeeded, or ends the lane:
		// that waits for all replies.
		r.send()
		if g.pending > 0 {
			g.bar()
			return again
		}
		s.transaction = g.known.transaction
	}
	if !s.uncounted && !s.transaction && g.mustCall(c) {
		r.send()
		if g.pending > 0 {
			g.bar()
		} else {
			l.call(g)
		}
		return again
	}
	l.precede(g, r, c, len(a.args))
	r.take(size)
	if nameTheUser(c, a.args) {
		a.frame = resp.AppendCommand(nil, a.args...)
	}
	if c.Name == tracking && redirects(a.args) {
		s.heed(c)
		g.redirecting(c)
		return done
	}
	counted := !s.uncounted
	switch use := s.next(c, len(a.args)); use {
	case command.Send:
		g.expect(1)
		g.own.send(a.frame)
	case command.Track:
		g.track(c, a.args)
		g.own.send(a.frame)
	case command.Doubt:
		g.doubt(c)
		g.own.send(a.frame)
		g.bar()
	case command.Uncount:
		if counted {
			g.own.private.Uncount()
		}
		g.own.send(a.frame)
	case command.Answer:
		g.answerInTurn(c, localAnswer(g, c, a.args))
	case command.Refuse:
		g.refuse(c)
	case command.Change: // RESET
		l.dropOwn(g)
		g.reset()
	case command.Quit:
		if counted {
			g.expect(1)
		}
		g.own.send(a.frame)
		g.end() // what comes behind is dropped, as redis-server does
	}
	return done
}

// track has the reply to a command tell what it says of the connection. The id that
// HELLO's reply has is the lane's, and not the connection's.
func (g *guest) track(c *command.Command, args [][]byte) {
	e := effectOf(c, args)
	g.pending++
	if c.Name != "hello" {
		g.own.private.Watch(func(head []byte) { g.known.learn(e, head) })
		return
	}
	g.own.private.Remake(func(reply []byte) []byte {
		g.known.learn(e, reply)
		return g.ownHello(reply)
	})
}

// doubt sends a command of which only what comes says whether what follows can be
// counted: an error is one reply, and so is, with RESP3, that a subscription begins or
// ends (its messages are pushes). What follows waits for it.
func (g *guest) doubt(c *command.Command) {
	g.pending++
	g.own.private.Doubt(func(first []byte) {
		if first[0] == '-' {
			return
		}
		g.course.strayed = true
		g.course.uncounted = first[0] != '>'
		g.course.subscribed = g.course.subscribed || subscribes(c)
	})
}

// doomed is a command that every engine rejects, whatever the ACL, and with
// one error: ECHO without its argument. Sent instead of a command that is
// answered here, it makes an open transaction fail as the engine would have.
var doomed = resp.AppendCommand(nil, "ECHO")

// answerInTurn answers a command with what is made when its turn comes; in a
// transaction it fails.
func (g *guest) answerInTurn(c *command.Command, made func() []byte) {
	g.inTurn(func() []byte {
		if g.known.transaction {
			return errorReply(inTransaction(c.Name))
		}
		return made()
	})
}

// inTurn puts an answer of our own behind the replies that are due. An open
// transaction fails by it.
func (g *guest) inTurn(made func() []byte) {
	switch {
	case g.course.transaction:
		g.pending++
		g.own.private.Replace(made)
		g.own.send(doomed)
	case g.pending > 0:
		g.pending++
		g.own.private.Answer(made)
	default:
		g.answer(made())
	}
}

// refuse answers a command that never leaves this process.
func (g *guest) refuse(c *command.Command) {
	g.loop.car.refusals.refused(g, c)
	g.sayInstead(c, notAllowed(c.Name))
}

// redirecting answers a CLIENT TRACKING that would write into another connection
// (docs/decisions/0125).
func (g *guest) redirecting(c *command.Command) {
	if g.course.uncounted {
		g.loop.car.refusals.refused(g, c)
	}
	g.sayInstead(c, errRedirect)
}

// tooLong answers what is too long to be looked at.
func (g *guest) tooLong(c *command.Command) {
	if g.course.uncounted {
		g.refuse(c)
		return
	}
	g.answerInTurn(c, func() []byte { return errorReply(errTooLong) })
}

// sayInstead answers a command with an error, in its place. Where nothing is counted
// only the engine can put one there: it gets a command that no engine has, whose name
// says what happened.
func (g *guest) sayInstead(c *command.Command, text string) {
	if g.course.uncounted {
		g.own.send(resp.AppendCommand(nil, "redoubt refuses "+c.Name))
		return
	}
	g.inTurn(func() []byte { return errorReply(text) })
}

// malformed ends the guest with redis-server's own words, behind the replies that
// are due.
func (g *guest) malformed(r *run) {
	r.send()
	g.tear()
	g.farewell(errProtocol + g.scan.Fault())
}

// tear gives up a command of which only a part was sent over a private lane, and the
// rest never will be: there is no reply to wait for.
func (g *guest) tear() {
	if g.course.body && g.course.instead == nil && !g.course.uncounted {
		g.own.private.TakeBack()
		g.pending--
	}
	g.course.body = false
}
