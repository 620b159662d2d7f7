package gateway

import (
	"errors"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// The drain brings every connection to an end on a stop, within DrainTimeout.
// Without knowing RESP, it goes by whether bytes move:
//
//	flowing ──► muted ──► ended ──► gone
//
// A connection is muted (nothing more is taken from the peer) once it is quiet,
// or at half of the time in any case; muted and quiet, the engine is told the
// end, and the relay ends as it always does. What is left at DrainTimeout is cut.
//
// Quiet means that nothing moved and nothing is held for a while: short when the
// engine spoke last, longer when the peer did, since an answer is to come (or
// none, when the command blocks).
const (
	quietAnswered  = 2  // ticks
	quietAsked     = 20 // ticks; a command that takes a second is a rare one
	drainForceRead = 2  // at 1/2 of DrainTimeout all are muted
)

// keyBytes is how much a connection may carry with one set of keys, on the wire
// and both ways together, since crypto/tls doesn't change them. A sidecar gives
// its lanes successors long before (docs/decisions/0144); what comes here is
// everything else: a session's own lane, an application that speaks TLS by
// itself. It is ended as by a drain, once it is quiet, and cut at twice as much,
// where RFC 8446 §5.5 sees the end of AES-GCM's margin if each record has but one
// byte.
const keyBytes = 1 << 37

// wearOut takes a relay whose keys are worn a step nearer to its end.
func (l *loop) wearOut(r *relay, now time.Time) {
	const why = "its keys have encrypted enough: a new connection has new ones"
	if r.wire.Carried() >= 2*l.keyBytes {
		r.lose(errors.New(why))
	}
	r.drain(now, false, why)
	l.enqueue(r)
}

// drain is a loop's.
type drain struct {
	begun, lastCall bool
	late, over      time.Time // when all are muted, when the rest is cut
}

// drainState is one relay's place in the drain.
type drainState struct {
	moved int64 // bytes, in all, at the last tick
	quiet int   // ticks since it changed
	muted bool
	ended bool
}

// drain has the loops end what they carry, and returns when every handler and
// every loop has ended.
func (g *Gateway) drain() {
	g.handshakes.close()
	g.loops.beginDrain(g.settings().Limits.DrainTimeout)
	g.handlers.Wait() // each refuses or hands over, in bounded time
	g.loops.lastCall()
	g.running.Wait()
}

func (d *drain) order(o drainOrder) {
	if o.begun && !d.begun {
		now := time.Now()
		d.begun, d.late, d.over = true, now.Add(o.timeout/drainForceRead), now.Add(o.timeout)
	}
	d.lastCall = o.lastCall
}

// drainTick takes each relay a step further.
func (l *loop) drainTick(now time.Time) {
	for i := range l.places {
		r := l.places[i].relay
		if r == nil {
			continue
		}
		if !now.Before(l.drain.over) {
			r.because("cut: it was not done within the drain's time")
			r.gone = true
		}
		r.drain(now, now.After(l.drain.late), "drained")
		l.enqueue(r)
	}
}

func (r *relay) drain(now time.Time, late bool, why string) {
	s := &r.drained
	if s.ended || r.gone {
		return
	}
	quiet := r.quiet()
	if !s.muted && (quiet || late) {
		s.muted = true
		r.because(why)
		r.deaf = true // but what is held is still delivered
		return
	}
	if s.muted && quiet {
		s.ended = true
		eventloop.CloseWrite(r.engineFD)
		r.deadline = now.Add(linger) // for an engine that doesn't end by itself
	}
}

// quiet counts this tick and judges.
func (r *relay) quiet() bool {
	s := &r.drained
	moved := r.in.bytes + r.out.bytes
	if held := len(r.held) > 0 || r.wire.Unsent() > 0; held || moved != s.moved {
		s.moved, s.quiet = moved, 0
		return false
	}
	s.quiet++
	if r.asked {
		return s.quiet >= quietAsked
	}
	return s.quiet >= quietAnswered
}
