//go:build !linux

package bench

import (
	"errors"
	"net"
	"syscall"
)

func connect(net.TCPAddr, int) (int, error) { return -1, errors.New("bench: only Linux is measured") }

func exactTimers() (restore func()) { return func() {} }

func attributes() *syscall.SysProcAttr { return nil }
