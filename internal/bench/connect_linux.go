package bench

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// sources are the addresses of loopback that churn's connections come from in
// turn. Each connection leaves its local port in TIME_WAIT for a minute, and
// the more there are on an address, the longer the kernel looks for a free one:
// from one address a connection came to cost us 70 µs instead of 33.
const sources = 200

// connect begins the n-th connection without waiting for it.
func connect(to net.TCPAddr, n int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// The port is chosen by connect, which knows the other end, not by bind
	// (ip(7), IP_BIND_ADDRESS_NO_PORT).
	err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, 1 + byte(n%sources)}})
	}
	if err == nil {
		addr := unix.SockaddrInet4{Port: to.Port}
		copy(addr.Addr[:], to.IP.To4())
		err = unix.Connect(fd, &addr)
	}
	switch {
	case err == nil || errors.Is(err, unix.EINPROGRESS):
		return fd, nil
	case errors.Is(err, unix.EADDRNOTAVAIL):
		err = fmt.Errorf("every local port is in use or in TIME_WAIT (a shorter --duration, or fewer rounds): %w", err)
	}
	unix.Close(fd)
	return -1, fmt.Errorf("connect: %w", err)
}

// exactTimers lets this thread's waits end when they should, not up to 50 µs
// later (prctl(2), PR_SET_TIMERSLACK): an open loop would count that as the
// peer's latency. The function that it returns sets the default again.
func exactTimers() (restore func()) {
	set := func(nanoseconds uintptr) {
		// A kernel without it only measures less exactly.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)
	}
	set(1)
	return func() { set(0) }
}
