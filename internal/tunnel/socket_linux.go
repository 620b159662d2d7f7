package tunnel

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout sets what package net has no field for. An accepted socket
// inherits it from its listener (inet_csk_clone_lock).
func userTimeout(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())))
		})
		if err != nil {
			return err
		}
		return failed
	}
}
