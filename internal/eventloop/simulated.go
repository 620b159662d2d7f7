//go:build simulation

package eventloop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// In a simulation (test/simulation) this is the kernel: sockets in memory, whose bytes
// arrive when the driver delivers them, and pollers that tell of some of what has
// happened, in any order. There is one for the process, begun anew by Begin.
var kernel struct {
	mu       sync.Mutex
	sockets  []*Socket // by descriptor
	made     int
	arriving []*Socket // something is on its way to them
	choose   func(n int) int
	stirred  bool      // who blocks may go on
	acted    bool      // who blocks has done something
	opened   []*Socket // since Begin
	stores   [][]byte  // of sockets before Begin
}

// mostKept is the most that a socket leaves of its memory to those of the next world.
const mostKept = 128 << 10

// Begin forgets all sockets. What is left to chance asks choose for a number below n.
func Begin(choose func(n int) int) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	for _, s := range kernel.opened {
		if n := cap(s.store); n > 0 && n <= mostKept {
			kernel.stores = append(kernel.stores, s.store[:0])
		}
	}
	clear(kernel.opened)
	kernel.opened = kernel.opened[:0]
	kernel.sockets, kernel.arriving, kernel.choose, kernel.made = make([]*Socket, 3), nil, choose, 0
}

// Stirred says, once, whether something has come for a goroutine that blocks.
func Stirred() (stirred bool) {
	stirred, kernel.stirred = kernel.stirred, false
	return stirred
}

// Acted says, once, whether a goroutine that blocks has done anything.
func Acted() (acted bool) {
	acted, kernel.acted = kernel.acted, false
	return acted
}

// A Socket is one end of a connection.
type Socket struct {
	Name string // for the driver

	number int
	fd     int
	refs   int
	peer   *Socket
	near   bool // what is sent is there at once
	room   int  // for what is on its way to it and not read yet
	in     []byte
	store  []byte // that in is in
	seen   int    // in[:seen] has arrived
	end    end    // comes behind in
	over   end    // has arrived
	shut   bool
	resets bool // by its Close
	full   bool // a write to it was cut short

	poller   *Poller
	token    Token
	writable bool // the poller tells of that too
	edge     bool
	stir     chan struct{} // for who blocks
	blocks   bool          // somebody does
}

type end uint8

const (
	none end = iota
	fin
	reset
)

// Pair makes a connection. Each end has room for so many bytes.
func Pair(name string, near bool, room, peerRoom int) (a, b *Socket) {
	a = &Socket{Name: name + "<", near: near, room: room, refs: 1, stir: make(chan struct{}, 1)}
	b = &Socket{Name: name + ">", near: near, room: peerRoom, refs: 1, stir: make(chan struct{}, 1)}
	a.peer, b.peer = b, a
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	a.fd, b.fd = place(a), place(b)
	a.number, b.number = kernel.made, kernel.made+1
	a.store, b.store = store(), store()
	kernel.opened = append(kernel.opened, a, b)
	kernel.made += 2
	return a, b
}

// store is room that a socket before Begin had, if there is some.
func store() []byte {
	last := len(kernel.stores) - 1
	if last < 0 {
		return nil
	}
	b := kernel.stores[last]
	kernel.stores = kernel.stores[:last]
	return b
}

// place gives a socket the lowest free descriptor, as kernels do.
func place(s *Socket) int {
	for fd := 3; fd < len(kernel.sockets); fd++ {
		if kernel.sockets[fd] == nil {
			kernel.sockets[fd] = s
			return fd
		}
	}
	kernel.sockets = append(kernel.sockets, s)
	return len(kernel.sockets) - 1
}

func at(fd int) *Socket {
	if fd < 0 || fd >= len(kernel.sockets) || kernel.sockets[fd] == nil {
		return nil
	}
	return kernel.sockets[fd]
}

// FD is the descriptor that Pair gave it.
func (s *Socket) FD() int { return s.fd }

// Peer is the other end.
func (s *Socket) Peer() *Socket { return s.peer }

// Readable says whether a Read finds something, an end at least.
func (s *Socket) Readable() bool { return s.seen > 0 || s.over != none }

// Closed says whether it is.
func (s *Socket) Closed() bool { return s.refs == 0 }

// Sends says whether a Write would take something, be it an error.
func (s *Socket) Sends() bool {
	return len(s.peer.in) < s.peer.room || s.over == reset || s.peer.refs == 0
}

// Arriving are the sockets that something is on its way to.
func Arriving() []*Socket { return kernel.arriving }

// OnTheWay is how many bytes are.
func (s *Socket) OnTheWay() int { return len(s.in) - s.seen }

// Deliver has n bytes arrive, and the end that stands behind them.
func (s *Socket) Deliver(n int) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s.deliver(n)
}

func (s *Socket) deliver(n int) {
	n = min(n, s.OnTheWay())
	s.seen += n
	if s.refs == 0 {
		if n > 0 && s.peer.refs > 0 {
			s.peer.abort()
		}
		s.in, s.seen = nil, 0
	}
	if s.seen == len(s.in) {
		if s.end > s.over {
			s.over = s.end
		}
		kernel.arriving = without(kernel.arriving, s)
	}
	s.tell()
}

// abort has a reset arrive next; what is on its way is lost.
func (s *Socket) abort() {
	s.in = s.in[:s.seen]
	s.end = reset
	s.expects()
}

// expects notes that something is on its way.
func (s *Socket) expects() {
	if s.near {
		s.deliver(s.OnTheWay())
		return
	}
	kernel.arriving = with(kernel.arriving, s)
}

// with and without keep a list in the order in which its sockets were made: loops go
// through maps, and what they do in one turn has no other order.
func with(list []*Socket, s *Socket) []*Socket {
	i, found := slices.BinarySearchFunc(list, s, inOrder)
	if found {
		return list
	}
	return slices.Insert(list, i, s)
}

func without(list []*Socket, s *Socket) []*Socket {
	if i, found := slices.BinarySearchFunc(list, s, inOrder); found {
		return slices.Delete(list, i, i+1)
	}
	return list
}

func inOrder(a, b *Socket) int { return a.number - b.number }

// Cut resets the connection on both ends, as a firewall does that has forgotten it.
func (s *Socket) Cut() {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	for _, e := range []*Socket{s, s.peer} {
		if e.refs > 0 {
			e.abort()
		}
	}
}

// tell is the kernel's wake-up: of a poller, or of who blocks.
func (s *Socket) tell() {
	if s.blocks {
		kernel.stirred = true
	}
	select {
	case s.stir <- struct{}{}:
	default:
	}
	if s.poller != nil && !s.edge {
		s.edge = true
		s.poller.pending = with(s.poller.pending, s)
	}
}

// Read is read(2) of what has arrived.
func Read(fd int, b []byte) (int, error) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	switch {
	case s == nil:
		return 0, syscall.EBADF
	case s.seen > 0:
		n := copy(b, s.in[:s.seen])
		s.in = s.in[n:]
		s.seen -= n
		if s.peer.full && 3*len(s.in) <= 2*s.room { // tcp_check_space tells when a third is free
			s.peer.full = false
			s.peer.tell()
		}
		return n, nil
	case s.over == reset:
		return 0, syscall.ECONNRESET
	case s.over == fin:
		return 0, io.EOF
	}
	return 0, ErrAgain
}

// Write is send(2), as far as there is room.
func Write(fd int, b []byte) (int, error) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	switch {
	case s == nil:
		return 0, syscall.EBADF
	case s.over == reset || s.shut || s.near && s.peer.refs == 0:
		return 0, syscall.EPIPE
	case s.peer.end == reset: // on its way there: what follows is lost
		return len(b), nil
	}
	n := min(len(b), max(0, s.peer.room-len(s.peer.in)))
	s.full = n < len(b)
	if n > 0 {
		s.peer.keep(b[:n])
		s.peer.expects()
	}
	return n, nil
}

// keep puts bytes behind what is on its way.
func (s *Socket) keep(b []byte) {
	if size := len(s.in) + len(b); size > cap(s.in) && size <= cap(s.store) { // from the beginning again
		s.in = append(s.store, s.in...)
	}
	if s.in = append(s.in, b...); cap(s.in) > cap(s.store) {
		s.store = s.in[:0]
	}
}

// CloseWrite is shutdown(2) of our side.
func CloseWrite(fd int) error {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	if s == nil {
		return syscall.EBADF
	}
	s.shutdown()
	return nil
}

func (s *Socket) shutdown() {
	if !s.shut && s.peer.end == none {
		s.peer.end = fin
		s.peer.expects()
	}
	s.shut = true
}

func discard(fd int) {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	if s := at(fd); s != nil {
		s.resets = true
	}
}

// Close is close(2): a reset where something unread is left.
func Close(fd int) error {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	if s == nil {
		return syscall.EBADF
	}
	kernel.sockets[fd] = nil
	if s.refs--; s.refs > 0 {
		return nil
	}
	if s.poller != nil {
		s.poller.forget(s)
	}
	if (s.seen > 0 || s.resets && !s.near) && s.peer.refs > 0 {
		s.peer.abort()
	} else {
		s.shutdown()
	}
	if s.OnTheWay() == 0 {
		kernel.arriving = without(kernel.arriving, s)
	}
	s.in, s.seen = s.in[s.seen:], 0
	return nil
}

// Accept finds nobody: simulated connections are handed over.
func Accept(int) (int, error) { return -1, ErrAgain }

// Listener can't be had.
func Listener(net.Listener) (int, error) {
	return -1, errors.New("eventloop: nobody listens in a simulation")
}

func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	err = raw.Control(func(original uintptr) {
		kernel.mu.Lock()
		defer kernel.mu.Unlock()
		s := at(int(original))
		s.refs++
		fd = place(s)
	})
	return fd, err
}

// A Poller tells of sockets, edge-triggered as epoll.
type Poller struct {
	woken   bool
	pending []*Socket
	events  []Event
}

// NewPoller makes one.
func NewPoller() (*Poller, error) { return &Poller{}, nil }

// Close does nothing.
func (p *Poller) Close() error { return nil }

// Pending says whether Wait may have something to tell.
func (p *Poller) Pending() bool { return p.woken || len(p.pending) > 0 }

// Add is EPOLL_CTL_ADD.
func (p *Poller) Add(fd int, token Token) error { return p.add(fd, token, true) }

// AddReader is Add without word of Writable.
func (p *Poller) AddReader(fd int, token Token) error { return p.add(fd, token, false) }

// WatchWrite is EPOLL_CTL_MOD.
func (p *Poller) WatchWrite(fd int, token Token, watch bool) error { return p.add(fd, token, watch) }

func (p *Poller) add(fd int, token Token, writable bool) error {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	if s == nil {
		return syscall.EBADF
	}
	s.poller, s.token, s.writable = p, token, writable
	s.tell()
	return nil
}

// Remove is EPOLL_CTL_DEL.
func (p *Poller) Remove(fd int) error {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	s := at(fd)
	if s == nil {
		return syscall.EBADF
	}
	p.forget(s)
	return nil
}

func (p *Poller) forget(s *Socket) {
	s.poller, s.edge = nil, false
	p.pending = without(p.pending, s)
}

// Wake is said in the next Wait. Any goroutine may call it.
func (p *Poller) Wake() {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	p.woken = true
}

// Wait doesn't: it tells of some of what there is, at least one.
func (p *Poller) Wait(time.Duration) []Event {
	kernel.mu.Lock()
	defer kernel.mu.Unlock()
	p.events = p.events[:0]
	if p.woken {
		p.woken = false
		p.events = append(p.events, Event{Token: wakeToken, Readable: true})
	}
	for n := len(p.pending); n > 0; n = len(p.pending) {
		if len(p.events) > 0 && kernel.choose(4) == 0 {
			break
		}
		i := kernel.choose(n)
		s := p.pending[i]
		p.pending = slices.Delete(p.pending, i, i+1)
		s.edge = false
		if ev := s.event(); ev.Readable || ev.Writable {
			p.events = append(p.events, ev)
		}
	}
	return p.events
}

// event is what epoll_wait says of a socket now.
func (s *Socket) event() Event {
	ended := s.over != none
	lost := s.over == reset || s.over == fin && s.shut
	return Event{
		Token:    s.token,
		Readable: s.seen > 0 || ended,
		Writable: lost || s.writable && len(s.peer.in) < s.peer.room,
		Ended:    ended,
	}
}

// Conn is a socket as a net.Conn that blocks, in its first life.
func (s *Socket) Conn() net.Conn { return &conn{s: s, fd: s.fd, late: make(chan struct{})} }

type conn struct {
	s    *Socket
	fd   int
	late chan struct{} // closed when its deadline has passed
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		kernel.acted = true
		n, err := Read(c.fd, b)
		if err != ErrAgain {
			return n, err
		}
		if err := c.wait(); err != nil {
			return 0, err
		}
	}
}

func (c *conn) Write(b []byte) (n int, err error) {
	for n < len(b) {
		kernel.acted = true
		k, err := Write(c.fd, b[n:])
		if err != nil {
			return n, err
		}
		if n += k; k > 0 {
			continue
		}
		if err := c.wait(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (c *conn) wait() error {
	c.s.blocks = true
	defer func() { c.s.blocks, kernel.acted = false, true }()
	select {
	case <-c.s.stir:
		return nil
	case <-c.late:
		return os.ErrDeadlineExceeded
	}
}

func (c *conn) Close() error { return Close(c.fd) }

// SetDeadline knows one that has passed, and no other.
func (c *conn) SetDeadline(t time.Time) error {
	if !t.Before(time.Now()) {
		return fmt.Errorf("eventloop: a simulated connection has no deadline to come")
	}
	close(c.late)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.SetDeadline(t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.SetDeadline(t) }
func (c *conn) LocalAddr() net.Addr                { return &net.UnixAddr{Name: c.s.Name, Net: "unix"} }
func (c *conn) RemoteAddr() net.Addr               { return &net.UnixAddr{Name: c.s.peer.Name, Net: "unix"} }

// SyscallConn is for Detach.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return raw(c.fd), nil }

type raw int

func (r raw) Control(f func(uintptr)) error {
	f(uintptr(r))
	return nil
}

func (raw) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (raw) Write(func(uintptr) bool) error { return errors.ErrUnsupported }

// Peer knows none.
func Peer(int) (netip.AddrPort, bool) { return netip.AddrPort{}, false }

// Room isn't needed.
func Room(int) {}
