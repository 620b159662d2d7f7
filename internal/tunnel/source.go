package tunnel

import (
	"net"
	"net/netip"
)

// Source is a peer's address, an IPv4 one as such also when it came through an
// IPv6 socket.
func Source(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(a.IP)
	return addr.Unmap()
}

// SourceBlock is what counts as one source: an IPv6 host has a /64 to choose its
// address from (RFC 4291 §2.5.1).
func SourceBlock(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	block, _ := addr.Prefix(bits) // of an invalid address: the zero block, one source like another
	return block
}
