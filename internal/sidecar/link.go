package sidecar

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// A link is a lane with its connection: a group's, or one guest's own.
type link struct {
	fd   int
	conn net.Conn // what is read and written: TLS on the wire, or the wire itself
	wire *eventloop.Wire
	held []*guest // are not read until it has less unsent
	lost bool

	group  *group            // of a shared one
	books  *lane.Lane        // the same
	heard  time.Time         // when it last made progress, while it awaits something
	askers []chan<- struct{} // are told when it next does (route.go)

	guest   *guest        // of a private one
	private *lane.Private // its books
	choked  bool          // it isn't read until the guest has taken more
	fin     bool          // our end follows what is unsent
	fault   error         // of a send, until flushOwn
	met     bool          // it knows its guest's name
	unheard time.Time     // since when nothing has come over it, of one that was on standby

	standbyOf *group // it is nobody's yet (standby.go)

	next      *proven // takes over when nothing is under way (refresh.go)
	holdUntil time.Time
	worn      wear // when it is due for that
}

// newLink takes a proof's connection in whose TLS, if it has some, is on a wire. It
// closes it on an error.
func (l *loop) newLink(p proven) (*link, error) {
	conn := p.conn
	k := &link{conn: conn}
	if p.from != l.car.gateways.now().generation { // left while it was proved
		conn.Close()
		return nil, errLeft
	}
	if err := l.car.doubt(conn); err != nil { // CutIf may just have looked
		conn.Close()
		return nil, err
	}
	if t, ok := conn.(*tls.Conn); ok {
		k.wire, _ = t.NetConn().(*eventloop.Wire)
	} else {
		k.wire = eventloop.NewWire(conn)
		k.conn = k.wire
	}
	if k.wire == nil {
		conn.Close()
		return nil, errors.New("its TLS is not on a wire")
	}
	fd, err := k.wire.Detach()
	if err == nil {
		k.fd = fd
		err = l.add(fd, entity{link: k})
	}
	if err != nil {
		k.conn.Close()
		return nil, err
	}
	l.arrived = append(l.arrived, k) // bytes may lie in its TLS already
	return k, nil
}

// closeLink closes a lane. Its guests and its group are the caller's.
func (l *loop) closeLink(k *link) {
	k.lost = true
	l.entities[k.fd] = entity{}
	k.conn.Close()
}

// owes says whether replies are due on a lane.
func (k *link) owes() bool {
	if k.guest != nil {
		return k.guest.pending > 0
	}
	return k.books.Outstanding() > 0
}

// backlogged says whether a lane's guests are not read: it has too much unsent,
// or is about to be succeeded.
func (k *link) backlogged() bool {
	if k.guest != nil { // it sends in pieces
		return k.wire.Unsent() > 0
	}
	return k.books.Waiting()+k.wire.Unsent() > maxBacklog || k.next != nil
}

// flush sends a shared lane's batch.
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

// send puts bytes on a private lane; flushOwn sends them.
func (k *link) send(b []byte) {
	if k.lost {
		return
	}
	k.wire.Hold()
	if _, err := k.conn.Write(b); err != nil && k.fault == nil {
		k.fault = err
	}
}

// flushOwn sends what a private lane holds.
func (l *loop) flushOwn(k *link) {
	if k.lost {
		return
	}
	err := k.fault
	if err == nil {
		err = k.wire.Flush()
	}
	if err != nil {
		l.lose(k, err)
	}
}

// closeWrite tells the other end that nothing more comes.
func (k *link) closeWrite() error {
	if t, ok := k.conn.(*tls.Conn); ok {
		if err := t.CloseWrite(); err != nil {
			return err
		}
		return k.wire.Flush()
	}
	k.fin = true
	return k.finish()
}

// finish ends our half of a connection without TLS, once all is sent.
func (k *link) finish() error {
	if !k.fin || k.wire.Unsent() > 0 {
		return nil
	}
	k.fin = false
	return eventloop.CloseWrite(k.fd)
}

// stirLink does what an event lets a lane do.
func (l *loop) stirLink(k *link, ev eventloop.Event) {
	if ev.Ended {
		k.wire.Ended()
	} else {
		k.wire.Ready()
	}
	if ev.Readable {
		if k.books != nil {
			k.books.Settle()
		}
		l.arrived = append(l.arrived, k)
	}
	err := k.wire.Flush()
	if err == nil {
		err = k.finish()
	}
	if err != nil {
		l.lose(k, err)
		return
	}
	l.relieve(k)
}

// relieve lets guests go on that their lane's backlog held up.
func (l *loop) relieve(k *link) {
	if len(k.held) > 0 && !k.backlogged() {
		l.letGo(k)
	}
}

func (l *loop) letGo(k *link) {
	for _, g := range k.held {
		g.listed = false
		l.later(g)
	}
	k.held = nil
}

// receive takes a lane's replies until none is left, or enough for a turn.
func (l *loop) receive(k *link) {
	for range chunksATurn {
		if g := k.guest; g != nil && g.phase != barred && len(g.out) > l.mostUnread() {
			k.choked = true
		}
		if k.lost || k.choked {
			return
		}
		n, err := l.readLink(k)
		if err == eventloop.ErrAgain {
			return
		}
		if err != nil {
			l.lose(k, err)
			return
		}
		if n == 0 {
			return
		}
	}
	l.post(func() { l.receive(k) }) // others have their turn first
}

// readLink reads a lane once and hands out what came.
func (l *loop) readLink(k *link) (n int, err error) {
	if k.books == nil {
		n, err = k.read(l.plain)
		switch {
		case n == 0:
		case k.standbyOf != nil:
			err = lane.ErrUnasked
		default:
			if fault := k.private.Received(l.plain[:n]); fault != nil {
				err = fault
			}
		}
		return n, err
	}
	b := k.books.Buffer()
	n, err = k.read(b[:min(len(b), readSize)])
	if n == 0 {
		return n, err
	}
	k.heard = time.Now()
	k.answerAskers()
	if fault := k.books.Received(n); fault != nil {
		return n, fault
	}
	if g, ok := k.books.Owner().(*guest); ok && len(g.out) > seizeAt && g.phase != gone {
		l.seize(k, g)
	}
	return n, err
}

// read decrypts what has come, as many records as there is room for: a reply of
// several is then one write to its guest.
func (k *link) read(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		var m int
		m, err = k.conn.Read(b[n:])
		n += m
	}
	return n, err
}

// chunksATurn bounds the buffers' full that one lane may take of a turn.
const chunksATurn = 16
