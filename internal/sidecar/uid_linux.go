package sidecar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const canTellUIDs = true

// uidOfUnix is the user who made the connection (SO_PEERCRED, unix(7)).
func uidOfUnix(conn net.Conn) (uid int, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(cerr, err); err != nil {
		return 0, fmt.Errorf("peer credentials: %w", err)
	}
	return int(peer.Uid), nil
}

// uidOfTCP is the user who owns the other end of a connection on this host,
// as the kernel tells it for that very socket (sock_diag(7)).
func uidOfTCP(conn net.Conn) (uid int, err error) {
	local, remote := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	defer unix.Close(fd)
	// The kernel answers within the send, so this bound is never reached.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	if err := unix.Sendto(fd, diagRequest(remote, local), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	var buf [1024]byte
	n, _, err := unix.Recvfrom(fd, buf[:], 0)
	if err != nil {
		return 0, fmt.Errorf("sock_diag: %w", err)
	}
	return diagUID(buf[:n], remote, local)
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Layout of linux/netlink.h and linux/inet_diag.h.
const (
	nlHeader       = 16
	diagRequestLen = nlHeader + 8 + 48 // inet_diag_req_v2 with inet_diag_sockid
	diagSockID     = nlHeader + 4      // in inet_diag_msg
	diagUIDAt      = nlHeader + 4 + 48 + 12
	anyState       = 0xffffffff
)

// diagRequest asks for the socket whose own end is src and whose peer is dst.
func diagRequest(src, dst netip.AddrPort) []byte {
	b := make([]byte, diagRequestLen)
	native := binary.NativeEndian
	native.PutUint32(b[0:], diagRequestLen)
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[nlHeader] = unix.AF_INET
	if src.Addr().Is6() {
		b[nlHeader] = unix.AF_INET6
	}
	b[nlHeader+1] = unix.IPPROTO_TCP
	native.PutUint32(b[nlHeader+4:], anyState)
	id := b[nlHeader+8:]
	binary.BigEndian.PutUint16(id[0:], src.Port())
	binary.BigEndian.PutUint16(id[2:], dst.Port())
	copy(id[4:20], src.Addr().AsSlice())
	copy(id[20:36], dst.Addr().AsSlice())
	// Any interface (0), and any cookie: both halves INET_DIAG_NOCOOKIE.
	for i := 40; i < 48; i++ {
		id[i] = 0xff
	}
	return b
}

// diagUID reads the answer, and holds its addresses against the question: the
// kernel falls back to a listener on that port if there is no such connection.
func diagUID(b []byte, src, dst netip.AddrPort) (int, error) {
	native := binary.NativeEndian
	if len(b) < nlHeader+4 {
		return 0, errors.New("sock_diag: short answer")
	}
	if kind := native.Uint16(b[4:]); kind == unix.NLMSG_ERROR {
		return 0, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(native.Uint32(b[nlHeader:]))))
	} else if kind != unix.SOCK_DIAG_BY_FAMILY || len(b) < diagUIDAt+4 {
		return 0, errors.New("sock_diag: unexpected answer")
	}
	id := b[diagSockID:]
	size := len(src.Addr().AsSlice())
	if binary.BigEndian.Uint16(id[0:]) != src.Port() || binary.BigEndian.Uint16(id[2:]) != dst.Port() ||
		string(id[20:20+size]) != string(dst.Addr().AsSlice()) {
		return 0, errors.New("sock_diag: the connection's other end is not on this host")
	}
	return int(native.Uint32(b[diagUIDAt:])), nil
}
