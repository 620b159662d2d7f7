package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf is the process at the other end of a unix socket's connection, as this host's
// kernel knows it (SO_PEERCRED, unix(7)): the one that has called listen(2), or connect(2).
// A pid of 0: it is in another PID namespace.
func peerOf(conn net.Conn) (pid, uid int, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, -1, err
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, -1, err
	}
	return int(peer.Pid), int(peer.Uid), nil
}
