//go:build !linux

package tunnel

import "syscall"

// control: TCP_USER_TIMEOUT is Linux's own; elsewhere the kernel's bound stays.
func control(_, _ string, _ syscall.RawConn) error { return nil }
