package sidecar

import (
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// A link is a shared lane with its connection.
type link struct {
	group  *group
	fd     int
	conn   net.Conn // what is read and written: TLS on the wire, or the wire itself
	wire   *eventloop.Wire
	books  *lane.Lane
	choked *guest    // reads too slowly what only it may have: the lane waits (choke.go)
	held   []*guest  // are not read until it has less unsent
	heard  time.Time // when it last made progress, while it awaits something
	lost   bool

	next      *proven // takes over when nothing is under way (refresh.go)
	holdUntil time.Time
	worn      wear // when it is due for that
}

// backlogged says whether a lane's guests are not read: it has too much unsent,
// or is about to be succeeded.
func (k *link) backlogged() bool {
	return k.books.Waiting()+k.wire.Unsent() > maxBacklog || k.next != nil
}

// flush sends a lane's batch.
func (l *loop) flush(k *link) {
	if !k.books.Awaits() {
		k.heard = time.Now()
	}
	batch := k.books.Flush()
	if len(batch) == 0 {
		return
	}
	if len(batch) > recordSize {
		k.wire.Hold()
	}
	if _, err := k.conn.Write(batch); err != nil {
		l.lose(k, err)
		return
	}
	if err := k.wire.Flush(); err != nil {
		l.lose(k, err)
		return
	}
	l.relieve(k)
}

// recordSize is the most that TLS encrypts at once (RFC 8446 §5.1).
const recordSize = 16 << 10

// receive takes a lane's replies until none is left, or enough for a turn.
func (l *loop) receive(k *link) {
	for range chunksATurn {
		if k.lost || k.choked != nil {
			return
		}
		n, err := k.read()
		if n > 0 {
			k.heard = time.Now()
			if fault := k.books.Received(n); fault != nil {
				if fault == lane.ErrTooMuch {
					// It cost the others a failure, once: from now on it has its own lane.
					if g, ok := k.books.Largest().(*guest); ok {
						g.bulky = true
					}
				}
				err = fault
			}
		}
		if err == eventloop.ErrAgain {
			return
		}
		if err != nil {
			l.lose(k, err)
			return
		}
	}
	l.post(func() { l.receive(k) }) // others have their turn first
}

// read decrypts what has come, as many records as there is room for: a reply of
// several is then one write to its guest.
func (k *link) read() (n int, err error) {
	b := k.books.Buffer()
	b = b[:min(len(b), readSize)]
	for err == nil && n < len(b) {
		var m int
		m, err = k.conn.Read(b[n:])
		n += m
	}
	return n, err
}

// chunksATurn bounds the buffers' full that one lane may take of a turn.
const chunksATurn = 16
