package sidecar

import (
	"context"
	"errors"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// flush sends what was scanned and is for the engine.
func (s *session) flush(ctx context.Context) error {
	if s.pass == s.read {
		return nil
	}
	var next *slot
	if s.plain > 0 {
		next = &slot{kind: plain, count: s.plain}
	}
	err := s.send(ctx, next, s.buf[s.pass:s.read])
	s.plain, s.pass = 0, s.read
	return err
}

// send writes to the lane, which it makes if there is none, after the place
// of the reply is in the queue.
func (s *session) send(ctx context.Context, place *slot, b []byte) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if place != nil && !s.queue.push(*place) {
		return errLaneGone
	}
	if len(b) == 0 {
		return nil
	}
	if _, err := s.lane.Write(b); err != nil {
		return errLaneGone
	}
	return nil
}

// openRelay marks the place from which on the engine's bytes pass uncounted.
func (s *session) openRelay(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	return s.send(ctx, &slot{kind: relay}, nil)
}

// put gives a command that isn't passed on what it gets instead.
func (s *session) put(ctx context.Context, v verdict) error {
	if v.stand != nil {
		return s.send(ctx, v.slot, v.stand)
	}
	if !s.queue.push(*v.slot) {
		return errLaneGone
	}
	return s.settle()
}

// sayFarewell ends the session with an error, behind the replies that are due.
func (s *session) sayFarewell(text string) error {
	if s.upstream.relaying { // the place of our text among the engine's bytes can't be known
		return errFarewell
	}
	end := slot{kind: farewell, answer: func(*known) []byte { return errorReply(text) }}
	if !s.queue.push(end) {
		return errLaneGone
	}
	if err := s.settle(); err != nil {
		return err
	}
	return errQuit
}

// connect makes the lane and starts its delivery, on the first command that
// needs it: a connection that sends nothing costs the cache host nothing.
func (s *session) connect(ctx context.Context) error {
	if s.lane != nil {
		return nil
	}
	dialling, cancel := context.WithTimeout(ctx, s.car.limits.Dial)
	defer cancel()
	lane, err := s.car.dial(dialling)
	if err == nil {
		if err = s.moveIn(dialling, lane); err != nil {
			lane.Close()
		}
	}
	var refused refusedError
	if errors.As(err, &refused) { // it was reached
		s.car.reached(nil)
		return s.sayFarewell(refused.text())
	}
	s.car.reached(err)
	switch {
	case errors.Is(err, ErrRefused):
		return s.sayFarewell(errAwayRefused)
	case err != nil:
		return s.sayFarewell(errAway)
	}
	s.lane = lane
	s.watchLane(lane)
	// Undone when the delivery ends: ctx lives as long as the sidecar.
	undo := context.AfterFunc(ctx, func() {
		s.closing.Store(true)
		lane.Close()
	})
	go s.deliver(undo)
	return nil
}

// doomed is a command that every engine rejects, whatever the ACL, and with
// one error: ECHO without its argument. Sent instead of a command that is
// answered here, it makes an open transaction fail as the engine would have.
var doomed = resp.AppendCommand(nil, "ECHO")

// answering is the verdict of a command that the sidecar answers.
func (s *session) answering(c *command.Command, reply func(*known) []byte) verdict {
	place := &slot{kind: local, answer: func(k *known) []byte {
		switch {
		case k.user == "":
			return errorReply(errNoAuth)
		case k.transaction:
			return errorReply(inTransaction(c.Name))
		}
		return reply(k)
	}}
	return s.inTransactionToo(place)
}

// refusal is the verdict of a command that never leaves the sidecar.
func (s *session) refusal(c *command.Command) verdict {
	s.car.refusals.refused(c)
	return s.inTransactionToo(&slot{kind: local, answer: func(k *known) []byte {
		if k.user == "" {
			return errorReply(errNoAuth)
		}
		return errorReply(notAllowed(c.Name))
	}})
}

// redirecting is the verdict of a CLIENT TRACKING that would write into another
// connection (docs/decisions/0125).
func (s *session) redirecting(c *command.Command) verdict {
	if s.upstream.relaying {
		return s.barring(c)
	}
	return s.inTransactionToo(&slot{kind: local, answer: func(k *known) []byte {
		if k.user == "" {
			return errorReply(errNoAuth)
		}
		return errorReply(errRedirect)
	}})
}

func (s *session) inTransactionToo(place *slot) verdict {
	if !s.upstream.transaction {
		return verdict{slot: place}
	}
	place.kind = standIn
	return verdict{slot: place, stand: doomed}
}

// barring is the verdict of such a command while relaying, when only the
// engine can put an error in its place: it gets a command that no engine
// has, whose name says what happened.
func (s *session) barring(c *command.Command) verdict {
	s.car.refusals.refused(c)
	return verdict{stand: resp.AppendCommand(nil, "redoubt refuses "+c.Name)}
}
