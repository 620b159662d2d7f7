package gateway

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// The hot path, top to bottom.
//
//	peer ── TLS ──► inward ── unix ──► engine
//	peer ◄─ TLS ── outward ◄─ unix ─── engine
//
// One goroutine on a locked thread, a loop, owns all connections: no locks, no
// channels, nobody to wake but the kernel's other end. Everything that may wait
// (accept, handshake, dialling the engine, the log) is done by ordinary
// goroutines, before a connection is handed over (mail.go) and after it has
// ended. Where there are many CPUs there are several loops; a connection stays
// with the loop that it was given to (deal.go).
//
// A turn: ask the poller what happened, take in who was handed over, then carry
// each connection that can go on, one chunk each way. Who could carry more waits
// for the next turn, so nobody is starved by a flood next door.
//
// Cost of a small request: a read and a write on each of the two sockets, and
// what TLS takes; under load, the wait for events is shared by all that became
// ready. A chunk of several records leaves in one system call. An idle connection
// costs its crypto/tls state and this struct: no goroutine, and no buffer of
// ours. (crypto/tls keeps the buffer of the largest record that it has read.)
//
// What always holds:
//   - No call of the loop sleeps, but the wait for events.
//   - Readiness is remembered, since the poller tells of it once: flow.ready is
//     cleared only by a read that found nothing more. It starts true: bytes may lie
//     in crypto/tls from the handshake on, of which no event will ever tell.
//   - Back-pressure: while the engine hasn't taken all (held), the peer isn't read;
//     while the peer hasn't (wire.Unsent), the engine isn't. So a connection holds a
//     chunk each way at most, and slows nobody but its own sender.
//   - The loop's buffer holds bytes of one connection, within one call of inward or
//     outward: what is left over is copied away before it returns.
//
// How it ends. Four things can happen first, and each brings the rest about:
//
//	peer's end (close_notify or FIN)  the engine gets our half-close; what it still
//	                                  says is delivered
//	engine's end                      the peer gets close_notify and FIN; what it
//	                                  still sends is read and dropped, so that no
//	                                  reset overtakes the engine's last words
//	peer lost (error)                 both are closed
//	drain                             see drain.go
//
// A half that is left alone ends when it has said nothing for a while: see the
// two lingers.
const (
	// chunkSize is what is read at once: four full records and the few bytes that
	// make a 64 KB value a reply.
	chunkSize = 64<<10 + 512
	// A TLS record never holds more (RFC 8446 §5.1: 2^14).
	recordSize = 16 << 10
	// maxRecords bounds a turn's work for a peer that sends tiny ones.
	maxRecords = 64
	// maxUnsent is far more than a chunk in records. It is passed only by a peer
	// that has us answer (KeyUpdate, RFC 8446 §4.6.3) and doesn't read the answers.
	maxUnsent = 256 << 10

	// linger is how long a peer may stay quiet when the engine has ended: a round
	// trip and a few retransmissions, until its own end arrives.
	linger = 2 * time.Second
	// engineLinger is the same for the engine when the peer has ended. Redis ends
	// by itself when it reads that; before, it may have a slow command to finish.
	engineLinger = 30 * time.Second
	// tickEvery is how often time is looked at, while anything depends on it.
	tickEvery = 50 * time.Millisecond
)

type loop struct {
	poller    *eventloop.Poller
	judge     func(*about) error
	farewell  func(*relay) // after the end; in a goroutine of its own, it may wait
	farewells sync.WaitGroup
	mail      mailbox
	carrier

	buf       []byte
	places    []place // by token
	vacant    []int32
	live      int
	due, next []*relay // to be carried in this turn, and in the next
	lingering map[*relay]struct{}
	worn      map[*relay]struct{} // have carried keyBytes (drain.go)
	keyBytes  int64
	tick      time.Time // the next one
	drain     drain
}

// place is where a relay stands; its generation tells a late event of one that
// has gone from its successor's.
type place struct {
	relay      *relay
	generation int32
}

type relay struct {
	about    about
	wire     *eventloop.Wire // below peer
	peer     channel
	peerFD   int
	engineFD int
	in, out  flow      // peer to engine, engine to peer
	held     []byte    // read from the peer, and not taken by the engine
	asked    bool      // the last bytes that moved went to the engine
	deaf     bool      // the peer's bytes are read and dropped
	gone     bool      // nothing more to do but to close both
	deadline time.Time // of the half that is left alone
	why      string    // it ends
	drained  drainState
	spot     spot
}

// A channel is TLS on a wire (*tls.Conn); in a simulation the wire itself.
type channel interface {
	io.ReadWriter
	CloseWrite() error
}

// flow is one direction.
type flow struct {
	ready bool  // the source may have bytes
	ended bool  // nothing comes from the source after what is there
	done  bool  // its end was passed on
	fin   bool  // of out: the peer has got all, FIN included
	bytes int64 // carried
}

// spot is where in the loop a relay is.
type spot struct {
	engine   eventloop.Token
	queued   bool // it is in loop.next
	watching bool // the poller tells when the engine's socket is writable
}

const (
	sidePeer = iota
	sideEngine
	sides
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// run turns until the drain is over.
func (l *loop) run() {
	runtime.LockOSThread() // the thread sleeps in the poller; nobody else has use for it
	defer runtime.UnlockOSThread()
	l.thread.Store(int32(eventloop.Thread()))
	for !l.over() {
		l.turn()
	}
	l.farewells.Wait()
}

func (l *loop) turn() {
	for _, ev := range l.poller.Wait(l.patience()) {
		if ev.Token.Woken() {
			l.collect()
			continue
		}
		if r := l.find(ev.Token); r != nil {
			r.note(ev)
			l.enqueue(r)
		}
	}
	l.due, l.next = l.next, l.due[:0]
	for i, r := range l.due {
		l.due[i], r.spot.queued = nil, false
		l.carry(r)
	}
	if l.timed() {
		if now := time.Now(); !now.Before(l.tick) {
			l.tick = now.Add(tickEvery)
			l.onTick(now)
		}
	}
}

// patience is how long the loop may sleep.
func (l *loop) patience() time.Duration {
	switch {
	case len(l.next) > 0:
		return 0
	case l.timed():
		return tickEvery
	}
	return -1
}

func (l *loop) timed() bool { return l.drain.begun || len(l.lingering)+len(l.worn) > 0 }

func (l *loop) find(t eventloop.Token) *relay {
	p := &l.places[t.Index/sides]
	if p.generation != t.Generation {
		return nil
	}
	return p.relay
}

func (r *relay) note(ev eventloop.Event) {
	switch side := ev.Token.Index % sides; {
	case side == sidePeer && ev.Ended:
		r.wire.Ended()
		r.in.ready = true
	case side == sidePeer && ev.Readable:
		r.wire.Ready()
		r.in.ready = true
	case side == sideEngine && ev.Readable:
		r.out.ready = true
		r.out.ended = r.out.ended || ev.Ended
	}
	// Writable: inward and outward try what is held in any case.
}

// enqueue has a relay carried in the next turn, or in this one's second half.
func (l *loop) enqueue(r *relay) {
	if !r.spot.queued {
		r.spot.queued = true
		l.next = append(l.next, r)
	}
}

// carry moves a chunk each way, as far as it can be done without waiting.
func (l *loop) carry(r *relay) {
	r.inward(l.buf)
	r.outward(l.buf)
	l.watch(r)
	switch {
	case r.gone || r.in.done && r.out.done && r.out.fin:
		l.bury(r)
		return
	case r.canGoIn() || r.canGoOut():
		l.enqueue(r)
	}
	if !r.deadline.IsZero() {
		l.lingering[r] = struct{}{}
	}
	if r.wire.Carried() >= l.keyBytes {
		l.worn[r] = struct{}{}
	}
}

// inward brings the peer's bytes to the engine.
func (r *relay) inward(buf []byte) {
	r.deliver(nil)
	if r.gone || !r.canGoIn() {
		return
	}
	n, err := r.receive(buf)
	if n > 0 && !r.deaf {
		r.in.bytes += int64(n)
		r.asked = true
		r.deliver(buf[:n])
		if r.out.done && !r.deaf { // the engine half-closed and still reads
			r.deadline = time.Now().Add(linger)
		}
	}
	switch {
	case err == nil: // there may be more: in the next turn
	case err == eventloop.ErrAgain:
		r.in.ready = false
	case errors.Is(err, io.EOF):
		r.in.ready, r.in.ended = false, true
	default:
		r.lose(fmt.Errorf("peer lost: %w", err))
	}
	if r.in.ended && len(r.held) == 0 {
		r.endIn()
	}
}

func (r *relay) canGoIn() bool {
	return r.in.ready && !r.in.done && len(r.held) == 0 && r.wire.Unsent() < maxUnsent
}

// receive decrypts what has arrived: as many records as fit.
func (r *relay) receive(buf []byte) (n int, err error) {
	for range maxRecords {
		m, err := r.peer.Read(buf[n:])
		n += m
		if err != nil || n == len(buf) {
			return n, err
		}
	}
	return n, nil
}

// deliver gives the engine what is held, or else b, and holds what it doesn't
// take.
func (r *relay) deliver(b []byte) {
	if len(r.held) > 0 {
		b = r.held
	}
	if len(b) == 0 || r.gone {
		return
	}
	n, err := eventloop.Write(r.engineFD, b)
	switch {
	case err != nil:
		r.because("engine closed")
		r.deaf = true // outward sees the engine's end, and ends us
		r.release()
	case n < len(b) && len(r.held) == 0:
		r.held = append(chunks.Get().(*[chunkSize]byte)[:0], b[n:]...)
	case n < len(b):
		r.held = r.held[:copy(r.held, r.held[n:])]
	default:
		r.release()
	}
	if r.in.ended && len(r.held) == 0 {
		r.endIn()
	}
}

// release gives back the buffer of what was held.
func (r *relay) release() {
	if r.held != nil {
		chunks.Put((*[chunkSize]byte)(r.held[:chunkSize]))
		r.held = nil
	}
}

// outward brings the engine's bytes to the peer.
func (r *relay) outward(buf []byte) {
	if r.gone || !r.flush() || !r.canGoOut() {
		return
	}
	n, err := eventloop.Read(r.engineFD, buf)
	switch {
	case err == eventloop.ErrAgain:
		r.out.ready = false
	case err != nil:
		r.endOut(err)
	default:
		r.out.ready = n == len(buf) || r.out.ended
		r.out.bytes += int64(n)
		r.asked = false
		if n > recordSize {
			r.wire.Hold() // until flush: all records in one system call
		}
		if _, err := r.peer.Write(buf[:n]); err != nil {
			r.lose(fmt.Errorf("peer lost: %w", err))
			return
		}
		if r.in.done {
			r.deadline = time.Now().Add(engineLinger)
		}
		r.flush()
	}
}

func (r *relay) canGoOut() bool { return r.out.ready && !r.out.done && r.wire.Unsent() == 0 }

// flush sends what the peer hasn't taken, then FIN if that was all there will be;
// it says whether all is sent.
func (r *relay) flush() bool {
	if err := r.wire.Flush(); err != nil {
		r.lose(fmt.Errorf("peer lost: %w", err))
		return false
	}
	if r.wire.Unsent() > 0 {
		return false
	}
	if r.out.done && !r.out.fin {
		r.out.fin = true
		eventloop.CloseWrite(r.peerFD)
	}
	return true
}

// endIn passes the peer's end on to the engine.
func (r *relay) endIn() {
	if r.in.done {
		return
	}
	r.in.done = true
	r.because("peer closed")
	eventloop.CloseWrite(r.engineFD)
	if !r.out.done {
		r.deadline = time.Now().Add(engineLinger)
	}
}

// endOut passes the engine's end on to the peer, behind its last bytes.
func (r *relay) endOut(err error) {
	r.out.done = true
	switch {
	case r.in.done, r.drained.muted:
		// it ended because we told it to
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		r.because("engine closed")
	default:
		r.because("engine lost: " + err.Error())
	}
	r.peer.CloseWrite() // close_notify
	r.deadline = time.Now().Add(linger)
	r.flush()
}

// lose ends both sides at once.
func (r *relay) lose(why error) {
	r.because(why.Error())
	r.gone = true
}

// because keeps the first reason: what follows from it is no news.
func (r *relay) because(reason string) {
	if r.why == "" {
		r.why = reason
	}
}

// watch has the poller tell of the engine's socket as long as something is held
// for it.
func (l *loop) watch(r *relay) {
	if holds := len(r.held) > 0; holds != r.spot.watching {
		r.spot.watching = holds
		if err := l.poller.WatchWrite(r.engineFD, r.spot.engine, holds); err != nil {
			r.lose(err)
		}
	}
}

// onTick looks at what depends on time.
func (l *loop) onTick(now time.Time) {
	for r := range l.lingering {
		if now.After(r.deadline) {
			r.expire(now)
			l.enqueue(r)
		}
	}
	if l.drain.begun {
		l.drainTick(now)
		return
	}
	for r := range l.worn {
		l.wearOut(r, now)
	}
}

// expire ends the half that was left alone and said nothing.
func (r *relay) expire(now time.Time) {
	switch {
	case r.out.done:
		r.because("ended")
		r.gone = true
	case r.wire.Unsent() > 0: // it is the peer who is slow: the engine isn't read
		r.deadline = now.Add(engineLinger)
	default:
		r.endOut(errEngineQuiet)
	}
}

var errEngineQuiet = fmt.Errorf("it said nothing for %s after its peer's end", engineLinger)
