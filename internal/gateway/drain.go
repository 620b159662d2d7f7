package gateway

import (
	"sync"
	"time"
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
	drainTick      = 50 * time.Millisecond
	quietAnswered  = 2  // ticks
	quietAsked     = 20 // ticks; a command that takes a second is a rare one
	drainForceRead = 2  // at 1/2 of DrainTimeout all are muted
)

// drainState is one relay's place in the drain.
type drainState struct {
	moved int64 // bytes read and written, in all, at the last tick
	quiet int   // ticks since it changed
	muted bool
	ended bool
}

// drain returns when every handler has ended.
func (g *Gateway) drain() {
	g.handshakes.close()
	live := g.relays.close()
	gone := make(chan struct{})
	go func() { g.handlers.Wait(); close(gone) }()
	start, timeout := time.Now(), g.options.Limits.DrainTimeout
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	cut := time.NewTimer(timeout)
	defer cut.Stop()
	for {
		select {
		case <-gone:
			return
		case <-tick.C:
			late := time.Since(start) > timeout/drainForceRead
			for _, r := range live {
				r.drain(late)
			}
		case <-cut.C:
			for _, r := range live {
				r.because("cut: it was not done within the drain's time")
				r.raw.Close()
				r.engine.Close()
			}
		}
	}
}

// drain takes a relay a step further, each tick.
func (r *relay) drain(late bool) {
	s := &r.drained
	if s.ended {
		return
	}
	quiet := r.quiet()
	if !s.muted && (quiet || late) {
		s.muted = true
		r.because("drained")
		r.muted.Store(true)
		r.peer.SetReadDeadline(time.Unix(1, 0)) // wakes carryIn
		return
	}
	if s.muted && quiet {
		s.ended = true
		r.engine.CloseWrite()
		r.engine.SetReadDeadline(time.Now().Add(linger)) // for an engine that doesn't end by itself
	}
}

// quiet counts this tick and judges.
func (r *relay) quiet() bool {
	s := &r.drained
	read := r.in.read.Load() + r.out.read.Load()
	moved := read + r.in.written.Load() + r.out.written.Load()
	if held := 2*read != moved; held || moved != s.moved {
		s.moved, s.quiet = moved, 0
		return false
	}
	s.quiet++
	if r.asked.Load() {
		return s.quiet >= quietAsked
	}
	return s.quiet >= quietAnswered
}

// relays are the connections that carry.
type relays struct {
	mu     sync.Mutex
	closed bool
	live   map[*relay]struct{}
}

func newRelays() *relays { return &relays{live: map[*relay]struct{}{}} }

// add says false when the drain has begun.
func (s *relays) add(r *relay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.live[r] = struct{}{}
	return true
}

func (s *relays) remove(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, r)
}

// close lets no more in and returns those that are there.
func (s *relays) close() []*relay {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	live := make([]*relay, 0, len(s.live))
	for r := range s.live {
		live = append(live, r)
	}
	return live
}
