//go:build !linux

package tunnel

import (
	"syscall"
	"time"
)

// userTimeout: TCP_USER_TIMEOUT is Linux's own; elsewhere the kernel's bound
// stays.
func userTimeout(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
