package firewall

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Watch hears of every change of the packet filters of this network namespace,
// whoever makes it (nftables' notifications, linux/netfilter/nfnetlink.h).
type Watch struct {
	socket *os.File
	raw    syscall.RawConn
}

// NewWatch hears of what changes from now on.
func NewWatch() (*Watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	w := &Watch{socket: os.NewFile(uintptr(fd), "netlink")}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
		w.Close()
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if w.raw, err = w.socket.SyscallConn(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// Close ends it.
func (w *Watch) Close() error { return w.socket.Close() }

// Wait returns when something has changed since the last Wait, or when so much time has
// passed. What has changed it doesn't say: whoever needs to know looks.
func (w *Watch) Wait(atMost time.Duration) error {
	if err := w.socket.SetReadDeadline(time.Now().Add(atMost)); err != nil {
		return err
	}
	var failed error
	err := w.raw.Read(func(fd uintptr) bool {
		heard, buffer := false, make([]byte, 1<<16)
		for {
			switch _, err := unix.Read(int(fd), buffer); {
			case err == nil, errors.Is(err, unix.ENOBUFS): // more than fits: that is news, too
				heard = true
			case errors.Is(err, unix.EAGAIN):
				return heard // else wait
			case !errors.Is(err, unix.EINTR):
				failed = err
				return true
			}
		}
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, failed)
}
