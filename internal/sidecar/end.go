package sidecar

import (
	"io"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// How a guest ends.

// Bounds in time (docs/decisions/0032).
const (
	// halfClosed bounds how long the engine may take to end the connection of
	// an application that has closed, since it last sent something.
	halfClosed = 2 * time.Second
	// lingering bounds how long an application may take to read its last reply.
	// A close with unread input would be a reset, which takes that reply away
	// (RFC 1122 §4.2.2.13).
	lingering = time.Second
)

// appEnded passes on that the application has ended. On a private lane the engine
// does with it what it does with every client's end: it runs what was sent before,
// and cancels what the client waits for (a parked BLPOP would pop an element for
// nobody).
func (l *loop) appEnded(g *guest) {
	if g.own != nil && (g.pending > 0 || g.course.uncounted || g.course.body) {
		l.halfClose(g)
		return
	}
	g.end()
}

// halfClose ends our half of a private lane, for an application that has ended.
func (l *loop) halfClose(g *guest) {
	if g.left {
		return
	}
	g.phase, g.left = ending, true
	l.remind(g, time.Now().Add(halfClosed))
	if err := g.own.closeWrite(); err != nil {
		l.lose(g.own, err)
	}
}

// farewell ends a guest with an error, behind the replies that are due.
func (g *guest) farewell(text string) {
	if g.own != nil && g.course.uncounted {
		// The place of our text among the engine's bytes can't be known before
		// they end: they do, behind the last reply, when the engine reads our end.
		g.last = errorReply(text)
		g.loop.halfClose(g)
		g.left = false
		return
	}
	g.answer(errorReply(text))
	g.end()
}

// end has a guest closed once it has got all that is due.
func (g *guest) end() {
	if g.phase < ending {
		g.phase = ending
		g.finish()
		g.loop.later(g) // what it still says is dropped
	}
}

// cut ends a guest as an engine that has ended does: it gets the replies that have
// come, and no word for those that were due. An error would say that a command has
// failed; from a close, every client library knows that it must connect again.
func (g *guest) cut() {
	g.phase, g.pending = ending, 0
	g.keep(g.last)
	g.last = nil
	g.finish()
	g.loop.later(g) // what it still says is dropped
}

// finish closes a guest that ends, if all is done. It is called whenever the last
// thing may be.
func (g *guest) finish() {
	if g.phase != ending || g.pending > 0 || g.own != nil && (g.course.uncounted || g.left) {
		return
	}
	if len(g.out) > 0 {
		if !g.socket.blocked {
			g.flush() // comes back when all is out
		}
		return
	}
	if g.socket.over {
		g.close()
		return
	}
	g.phase = parting
	g.in = nil
	g.loop.dropOwn(g)
	g.join(nil)
	eventloop.CloseWrite(g.fd)
	g.loop.remind(g, time.Now().Add(lingering))
	g.loop.discard(g)
}

// discard reads for nobody what a guest says that is told its last, until its end.
func (l *loop) discard(g *guest) {
	for range chunksATurn {
		_, err := eventloop.Read(g.fd, l.buf)
		switch {
		case err == eventloop.ErrAgain:
			g.socket.readable = false
			return
		case err == io.EOF && g.phase == ending: // it still takes
			g.socket.over = true
			return
		case err != nil:
			g.close()
			return
		}
	}
	l.later(g)
}

// close ends a guest now. Replies that still come for it are dropped.
func (g *guest) close() {
	if g.phase == gone {
		return
	}
	g.phase = gone
	l := g.loop
	l.entities[g.fd] = entity{}
	delete(l.guests, g)
	l.unread -= g.counted
	g.counted = 0
	delete(l.reminders, g)
	l.dropOwn(g)
	g.join(nil)
	eventloop.Close(g.fd)
	l.crowd.Add(-1)
}

// remind has the loop look at a guest when its time comes (timeOut).
func (l *loop) remind(g *guest, at time.Time) {
	g.due = at
	l.reminders[g] = struct{}{}
	if l.tick.IsZero() || at.Before(l.tick) {
		l.tick = at
	}
}

// lookAtReminders deals with the guests whose time has come.
func (l *loop) lookAtReminders(now time.Time) {
	if l.tick.IsZero() || now.Before(l.tick) {
		return
	}
	l.tick = time.Time{}
	for g := range l.reminders {
		if now.Before(g.due) {
			l.remind(g, g.due)
			continue
		}
		delete(l.reminders, g)
		l.timeOut(g, now)
	}
}

// timeOut is what a guest's time was for.
func (l *loop) timeOut(g *guest, now time.Time) {
	switch {
	case g.phase >= parting || g.left:
		g.close()
	case len(g.last) > 0: // the engine doesn't end
		l.lose(g.own, errQuiet)
	case g.own != nil && !g.own.unheard.IsZero():
		l.lookForLife(g, now)
	case g.own != nil:
		l.mayReturn(g, now)
	}
}
