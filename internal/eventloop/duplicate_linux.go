package eventloop

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

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
