//go:build !linux

package admin

import "net"

// peerOf knows nobody: processes are looked at on Linux only.
func peerOf(net.Conn) (pid, uid int, err error) { return 0, -1, nil }
