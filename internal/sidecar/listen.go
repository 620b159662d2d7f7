package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// UnixListener is a socket in the file system.
type UnixListener struct {
	Path string
	// AllowUIDs are the local users who may use it; none: all whom Mode lets.
	AllowUIDs []int
	// Mode of the socket; 0 is 0600, or 0666 with AllowUIDs, which are checked
	// on each connection then.
	Mode os.FileMode
}

// listener is a socket with the rule of who may connect.
type listener struct {
	net.Listener     // nil: the loop accepts, on fd
	fd           int // -1: a goroutine does
	addr         net.Addr
	path         string // of a unix socket, which goes with it
	allowed      []int  // uids; none: everybody
	uid          func(net.Conn) (int, error)

	shortage eventloop.Shortage
	retrying bool // the loop accepts again in acceptPause
}

// close ends it; what the loop has of it, the loop closes.
func (l listener) close() {
	if l.Listener != nil {
		l.Close()
	}
	if l.path != "" {
		os.Remove(l.path)
	}
}

// admits says whether the connection's user may use this listener.
func (l listener) admits(conn net.Conn) (uid int, admitted bool, err error) {
	if len(l.allowed) == 0 {
		return 0, true, nil
	}
	uid, err = l.uid(conn)
	return uid, err == nil && slices.Contains(l.allowed, uid), err
}

func listenTCP(o Options) (listener, error) {
	if !o.AllowNonLoopback {
		if err := loopback(o.Listen); err != nil {
			return listener{}, err
		}
	}
	if len(o.AllowUIDs) > 0 && !canTellUIDs {
		return listener{}, errors.New("sidecar: telling the users of a TCP port apart needs Linux: leave the allowed uids empty")
	}
	if o.Listener != nil {
		return newListener(o.Listener, o.AllowUIDs, uidOfTCP)
	}
	l, err := net.Listen("tcp", o.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return listener{}, fmt.Errorf("sidecar: %s is in use (by another Redis?): stop what listens there, or set another address to listen on: %w", o.Listen, err)
	}
	if err != nil {
		return listener{}, fmt.Errorf("sidecar: listening on %s: %w", o.Listen, err)
	}
	return newListener(l, o.AllowUIDs, uidOfTCP)
}

// newListener gives the loop the listener's descriptor, if it may accept by
// itself: a question to the kernel for each connection would hold it up.
func newListener(l net.Listener, allowed []int, uid func(net.Conn) (int, error)) (listener, error) {
	made := listener{Listener: l, fd: -1, addr: l.Addr(), allowed: allowed, uid: uid}
	if len(allowed) > 0 {
		return made, nil
	}
	fd, err := eventloop.Listener(l)
	if err != nil {
		l.Close()
		return listener{}, fmt.Errorf("sidecar: listening on %s: %w", l.Addr(), err)
	}
	made.Listener, made.fd = nil, fd
	return made, nil
}

// ErrNotLoopback is in the chain of New's error about an address that other
// hosts can reach.
var ErrNotLoopback = errors.New("no loopback address")

// loopback refuses an address beyond this host. A name is refused too, apart
// from localhost: what it stands for is decided elsewhere.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("sidecar: address to listen on: %w", err)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("sidecar: %s is %w, and what passes there is not encrypted: listen on 127.0.0.1, or allow it expressly (allow_non_loopback: true in sidecar.yaml, --allow-non-loopback of redoubt up)", address, ErrNotLoopback)
}

func listenUnix(u *UnixListener) (listener, error) {
	if err := clearStale(u.Path); err != nil {
		return listener{}, err
	}
	mode := u.Mode
	switch {
	case mode != 0:
	case len(u.AllowUIDs) > 0:
		mode = 0o666
	default:
		mode = 0o600
	}
	// The socket's own mode becomes the file's, less the umask, when it is
	// bound (unix_bind in the kernel): no moment with a wider one, as a chmod
	// afterwards would leave.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(cerr, err)
	}}
	l, err := config.Listen(context.Background(), "unix", u.Path)
	if err != nil {
		return listener{}, fmt.Errorf("sidecar: listening on %s: %w", u.Path, err)
	}
	if err := os.Chmod(u.Path, mode.Perm()); err != nil { // what the umask took
		l.Close()
		return listener{}, fmt.Errorf("sidecar: %w", err)
	}
	made, err := newListener(l, u.AllowUIDs, uidOfUnix)
	made.path = u.Path
	return made, err
}

// clearStale removes a socket that a sidecar which was killed has left. One
// that somebody answers on, and anything else of that name, is left alone.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("sidecar: %s is there and no socket: move it away, or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("sidecar: %s is in use by another process: stop that, or choose another path: %w", path, syscall.EADDRINUSE)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("sidecar: removing a stale socket: %w", err)
	}
	return nil
}

// accept takes connections until ctx ends. Out of descriptors is no reason to
// stop: it waits for some to become free, as net/http does.
func (c *Sidecar) accept(ctx context.Context, l listener) error {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			if l.shortage.Accepted() {
				c.log.Info(acceptsAgain)
			}
			c.admit(l, conn)
		case ctx.Err() != nil:
			return nil
		case eventloop.Passing(err):
			if l.shortage.Failed() {
				c.log.Warn(cantAccept, "cause", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
		default:
			return fmt.Errorf("sidecar: accepting on %s: %w", l.Addr(), err)
		}
	}
}

func (c *Sidecar) admit(l listener, conn net.Conn) {
	uid, admitted, err := l.admits(conn)
	switch {
	case err != nil:
		c.log.Warn("connection refused: its user can't be told", "listener", l.addr.String(), "cause", err)
		sayAndClose(conn, errUser)
	case !admitted:
		c.log.Warn("connection refused: its user is not allowed", "listener", l.addr.String(), "uid", uid)
		sayAndClose(conn, errUser)
	default:
		c.detach(conn)
	}
}

// sayAndClose is for connections that never become guests. It doesn't wait:
// a fresh connection takes a line without a reader.
func sayAndClose(conn net.Conn, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(lingering))
	_, _ = conn.Write(errorReply(text))
	conn.Close()
}

// address is a peer's as CLIENT LIST writes it.
func address(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		return u.Name + ":" + strconv.Itoa(0)
	}
	return a.String()
}
