package evidence

import "net/netip"

// Network is how a host can be reached, as it sees itself. An outsider visits all of
// it, and takes silence for a refusal only where the host says that something listens.
type Network struct {
	Addresses []netip.Addr     `json:"addresses"` // of its interfaces, but loopback and link-local
	Open      []netip.AddrPort `json:"open"`      // where something takes TCP connections, on an unspecified address: on all
}
