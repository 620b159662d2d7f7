package sidecar

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// delivery brings replies to the application, in the order of its commands:
// the engine's as they stream in, the sidecar's own in their places.
//
// Whoever writes to the application holds the pen. The session's second
// goroutine takes it for as long as it is within a chunk of the lane's bytes
// or within a reply, and delivers local answers that come to the front. A
// local answer that is at the front from the beginning finds nobody to deliver
// it, so the session's reader does if the pen is free (settle). Neither waits
// for the other.
type delivery struct {
	out   io.Writer // the application
	queue *queue

	needed atomic.Int64 // when the lane was last needed (moveback.go), in Unix nanoseconds

	pen sync.Mutex // guards what follows, and writing to out

	known   known
	changed func(*known) // tells of a change of known

	holding bool // by run, between two chunks
	scan    resp.ReplyScanner
	within  slot // what the frame under way answers
	push    bool // the frame under way answers nothing
	relay   bool
	head    [replyHead]byte // the beginning of the frame under way, if it is looked at
	headLen int
	size    int // of the frame under way, so far

	refusals  *refusals
	overheard resp.ReplyScanner // of what is relayed: for refusals alone
	deaf      bool              // to that, since it isn't RESP
}

func (d *delivery) init(app net.Conn, p profile, changed func(*known)) {
	d.out, d.queue, d.known.profile, d.changed = app, newQueue(), p, changed
}

// Buffers of a session, one in each direction: small for the many that idle,
// large for those that move much.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

// run delivers until the lane or the session ends, and says which.
func (d *delivery) run(lane net.Conn) error {
	buf := make([]byte, smallBuffer)
	for {
		n, readErr := lane.Read(buf)
		if n > 0 {
			if err := d.chunk(buf[:n]); err != nil {
				return err
			}
		}
		if readErr != nil {
			return errLaneGone
		}
		if n == len(buf) && n < largeBuffer {
			buf = make([]byte, largeBuffer)
		}
	}
}

// chunk takes what one read of the lane gave. It keeps the pen if a frame is
// still under way at its end: nothing may come between its parts.
func (d *delivery) chunk(b []byte) error {
	if !d.holding {
		d.pen.Lock()
	}
	err := d.take(b)
	d.holding = err == nil && (d.relay || !d.scan.Between())
	if d.holding {
		return nil
	}
	d.pen.Unlock()
	if err != nil {
		return err
	}
	return d.settle()
}

// settle delivers local answers that have come to the front, unless whoever
// has the pen will. It never waits for the pen.
func (d *delivery) settle() error {
	for d.queue.localFront() && d.pen.TryLock() {
		err := d.answers()
		d.pen.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// take passes a chunk of the lane's bytes on, frame by frame.
func (d *delivery) take(b []byte) error {
	pass := 0 // b[pass:i] is to be written
	for i := 0; i < len(b); {
		if d.scan.Between() {
			if d.queue.localFront() {
				if err := errors.Join(d.write(b[pass:i]), d.answers()); err != nil {
					return err
				}
				pass = i
			}
			if err := d.begin(b[i]); err != nil {
				return errors.Join(d.write(b[pass:i]), err)
			}
		}
		if d.relay {
			d.overhear(b[i:])
			break
		}
		n, o := d.scan.Scan(b[i:])
		if o == resp.Malformed {
			return errUnreadable
		}
		d.look(b[i : i+n])
		if d.size += n; d.size >= bulkyReply {
			d.needed.Store(time.Now().UnixNano())
		}
		if d.within.kind == standIn && !d.push { // not for the application
			if err := d.write(b[pass:i]); err != nil {
				return err
			}
			pass = i + n
		}
		i += n
		if o == resp.Whole && !d.push {
			if err := d.finish(); err != nil {
				return err
			}
		}
	}
	return d.write(b[pass:])
}

// begin finds what the frame answers that first is the first byte of.
func (d *delivery) begin(first byte) error {
	f, ok := d.queue.front()
	d.relay = ok && f.kind == relay
	d.push = first == '>'
	d.headLen, d.size = 0, 0
	if d.push || d.relay {
		return nil
	}
	if !ok {
		return errUnasked
	}
	d.within = f
	return nil
}

// look keeps the beginning of a frame that tells something.
func (d *delivery) look(b []byte) {
	if d.within.kind != plain && !d.push {
		d.headLen += copy(d.head[d.headLen:], b)
	}
}

// finish takes the slot of a whole reply off the queue, and writes what
// stands in for the reply, if anything does.
func (d *delivery) finish() (err error) {
	d.refusals.reply(d.scan.Error())
	switch d.within.kind {
	case tracked:
		d.known.learn(d.within.effect, d.head[:d.headLen])
		d.changed(&d.known)
	case standIn:
		if d.head[0] != '-' {
			return errNotRefused
		}
		err = d.write(d.within.answer(&d.known))
		d.changed(&d.known)
	}
	d.queue.done() // last: who waits for an empty queue relies on what was learnt
	return err
}

// overhear looks for refusals in what is relayed.
func (d *delivery) overhear(b []byte) {
	for len(b) > 0 && !d.deaf {
		n, o := d.overheard.Scan(b)
		b = b[n:]
		switch o {
		case resp.Whole:
			d.refusals.reply(d.overheard.Error())
		case resp.Malformed:
			d.deaf = true
		}
	}
}

// answers writes the local answers at the front. The pen is held.
func (d *delivery) answers() error {
	for {
		f, ok := d.queue.front()
		if !ok || f.kind != local && f.kind != farewell {
			return nil
		}
		if err := d.write(f.answer(&d.known)); err != nil {
			return err
		}
		d.changed(&d.known)
		d.queue.done()
		if f.kind == farewell {
			return errFarewell
		}
	}
}

func (d *delivery) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := d.out.Write(b); err != nil {
		return errAppGone
	}
	return nil
}

// abandon ends the queue after the lane is lost. Each command that still
// waits for the engine is told so; not if a reply is torn, since its rest and
// what comes behind can't be told apart then. run has returned.
func (d *delivery) abandon() (waiting int) {
	if !d.holding {
		// Before the queue ends: the reader may be in the midst of a local answer,
		// which would be left over and given twice.
		d.pen.Lock()
	}
	defer d.pen.Unlock()
	left := d.queue.close()
	for _, s := range left {
		waiting += max(1, s.count)
	}
	if d.relay || !d.scan.Between() {
		return waiting
	}
	lost, out := errorReply(errLost), []byte(nil)
	for _, s := range left {
		if s.kind == relay { // how many replies are due can't be known, and may be none
			break
		}
		if s.kind == local || s.kind == farewell {
			out = append(out, s.answer(&d.known)...)
			continue
		}
		for range max(1, s.count) {
			if out = append(out, lost...); len(out) >= largeBuffer {
				if d.write(out) != nil {
					return waiting
				}
				out = out[:0]
			}
		}
	}
	_ = d.write(out) // an application that is gone needs no telling
	return waiting
}
