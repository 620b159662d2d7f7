package eventloop

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// again is what a Wire says when it is dry. crypto/tls goes on after an error
// only if it is a net.Error that says Temporary (conn.go, readRecordOrCCS);
// every other one is permanent for the tls.Conn.
type again struct{}

func (again) Error() string   { return "nothing to read now" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// ErrAgain says that there is nothing to read now.
var ErrAgain net.Error = again{}

// A Wire is the connection under a tls.Conn. It has two lives. First it is the
// connection that it was made from, which blocks and has deadlines: TLS is set
// up on it in an ordinary goroutine. After Detach it belongs to an event loop:
// Read returns ErrAgain when nothing has arrived, and Write keeps what the
// kernel doesn't take now, for Flush.
type Wire struct {
	net.Conn // nil after Detach

	fd   int
	dry  bool   // the last read was short: nothing more before the next event
	in   []byte // ciphertext that was read ahead: a call a record would be dear
	r, w int    // in[r:w] is unread
	out  []byte // what the kernel hasn't taken
	hold bool   // collect records in out until Flush
}

// readAhead is the ciphertext read at once: four full TLS records, so that a
// large value costs a system call for each 64 KB.
const readAhead = 64 << 10

// NewWire wraps a connection on which TLS is going to be set up.
func NewWire(conn net.Conn) *Wire { return &Wire{Conn: conn, fd: -1} }

// Detach hands the connection over to an event loop: it takes the descriptor
// away from Go's own poller and returns it, for Poller.Add. Afterwards only the
// loop's goroutine may use the Wire.
func (w *Wire) Detach() (fd int, err error) {
	raw, ok := w.Conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("eventloop: %T has no descriptor", w.Conn)
	}
	fd, err = duplicate(raw)
	if err != nil {
		return -1, err
	}
	w.Conn.Close() // the duplicate lives on
	w.Conn, w.fd, w.in = nil, fd, make([]byte, readAhead)
	return fd, nil
}

// Ready says that the poller has told of the descriptor: reading may go on.
func (w *Wire) Ready() { w.dry = false }

// Read implements net.Conn for tls.Conn.
func (w *Wire) Read(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Read(b)
	}
	if w.r == w.w {
		if w.dry {
			return 0, ErrAgain
		}
		n, err := Read(w.fd, w.in)
		if err == ErrAgain {
			w.dry = true
		}
		if err != nil {
			return 0, err
		}
		w.dry = n < len(w.in)
		w.r, w.w = 0, n
	}
	n := copy(b, w.in[w.r:w.w])
	w.r += n
	return n, nil
}

// Write implements net.Conn for tls.Conn. After Detach it takes everything:
// look at Unsent before giving it more.
func (w *Wire) Write(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Write(b)
	}
	n := 0
	if len(w.out) == 0 && !w.hold {
		var err error
		if n, err = Write(w.fd, b); err != nil {
			return 0, err
		}
	}
	w.out = append(w.out, b[n:]...)
	return len(b), nil
}

// Hold collects what is written from now on until Flush sends it: the records
// of one large write in one system call.
func (w *Wire) Hold() { w.hold = true }

// Unsent is how many bytes the kernel hasn't taken.
func (w *Wire) Unsent() int { return len(w.out) }

// Flush sends what is kept, as far as the kernel takes it.
func (w *Wire) Flush() error {
	w.hold = false
	if len(w.out) == 0 {
		return nil
	}
	n, err := Write(w.fd, w.out)
	if err != nil {
		return err
	}
	if n == len(w.out) {
		w.out = keepSmall(w.out)
		return nil
	}
	w.out = w.out[:copy(w.out, w.out[n:])]
	return nil
}

// keepSmall empties a buffer and gives back one that a burst has made large.
func keepSmall(b []byte) []byte {
	if cap(b) > 4*readAhead {
		return nil
	}
	return b[:0]
}

// Close implements net.Conn.
func (w *Wire) Close() error {
	if w.Conn != nil {
		return w.Conn.Close()
	}
	if w.fd < 0 {
		return net.ErrClosed
	}
	fd := w.fd
	w.fd = -1
	return Close(fd)
}

// Deadlines are the loop's own business after Detach; tls.Conn sets one when it
// closes.

// SetDeadline implements net.Conn.
func (w *Wire) SetDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline implements net.Conn.
func (w *Wire) SetReadDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline implements net.Conn.
func (w *Wire) SetWriteDeadline(t time.Time) error {
	if w.Conn != nil {
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}
