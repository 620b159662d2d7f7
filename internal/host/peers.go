package host

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Socket is a row of the kernel's tables of a network namespace (proc_pid_net(5)).
type Socket struct {
	Protocol    string // tcp, tcp6, udp, udp6, raw, raw6
	Local, Peer netip.AddrPort
	State       State
	Inode       string // as in /proc/PID/fd
}

// State is a TCP state as the tables have it (the kernel's include/net/tcp_states.h).
type State string

const (
	Established State = "01"
	Unconnected State = "07" // of a datagram's socket
	Listening   State = "0A"
)

// Sockets are those of a network namespace, of the protocols named; net is its
// directory, such as /proc/net or /proc/PID/net.
func Sockets(net string, protocols ...string) (list []Socket, err error) {
	for _, protocol := range protocols {
		text, err := os.ReadFile(filepath.Join(net, protocol))
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel has no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[0] == "sl" {
				continue
			}
			here, err := ParseAddress(fields[1])
			there, err2 := ParseAddress(fields[2])
			if err = errors.Join(err, err2); err != nil {
				return nil, err
			}
			list = append(list, Socket{protocol, here, there, State(fields[3]), fields[9]})
		}
	}
	return list, nil
}

// Peers are the addresses from which connections to a TCP port of this host are open,
// as far as the kernel tells.
func Peers(port int) (list []netip.Addr) {
	sockets, _ := Sockets("/proc/net", "tcp", "tcp6")
	for _, s := range sockets {
		if s.State == Established && int(s.Local.Port()) == port {
			list = append(list, s.Peer.Addr())
		}
	}
	return list
}

// Addresses are those at which another host could reach this one: all of its
// interfaces', but loopback and what is good on one link only.
func Addresses() (list []netip.Addr, err error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if at := p.Addr().Unmap(); !at.IsLoopback() && !at.IsLinkLocalUnicast() {
			list = append(list, at)
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list), nil
}

// Open are the addresses and TCP ports on which anything on this host takes
// connections from another one; an unspecified address stands for all of them.
func Open() (list []netip.AddrPort, err error) {
	sockets, err := Sockets("/proc/net", "tcp", "tcp6")
	if err != nil {
		return nil, err
	}
	for _, s := range sockets {
		if s.State == Listening && !s.Local.Addr().IsLoopback() {
			list = append(list, s.Local)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return slices.Compact(list), nil
}

// ParseAddress reads an address as /proc/net has it: words of four bytes, each in the
// host's order, and the port.
func ParseAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if err = errors.Join(err, portErr); err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of /proc/net: %v", text, err)
	}
	for i := 0; i < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	address, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(address.Unmap(), uint16(number)), nil
}
