package verify

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var engineListensNowhere = Check{
	ID: "RD-101", Goal: evidence.Environment, From: OnCache, Cheap: true,
	Title:      "The engine has no socket but unix sockets",
	Why:        "An engine that listens is reached past the tunnel; one that can connect can copy itself elsewhere.",
	Mend:       "Restart the gateway: it starts the engine on a unix socket, in a network namespace of its own.",
	References: []string{"45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot, needEngine},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		engine := process{"engine", a.PID}
		leading, all, err := engine.notUnix(process{"gateway", t.Cache.PID})
		if err != nil {
			return n.Skip("its sockets can't be looked at: %v", err)
		}
		n.Saw("process %d: sockets: %d, of which no unix socket: %d", a.PID, all, len(leading))
		listening, err := engine.listeners()
		if err != nil {
			return n.Skip("its sockets can't be looked at: %v", err)
		}
		if len(listening) > 0 {
			return n.Fail("it listens on %s %s", listening[0].protocol, listening[0].address)
		}
		if len(leading) > 0 {
			return n.Fail("it has %d sockets that are no unix sockets (inode %s)", len(leading), leading[0])
		}
		return n.Pass("all of its %d sockets are unix sockets", all)
	},
}

var rolesListenAsConfigured = Check{
	ID: "RD-102", Goal: evidence.Environment, From: OnBoth, Cheap: true,
	Title:      "Gateway and sidecar listen where their configuration says, and nowhere else",
	Why:        "Each further port is a way in that no firewall rule and no document knows of.",
	Mend:       "Restart the process with the configuration that lies there (under systemd its socket unit must name the same address); if it then listens elsewhere still, report it.",
	References: []string{"45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot, needRoles},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		var declared, told []string
		if t.Cache != nil {
			declared, told = append(declared, t.Cache.Listen, t.Cache.Metrics), append(told, t.Cache.Told)
		}
		if t.App != nil {
			declared, told = append(declared, t.App.Bound, t.App.Metrics), append(told, t.App.Told)
		}
		var found []netip.AddrPort
		for _, p := range t.roles() {
			listening, err := p.listeners()
			if err != nil {
				return n.Skip("the sockets of the %s can't be looked at: %v", p.name, err)
			}
			for _, l := range listening {
				n.Saw("%s, process %d: %s %s", p.name, p.pid, l.protocol, l.address)
				found = append(found, l.address)
				if !slices.ContainsFunc(declared, func(d string) bool { return isAt(l.address, d) }) {
					return n.Fail("the %s listens on %s %s, which its configuration doesn't name", p.name, l.protocol, l.address)
				}
			}
		}
		for _, address := range told {
			if address != "" && !slices.ContainsFunc(found, func(a netip.AddrPort) bool { return isAt(a, address) }) {
				return n.Fail("who answers on the admin socket says that it listens on %s, and the kernel knows of no such socket of its: somebody answers in our process's place", address)
			}
		}
		return n.Pass("nothing but what the configuration names")
	},
}

// isAt says whether an address is what a configuration means by HOST:PORT, whose host
// may be a name or "every address".
func isAt(address netip.AddrPort, configured string) bool {
	host, port, err := net.SplitHostPort(configured)
	if err != nil || strconv.Itoa(int(address.Port())) != port {
		return false
	}
	at, err := netip.ParseAddr(host)
	if err != nil { // a name, or none: the port tells
		return true
	}
	return at.Unmap() == address.Addr() || at.IsUnspecified() && address.Addr().IsUnspecified()
}
