//go:build !simulation

package eventloop

import (
	"io"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls skip the notes that Go's scheduler takes of a call that may
// sleep. So they are for non-blocking descriptors only: one that slept would
// hold up garbage collection for the whole process.

// Read receives into b. It returns ErrAgain when there is nothing now, io.EOF
// at the end.
func Read(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, ErrAgain
	case errno != 0:
		return 0, errno
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return int(n), nil
}

// Write sends what the kernel takes now. Less than all is no error; none at all
// is n == 0.
func Write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, errno
	}
	return int(n), nil
}

// Accept takes the next connection, non-blocking, or returns ErrAgain.
func Accept(fd int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ECONNABORTED:
		return -1, ErrAgain
	case errno != 0:
		return -1, errno
	}
	return int(n), nil
}

// Peer is the address at the other end of a TCP connection.
func Peer(fd int) (netip.AddrPort, bool) {
	at, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(at.Addr).Unmap(), uint16(at.Port)), true
	}
	return netip.AddrPort{}, false
}

// CloseWrite ends our side behind what was written: FIN, or a unix socket's end.
func CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// discard has Close reset the connection. On a unix socket it does nothing.
func discard(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// Close closes a socket that the loop owns. None lingers for a time (SO_LINGER), so this
// doesn't sleep.
func Close(fd int) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
