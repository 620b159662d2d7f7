//go:build !linux

package eventloop

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// errPlatform is what everything says where there is no epoll.
var errPlatform = errors.New("eventloop: only Linux has epoll")

// Poller can't be had here.
type Poller struct{}

// NewPoller says that this needs Linux.
func NewPoller() (*Poller, error) { return nil, errPlatform }

// Close does nothing.
func (p *Poller) Close() error { return errPlatform }

// Add does nothing.
func (p *Poller) Add(int, Token) error { return errPlatform }

// AddReader does nothing.
func (p *Poller) AddReader(int, Token) error { return errPlatform }

// WatchWrite does nothing.
func (p *Poller) WatchWrite(int, Token, bool) error { return errPlatform }

// Room does nothing.
func Room(int) {}

// Wake does nothing.
func (p *Poller) Wake() {}

// Wait does nothing.
func (p *Poller) Wait(time.Duration) []Event { return nil }

// Read does nothing.
func Read(int, []byte) (int, error) { return 0, errPlatform }

// Write does nothing.
func Write(int, []byte) (int, error) { return 0, errPlatform }

// Accept does nothing.
func Accept(int) (int, error) { return -1, errPlatform }

// Peer knows none.
func Peer(int) (netip.AddrPort, bool) { return netip.AddrPort{}, false }

// CloseWrite does nothing.
func CloseWrite(int) error { return errPlatform }

// Close does nothing.
func Close(int) error { return errPlatform }

// Listener does nothing.
func Listener(net.Listener) (int, error) { return -1, errPlatform }

// Thread says 0.
func Thread() int { return 0 }

// ThreadTime says 0.
func ThreadTime(int) time.Duration { return 0 }

func discard(int) {}

func duplicate(syscall.Conn) (int, error) { return -1, errPlatform }

// Remove does nothing.
func (p *Poller) Remove(int) error { return errPlatform }
