package tunnel

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets what package net has no field for. An accepted socket inherits it
// from its listener (inet_csk_clone_lock).
func control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())))
	})
	if err != nil {
		return err
	}
	return failed
}
