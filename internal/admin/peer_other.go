//go:build !linux

package admin

import "net"

// peerOf knows nobody: processes are looked at on Linux only.
func peerOf(net.Conn) (pid int, err error) { return 0, nil }
