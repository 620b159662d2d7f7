package eventloop

import (
	"fmt"
	"net"
	"sync"
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

	heard bool // something came
	fd    int
	dry   bool    // the last read was short: nothing more before the next event
	ended bool    // nothing comes after what is there: a short read is not the last
	in    *buffer // ciphertext that was read ahead: a call a record would be dear
	r, w  int     // in[r:w] is unread; in is nil when nothing is
	kept  *buffer // where out begins; nil when out is empty
	out   []byte  // what the kernel hasn't taken
	hold  bool    // collect records in out until Flush

	carried int64 // bytes read and written since Detach
}

// bufferSize is the ciphertext that is read, or held back, at once: what a value
// of 64 KB, its command and a few small ones beside it become as records (RFC 8446
// §5.2: 22 bytes more each), so that it costs one system call.
const bufferSize = 66 << 10

// A buffer holds ciphertext only.
type buffer [bufferSize]byte

// buffers are lent to Wires while bytes wait in them: thousands of idle ones
// would hold 128 KB each otherwise.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// NewWire wraps a connection on which TLS is going to be set up.
func NewWire(conn net.Conn) *Wire { return &Wire{Conn: conn, fd: -1} }

// Detach hands the connection over to an event loop: it takes the descriptor
// away from Go's own poller and returns it, for Poller.Add. Afterwards only the
// loop's goroutine may use the Wire.
func (w *Wire) Detach() (fd int, err error) {
	if fd, err = Detach(w.Conn); err != nil {
		return -1, err
	}
	w.Conn, w.fd = nil, fd
	return fd, nil
}

// Detach is the same for a connection without TLS: it closes conn, and the
// descriptor that it returns lives on, to be read, written and closed by this
// package's functions. On an error conn is as it was.
func Detach(conn net.Conn) (fd int, err error) {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("eventloop: %T has no descriptor", conn)
	}
	if fd, err = duplicate(raw); err != nil {
		return -1, err
	}
	conn.Close() // the duplicate lives on
	return fd, nil
}

// Ready says that the poller has told of the descriptor: reading may go on.
func (w *Wire) Ready() { w.dry = false }

// Ended says the same, and that the event was Ended: Read goes on until it
// returns the end.
func (w *Wire) Ended() { w.dry, w.ended = false, true }

// Heard says whether anything has come before Detach.
func (w *Wire) Heard() bool { return w.heard }

// Read implements net.Conn for tls.Conn.
func (w *Wire) Read(b []byte) (int, error) {
	if w.Conn != nil {
		n, err := w.Conn.Read(b)
		w.heard = w.heard || n > 0
		return n, err
	}
	if w.in == nil {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.in[w.r:w.w])
	if w.r += n; w.r == w.w {
		buffers.Put(w.in)
		w.in = nil
	}
	return n, nil
}

// fill reads ahead.
func (w *Wire) fill() error {
	if w.dry {
		return ErrAgain
	}
	in := buffers.Get().(*buffer)
	n, err := Read(w.fd, in[:])
	if err != nil {
		w.dry = err == ErrAgain
		buffers.Put(in)
		return err
	}
	w.carried += int64(n)
	w.dry = n < bufferSize && !w.ended
	w.in, w.r, w.w = in, 0, n
	return nil
}

// Write implements net.Conn for tls.Conn. After Detach it takes everything:
// look at Unsent before giving it more.
func (w *Wire) Write(b []byte) (int, error) {
	if w.Conn != nil {
		return w.Conn.Write(b)
	}
	n := 0
	var err error
	switch {
	case w.hold && len(w.out)+len(b) > bufferSize: // what is held back goes first
		err = w.send()
	case len(w.out) == 0 && !w.hold:
		n, err = Write(w.fd, b)
	}
	if err != nil {
		return 0, err
	}
	w.keep(b[n:])
	w.carried += int64(len(b))
	return len(b), nil
}

// keep puts bytes behind what the kernel hasn't taken: in the buffer, as long as
// that has room.
func (w *Wire) keep(b []byte) {
	switch size := len(w.out) + len(b); {
	case len(b) == 0:
		return
	case w.kept == nil:
		w.kept = buffers.Get().(*buffer)
		w.out = w.kept[:0]
	case size > cap(w.out) && size <= bufferSize: // its end is reached, its beginning was sent
		w.out = append(w.kept[:0], w.out...)
	}
	w.out = append(w.out, b...)
}

// Hold collects what is written from now on until Flush sends it, or until it is
// more than a buffer: the records of one large write in few system calls.
func (w *Wire) Hold() { w.hold = true }

// Unsent is how many bytes the kernel hasn't taken.
func (w *Wire) Unsent() int { return len(w.out) }

// Carried is how many bytes were read and written since Detach: of TLS, so a
// bound on it is one on what its keys have encrypted.
func (w *Wire) Carried() int64 { return w.carried }

// Flush sends what is kept, as far as the kernel takes it.
func (w *Wire) Flush() error {
	w.hold = false
	return w.send()
}

func (w *Wire) send() error {
	if len(w.out) == 0 {
		return nil
	}
	n, err := Write(w.fd, w.out)
	if err != nil {
		return err
	}
	if w.out = w.out[n:]; len(w.out) == 0 {
		buffers.Put(w.kept)
		w.kept, w.out = nil, nil
	}
	return nil
}

// Discard has Close throw away what the peer has not taken yet (SO_LINGER 0). The
// kernel would go on sending it otherwise, for as long as its user timeout, and a
// command that was given up long ago would still be run.
func (w *Wire) Discard() {
	if w.Conn == nil {
		discard(w.fd)
	} else if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
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
