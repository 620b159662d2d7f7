//go:build !simulation

package eventloop

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEvents is what one Wait takes at most; the rest comes with the next.
const maxEvents = 512

// A Poller is an epoll instance that one goroutine waits on. Only Wake may be
// called by others.
type Poller struct {
	epoll  int
	wake   int // eventfd
	woken  atomic.Bool
	coarse bool // epoll_pwait2 can't be had
	raw    [maxEvents]unix.EpollEvent
	events [maxEvents]Event
}

// NewPoller opens a poller; Close it.
func NewPoller() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Poller{epoll: epoll, wake: wake}
	if err := p.add(wake, wakeToken, unix.EPOLLIN); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends the poller. What was added to it stays open.
func (p *Poller) Close() error {
	unix.Close(p.wake)
	return unix.Close(p.epoll)
}

// Add has the poller tell of fd under a token, edge-triggered: once for each
// time that it becomes readable, writable or closed. A closed descriptor leaves
// by itself.
func (p *Poller) Add(fd int, token Token) error {
	return p.add(fd, token, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP)
}

// AddReader is Add without word of Writable, until WatchWrite asks for it. For
// unix sockets: one tells that it is writable each time its peer has read
// (unix_write_space), so a loop would be woken twice for each answer. A TCP
// socket tells only after it was full.
func (p *Poller) AddReader(fd int, token Token) error {
	return p.add(fd, token, unix.EPOLLIN|unix.EPOLLRDHUP)
}

// WatchWrite has the poller tell of Writable too, or no more; at once, if fd is
// writable now.
func (p *Poller) WatchWrite(fd int, token Token, watch bool) error {
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if watch {
		events |= unix.EPOLLOUT
	}
	return p.control(unix.EPOLL_CTL_MOD, fd, token, events)
}

func (p *Poller) add(fd int, token Token, events uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, events)
}

func (p *Poller) control(op, fd int, token Token, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET}
	*(*Token)(unsafe.Pointer(&ev.Fd)) = token // epoll_data is 64 bits: Fd and Pad
	if err := unix.EpollCtl(p.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// Wake makes the present or next Wait return. Any goroutine may call it; calls
// before that Wait cost one system call together.
func (p *Poller) Wake() {
	if p.woken.Swap(true) {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// It can't fail: the counter is drained before it could overflow.
	unix.Write(p.wake, one[:])
}

// Wait returns what has happened: at once if something has, else within limit
// (0: don't wait; negative: for ever), or with nothing when a signal came: wait again.
// The slice is good until the next Wait.
func (p *Poller) Wait(limit time.Duration) []Event {
	nap := limit
	switch {
	case !roomy.Load():
		nap = 0
	case limit < 0 || limit > briefly:
		nap = briefly
	}
	n := p.nap(nap)
	if int(n) <= 0 && limit != nap {
		if limit > 0 && n == 0 { // else it was interrupted
			limit -= nap
		}
		n = p.sleep(limit)
	}
	if int(n) <= 0 { // none, or EINTR
		return nil
	}
	events := p.events[:0]
	for i := range p.raw[:n] {
		ev := &p.raw[i]
		token := *(*Token)(unsafe.Pointer(&ev.Fd))
		if token == wakeToken {
			p.drainWake()
		}
		const ended = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
		events = append(events, Event{
			Token:    token,
			Readable: ev.Events&(unix.EPOLLIN|ended) != 0,
			Writable: ev.Events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			Ended:    ev.Events&ended != 0,
		})
	}
	return events
}

// Room gives Go a processor more for each event loop of this process, which the loops
// keep while they wait briefly. Call it once.
func Room(loops int) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + loops)
	roomy.Store(true)
}

var roomy atomic.Bool

// briefly is how long a loop waits at first without a word to Go's scheduler, where
// there is room: between the packets of connections that are in use. The word costs
// more than the call: the scheduler's monitor wakes up each time, and may take the
// processor away. A garbage collection, which must wait for the loop, is held up for as
// long at most; as a rule it isn't, since the signal by which it asks ends the call.
const briefly = time.Millisecond

// nap waits without that word.
func (p *Poller) nap(limit time.Duration) uintptr {
	if limit > 0 && !p.coarse {
		ts := unix.NsecToTimespec(int64(limit))
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.raw[0])), maxEvents, uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno == 0 || errno == unix.EINTR {
			return n
		}
		p.coarse = true
	}
	ms := (limit + time.Millisecond - 1) / time.Millisecond
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.raw[0])), maxEvents, uintptr(ms), 0, 0)
	return n
}

// sleep is for as long as limit says, to the nanosecond where epoll_pwait2 may be
// called (Linux 5.11). Older kernels say ENOSYS, and filters of system calls that
// don't know it EPERM or whatever they like (older systemd, containers): then it
// is to the millisecond.
func (p *Poller) sleep(limit time.Duration) uintptr {
	if !p.coarse {
		var timeout *unix.Timespec
		if limit > 0 {
			ts := unix.NsecToTimespec(int64(limit))
			timeout = &ts
		}
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.raw[0])), maxEvents, uintptr(unsafe.Pointer(timeout)), 0, 0)
		switch errno {
		case 0:
			return n
		case unix.EINTR:
			return 0
		}
		p.coarse = true
	}
	ms := -1
	if limit > 0 {
		ms = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.raw[0])), maxEvents, uintptr(ms), 0, 0)
	if errno != 0 { // EINTR
		return 0
	}
	return n
}

func (p *Poller) drainWake() {
	var count [8]byte
	unix.Read(p.wake, count[:])
	// Behind the read: a Wake in between adds nothing, and needn't, since Wait
	// returns now. The other way round the read would take what that Wake wrote
	// and leave woken set: no later one would write, and Wait sleep for ever.
	p.woken.Store(false)
}

// Remove has the poller forget a descriptor that goes on living elsewhere: its
// duplicates would keep it in the epoll set.
func (p *Poller) Remove(fd int) error {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}
