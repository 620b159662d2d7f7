package sidecar

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// A session goes back to the shared lane when it has asked for nothing else for
// a while and nothing of it is left in the lane that it had: no transaction, no
// WATCH, no subscription, no setting of the connection, no reply under way. Its
// own lane isn't used again but closed, so that nothing can come out of it for
// anybody (docs/decisions/0041).

// clean are the commands that need a lane of their own for as long as they run
// and leave no state on the connection; after any other, a session stays. What
// WATCH and MULTI leave is followed (upstream).
var clean = map[string]bool{
	"blpop": true, "brpop": true, "brpoplpush": true, "blmove": true, "blmpop": true,
	"bzpopmin": true, "bzpopmax": true, "bzmpop": true, "xread": true, "xreadgroup": true,
	"eval": true, "eval_ro": true, "evalsha": true, "evalsha_ro": true, "fcall": true, "fcall_ro": true,
	"wait": true, "waitaof": true,
	"watch": true, "multi": true, "exec": true, "discard": true, "unwatch": true,
}

// heed notes what a command means for the way back. Each is heeded before it is
// sent.
func (s *session) heed(c *command.Command) {
	switch w := wayOf(c); {
	case c.Name == "auth", c.Name == "hello", c.Name == "reset":
		s.upstream.stays = true // another group's, if any
	case w == movesOut && !clean[c.Name]:
		s.upstream.stays = true
	case clean[c.Name]:
		s.needsLane()
	}
}

// needsLane notes that the lane was needed now.
func (s *session) needsLane() { s.needed.Store(time.Now().UnixNano()) }

// mayReturn says whether nothing holds the session where it is; the reader asks
// between two commands.
func (s *session) mayReturn() bool {
	u := &s.upstream
	return s.lane != nil && s.key.protocol != 0 && !s.body && s.pass == s.read && s.queue.empty() &&
		!u.stays && !u.relaying && !u.transaction && !u.watching && !u.reset
}

// awaitReturn has the next read end when it may be time to go back.
func (s *session) awaitReturn() {
	var due time.Time // never
	if s.key.protocol != 0 && !s.upstream.stays && !s.upstream.relaying {
		due = time.Unix(0, s.needed.Load()).Add(s.car.limits.Own)
	}
	if due.Equal(s.deadline) {
		return
	}
	s.deadline = due
	_ = s.app.SetReadDeadline(due)
	if s.draining.Load() { // it was told by a deadline, which this has replaced
		_ = s.app.SetReadDeadline(time.Unix(1, 0))
	}
}

// goBack returns errReturns if the session is to leave now: it has its place in
// the group then.
func (s *session) goBack(ctx context.Context) error {
	if s.draining.Load() || time.Now().Before(time.Unix(0, s.needed.Load()).Add(s.car.limits.Own)) {
		return nil
	}
	if s.mayReturn() {
		s.settled() // what was answered is written
		key := s.key
		key.db = s.known.db
		if s.home = s.car.loop.reserve(ctx, key); s.home != nil {
			return errReturns
		}
	}
	s.needsLane() // look again later
	return nil
}

// moveBack ends the session without ending the connection.
func (s *session) moveBack() {
	s.returning.Store(true)
	s.lane.Close()
	<-s.delivered
	unread := bytes.Clone(s.buf[s.read:s.have])
	fd, err := eventloop.Detach(s.app)
	if err != nil {
		s.log.Error("an application connection can't be driven by the loop", "cause", err)
		s.app.Close()
	}
	k, l, home, m := s.known, s.car.loop, s.home, s.member
	if !l.post(func() { l.comeBack(fd, home, m, k, unread) }) {
		if fd >= 0 {
			eventloop.Close(fd)
		}
		s.car.leave(m)
	}
}

// reserve finds a group for a session that comes back and counts it as one of
// the group's, so that it isn't dropped meanwhile; nil if the group has no lane.
func (l *loop) reserve(ctx context.Context, key groupKey) *group {
	found := make(chan *group, 1)
	asked := l.post(func() {
		to := l.groups[key]
		if to != nil && to.link == nil {
			to = nil
		}
		if to != nil {
			to.guests++
		}
		found <- to
	})
	if !asked {
		return nil
	}
	select {
	case to := <-found:
		return to
	case <-ctx.Done():
		return nil
	}
}

// comeBack makes a session a guest again, where reserve has kept a place.
func (l *loop) comeBack(fd int, to *group, m *member, k known, unread []byte) {
	g := &guest{loop: l, fd: fd, member: m, known: k, group: to, in: unread}
	g.scan.MaxBulk = l.car.limits.Bulk
	if fd >= 0 && !l.draining && l.groups[to.key] == to && l.add(fd, entity{guest: g}) == nil {
		l.guests[g] = struct{}{}
		g.readable = true
		l.goOn(g)
		return
	}
	g.join(nil)
	if fd >= 0 {
		eventloop.Close(fd)
	}
	l.car.leave(m)
}

// isDeadline tells a read's end by the session's own deadline.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
