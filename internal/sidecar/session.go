package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A session is one application connection and, from its first command on, the
// lane that it has for itself. Two goroutines: run reads the application (see
// intake.go), a delivery brings the replies (see delivery.go).
type session struct {
	car *Sidecar
	app net.Conn
	log *slog.Logger
	intake
	delivery
	upstream upstream
	who      credential // what a guest that moved out was; until the lane has proved it
	key      groupKey   // of the group that it came from, and may go back to; zero: from none
	home     *group     // where it has a place, once it goes back
	deadline time.Time  // of its reads: when it may be time to go back
	member   *member

	lane      net.Conn                 // nil until the first command that needs it
	tunnel    atomic.Pointer[tls.Conn] // the same, for CutIf
	delivered chan struct{}

	authenticated atomic.Bool
	closing       atomic.Bool // ended by the application or by us: nobody is told of a lost lane
	draining      atomic.Bool
	returning     atomic.Bool // the lane is closed because it goes back
	unsent        []byte
}

// Bounds in time (docs/decisions/0032).
const (
	// halfClosed bounds how long the engine may take to end the connection of
	// an application that has closed: it needs a round trip.
	halfClosed = 2 * time.Second
	// lingering bounds how long an application may take to read its last reply.
	// A close with unread input would be a reset, which takes that reply away
	// (RFC 1122 §4.2.2.13).
	lingering = time.Second
)

func newSession(car *Sidecar, bag luggage) *session {
	s := &session{car: car, app: bag.conn, log: car.log, delivered: make(chan struct{}), who: bag.who, key: bag.key, member: bag.member, unsent: bag.unsent}
	s.needsLane()
	s.intake.init(car.limits.Bulk, bag.unread)
	s.delivery.init(bag.conn, bag.known.profile, s.changed)
	s.refusals = car.refusals
	s.changed(&s.known)
	return s
}

// changed publishes what was learnt. The pen is held, or nobody else is there yet.
func (s *session) changed(k *known) {
	p := k.profile
	s.member.profile.Store(&p)
	s.authenticated.Store(p.user != "")
}

// run serves the application until it, the lane or the sidecar ends, and then
// ends the connection; unless the session goes back, which it says. The end of
// ctx ends it at once.
func (s *session) run(ctx context.Context) (returns bool) {
	cut := context.AfterFunc(ctx, func() { s.app.Close() })
	err := s.resume(ctx)
	if errors.Is(err, errReturns) && cut() {
		s.moveBack()
		return true
	}
	defer cut()
	defer s.app.Close()
	if s.lane == nil {
		s.queue.close()
		s.bid()
	} else {
		s.finish(err)
		<-s.delivered
	}
	s.discard()
	return false
}

// resume goes on where the guest was, and then serves.
func (s *session) resume(ctx context.Context) error {
	if len(s.unsent) > 0 {
		if _, err := s.app.Write(s.unsent); err != nil {
			return errAppGone
		}
		s.unsent = nil
	}
	if s.have > 0 {
		if err := s.consume(ctx); err != nil {
			return err
		}
		s.makeRoom(s.have)
	}
	return s.serve(ctx)
}

// finish brings a session to its end that can't go on for the reason given.
func (s *session) finish(err error) {
	switch {
	case errors.Is(err, errEnded):
		s.halfClose()
	case errors.Is(err, errAppGone), errors.Is(err, errFarewell):
		s.cutLane()
	case errors.Is(err, errDraining):
		if !s.upstream.relaying {
			s.settled()
		}
		s.cutLane()
	case errors.Is(err, errLaneGone): // the delivery learns of it by itself, or else by this
		late := time.AfterFunc(halfClosed, func() { s.lane.Close() })
		defer late.Stop()
		fallthrough
	default: // the delivery has the last word, but the application may leave before
		if s.discard() {
			s.halfClose()
		}
	}
}

// cutLane ends the lane at once, and so the delivery, unless that is writing
// to an application that doesn't read.
func (s *session) cutLane() {
	s.closing.Store(true)
	_ = s.app.SetWriteDeadline(time.Now().Add(lingering))
	s.lane.Close()
}

// halfClose passes the application's end on to the engine, which, as it does
// with every client, cancels what the client waits for (a parked BLPOP would
// pop an element for nobody). What was sent before is still run and answered.
func (s *session) halfClose() {
	s.closing.Store(true)
	half, ok := s.lane.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		s.cutLane()
		return
	}
	late := time.AfterFunc(halfClosed, s.cutLane)
	defer late.Stop()
	<-s.delivered
}

// deliver is the session's second goroutine.
func (s *session) deliver(undo func() bool) {
	defer close(s.delivered)
	defer undo()
	err := s.delivery.run(s.lane)
	s.lane.Close() // frees the reader, if it writes there
	if s.returning.Load() {
		s.queue.close()
		return
	}
	if errors.Is(err, errAppGone) {
		s.queue.close()
		s.app.Close()
		return
	}
	_ = s.app.SetWriteDeadline(time.Now().Add(lingering))
	if errors.Is(err, errFarewell) || s.closing.Load() {
		s.queue.close()
	} else {
		s.lost(err)
	}
	s.bid()
}

// lost tells the application, and the log if that is worth it, of a lane that
// ended by itself.
func (s *session) lost(err error) {
	waiting := s.abandon()
	switch {
	case !errors.Is(err, errLaneGone):
		s.log.Error("lane closed: the engine broke the protocol", "cause", err)
	case waiting > 0:
		s.log.Warn("lane lost with commands under way", "waiting", waiting)
	}
}

// bid tells the application that nothing more will come.
func (s *session) bid() {
	if half, ok := s.app.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails if the application is gone, which is as good
	}
	_ = s.app.SetReadDeadline(time.Now().Add(lingering))
}

// discard reads the application's input for nobody until it ends, and says
// whether the application ended it.
func (s *session) discard() bool {
	_, err := io.CopyBuffer(onlyWrite{}, onlyRead{s.app}, s.intake.buf)
	return err == nil
}

// onlyRead and onlyWrite keep io.CopyBuffer to its buffer: net.Conn and
// io.Discard would bring their own.
type onlyRead struct{ io.Reader }

type onlyWrite struct{}

func (onlyWrite) Write(b []byte) (int, error) { return len(b), nil }

// settled waits until every command so far is answered and written.
func (s *session) settled() {
	s.queue.drained()
	s.pen.Lock() // the chunk with the last reply has been written
	defer s.pen.Unlock()
}

// drain makes the session end once what is under way is answered.
func (s *session) drain() {
	s.draining.Store(true)
	_ = s.app.SetReadDeadline(time.Unix(1, 0)) // long ago: wakes the reader
}

// largestFrame bounds commands that are looked at whole, and thereby a
// session's buffer. All that is valid before authentication fits.
const largestFrame = resp.MaxArgsBeforeAuth * (resp.MaxBulkBeforeAuth + 32)
