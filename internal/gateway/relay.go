package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The hot path, top to bottom.
//
//	peer ── TLS ──► carryIn ── unix ──► engine      (the handler's goroutine)
//	peer ◄─ TLS ── carryOut ◄─ unix ─── engine      (one more, which run waits for)
//
// Each direction is a blocking loop: read, write, again. Back-pressure needs no
// code: who can't write doesn't read, the socket behind it fills, and the sender
// stops. A slow peer holds one buffer and two goroutines, and nobody else.
//
// Cost of a small request: a read and a write on each of the two sockets in each
// direction (two system calls each way), and what TLS takes. Memory of an idle
// connection: one record's buffer for the way in, which waits inside crypto/tls;
// none for the way out, where a buffer is taken once bytes are there.
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
type relay struct {
	peer    *tls.Conn
	raw     net.Conn // below peer
	engine  *net.UnixConn
	rawRead syscall.RawConn // the engine's socket
	in, out flow            // peer to engine, engine to peer
	asked   atomic.Bool     // the last bytes that moved went to the engine
	muted   atomic.Bool     // by drain: nothing more is taken from the peer
	drained drainState      // of the drain's goroutine
	why     atomic.Pointer[string]
}

// flow is one direction's progress. What was read and not yet written is in a
// buffer of ours.
type flow struct {
	read, written atomic.Int64 // bytes
	done          atomic.Bool
}

const (
	// A TLS read never returns more than a record holds (RFC 8446 §5.1: 2^14).
	recordSize = 16 << 10
	// Four records' worth: fewer system calls on the engine's side for large
	// replies (io.Copy's 32 KB and 256 KB were no faster).
	chunkSize = 64 << 10
	// linger is how long a peer may stay quiet when the engine has ended: a round
	// trip and a few retransmissions, until its own end arrives.
	linger = 2 * time.Second
	// engineLinger is the same for the engine when the peer has ended. Redis ends
	// by itself when it reads that; before, it may have a slow command to finish.
	engineLinger = 30 * time.Second
)

var (
	records = sync.Pool{New: func() any { return new([recordSize]byte) }}
	chunks  = sync.Pool{New: func() any { return new([chunkSize]byte) }}
)

func newRelay(peer *tls.Conn, raw net.Conn, engine *net.UnixConn) (*relay, error) {
	rawRead, err := engine.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &relay{peer: peer, raw: raw, engine: engine, rawRead: rawRead}, nil
}

// run carries both ways and returns when both have ended.
func (r *relay) run() {
	var out sync.WaitGroup
	out.Go(r.carryOut)
	r.carryIn()
	out.Wait()
	r.raw.Close()
	r.engine.Close()
}

// carryIn brings the peer's bytes to the engine.
func (r *relay) carryIn() {
	buf := records.Get().(*[recordSize]byte)
	defer records.Put(buf)
	dropping := false
	for {
		n, err := r.peer.Read(buf[:])
		if n > 0 && !dropping {
			r.in.read.Add(int64(n))
			r.asked.Store(true)
			if _, werr := r.engine.Write(buf[:n]); werr != nil {
				r.because("engine closed")
				dropping = true // carryOut sees the engine's end, and ends us
			}
			r.in.written.Add(int64(n))
		}
		switch {
		case err == nil:
			if r.out.done.Load() && !dropping { // the engine half-closed and still reads
				r.peer.SetReadDeadline(time.Now().Add(linger))
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && r.muted.Load() && !dropping:
			dropping = true
			r.peer.SetReadDeadline(time.Time{})
			if r.out.done.Load() { // it set a deadline just before
				r.peer.SetReadDeadline(time.Now().Add(linger))
			}
		default:
			r.endIn(err)
			return
		}
	}
}

// endIn passes the peer's end on to the engine.
func (r *relay) endIn(err error) {
	r.in.done.Store(true)
	if errors.Is(err, io.EOF) {
		r.because("peer closed")
		r.engine.CloseWrite()
		r.engine.SetReadDeadline(time.Now().Add(engineLinger))
		return
	}
	r.because("peer lost: " + err.Error())
	r.engine.Close()
}

// carryOut brings the engine's bytes to the peer.
func (r *relay) carryOut() {
	for {
		buf, n, err := r.readEngine()
		if n > 0 {
			r.out.read.Add(int64(n))
			r.asked.Store(false)
			_, werr := r.peer.Write(buf[:n])
			chunks.Put(buf)
			if werr != nil {
				r.because("peer lost: " + werr.Error())
				r.raw.Close()
				r.engine.Close()
				return
			}
			r.out.written.Add(int64(n))
			if r.in.done.Load() {
				r.engine.SetReadDeadline(time.Now().Add(engineLinger))
			}
			continue
		}
		r.endOut(err)
		return
	}
}

// readEngine waits until the engine has bytes and only then takes a buffer, which
// the caller gives back when n > 0. At the end n is 0.
func (r *relay) readEngine() (buf *[chunkSize]byte, n int, err error) {
	waitErr := r.rawRead.Read(func(fd uintptr) bool {
		buf = chunks.Get().(*[chunkSize]byte)
		for {
			n, err = syscall.Read(int(fd), buf[:])
			if err != syscall.EINTR {
				break
			}
		}
		if n <= 0 {
			chunks.Put(buf)
		}
		return err != syscall.EAGAIN // false: called again when there are bytes
	})
	if waitErr != nil {
		return nil, 0, waitErr
	}
	return buf, max(n, 0), err
}

// endOut passes the engine's end on to the peer, behind its last bytes.
func (r *relay) endOut(err error) {
	r.out.done.Store(true)
	switch {
	case r.in.done.Load(), r.muted.Load():
		// it ended because we told it to
	case err == nil, errors.Is(err, syscall.ECONNRESET):
		r.because("engine closed")
	default:
		r.because("engine lost: " + err.Error())
	}
	r.peer.CloseWrite()
	finish(r.raw)
	r.peer.SetReadDeadline(time.Now().Add(linger))
}

// because keeps the first reason: what follows from it is no news.
func (r *relay) because(reason string) { r.why.CompareAndSwap(nil, &reason) }

func (r *relay) reason() string {
	if why := r.why.Load(); why != nil {
		return *why
	}
	return "ended"
}
