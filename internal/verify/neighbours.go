package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// reportLife is how long a host's word for its addresses and ports is taken.
const reportLife = 24 * time.Hour

// A neighbour is a host of the deployment as an outsider knows it: by deployment.yaml,
// and by what it told of itself.
type neighbour struct {
	name      string
	port      int          // of its gateway; 0: an application host
	addresses []netip.Addr // where to knock
	open      []netip.AddrPort
	untold    string // why not all of its addresses are known; "": they are
}

// neighbours are all hosts. Of a group of application hosts those are known that have
// told of themselves.
func (t *Target) neighbours(now time.Time) (list []neighbour) {
	own, err := host.Addresses()
	for _, g := range t.Hosts.Gateways {
		h := neighbour{name: g.Name, port: g.Port}
		h.told(t.reportOf(evidence.CacheHost, g.Name), g.Address, now)
		list = append(list, h)
	}
	for _, a := range t.Hosts.Apps {
		var group []string
		for _, r := range t.Reports {
			if r.Vantage == evidence.AppHost && within(a.Network, r.Network) && !slices.Contains(group, r.Host) {
				group = append(group, r.Host)
				h := neighbour{name: r.Host}
				h.told(r, nil, now)
				list = append(list, h)
			}
		}
		h := neighbour{name: a.Name}
		switch {
		case len(a.Network) == 0:
			h.told(t.reportOf(evidence.AppHost, a.Name), a.Address, now)
		case len(group) == 0:
			h.untold = fmt.Sprintf("no host of the group %s has told where it is (--evidence)", a.Name)
		default:
			continue
		}
		list = append(list, h)
	}
	for i := range list {
		if err != nil {
			list[i].untold = fmt.Sprintf("whose addresses are whose can't be told: %v", err)
		}
		list[i].leaveOut(own)
	}
	return list
}

// told adds what the host's report says to the addresses that are written down.
func (h *neighbour) told(r *evidence.Report, written config.Sources, now time.Time) {
	for _, a := range written {
		h.addresses = append(h.addresses, a.Addr())
	}
	switch {
	case r == nil || r.Network == nil:
		h.untold = fmt.Sprintf("which other addresses %s has is not known: name the report of redoubt verify there (--evidence)", h.name)
		return
	case now.Sub(r.Finished) > reportLife || r.Finished.After(now.Add(mostOff)):
		h.untold = fmt.Sprintf("the report of %s is of %s, and a day is as long as its word is taken", h.name, r.Finished.Format(time.RFC3339))
	}
	h.open = r.Network.Open
	for _, a := range r.Network.Addresses {
		if !slices.Contains(h.addresses, a) {
			h.addresses = append(h.addresses, a)
		}
	}
}

// leaveOut takes out what is this host's own: of a bridge, say, that hosts have each
// for themselves. What is left is nothing where this is no outsider at all.
func (h *neighbour) leaveOut(own []netip.Addr) {
	h.addresses = slices.DeleteFunc(h.addresses, func(a netip.Addr) bool { return slices.Contains(own, a) })
	if len(h.addresses) == 0 && h.untold == "" {
		h.untold = fmt.Sprintf("every address of %s is this host's own: it is no outsider", h.name)
	}
}

// listens says whether something takes connections on a port, by the host's own word.
func (h neighbour) listens(port int) bool {
	return slices.ContainsFunc(h.open, func(a netip.AddrPort) bool { return int(a.Port()) == port })
}

func (t *Target) reportOf(v evidence.Vantage, name string) *evidence.Report {
	for _, r := range t.Reports {
		if r.Vantage == v && r.Host == name && r.Deployment == t.Deployment {
			return r
		}
	}
	return nil
}

// within says whether a host has an address in one of these networks.
func within(networks config.Sources, n *evidence.Network) bool {
	return n != nil && slices.ContainsFunc(n.Addresses, func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(s config.Source) bool { return s.Contains(a) })
	})
}
