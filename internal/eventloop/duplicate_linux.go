//go:build !simulation

package eventloop

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptedOptions: no delay, and the kernel asks after a silent peer: after 5 minutes, then three times
// in as many, as redis-server does (tcp-keepalive 300). Who has vanished without a word
// would hold its place for ever.
var acceptedOptions = []struct{ level, option, value int }{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 300},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 100},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
}

// Listener gives a loop a listener's descriptor to Accept on, and closes the listener:
// Go's poller would be woken for each connection too. A unix socket's file stays. What
// is accepted on TCP has no delay and is kept alive, which is inherited (tcp(7)).
func Listener(l net.Listener) (int, error) {
	raw, ok := l.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("eventloop: %T has no descriptor", l)
	}
	fd, err := duplicate(raw)
	if err != nil {
		return -1, err
	}
	if _, tcp := l.(*net.TCPListener); tcp {
		for _, o := range acceptedOptions {
			if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
				unix.Close(fd)
				return -1, fmt.Errorf("eventloop: %w", err)
			}
		}
	}
	if socket, ok := l.(*net.UnixListener); ok {
		socket.SetUnlinkOnClose(false)
	}
	if err := l.Close(); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("eventloop: %w", err)
	}
	return fd, nil
}

// duplicate copies a connection's descriptor: non-blocking, as Go's poller had
// it, and closed on exec.
func duplicate(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(original uintptr) {
		fd, dupErr = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return -1, fmt.Errorf("eventloop: %w", err)
	}
	return fd, nil
}
