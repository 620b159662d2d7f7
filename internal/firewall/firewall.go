// Package firewall makes a host's packet filter from what the host must be
// reached by, as a text that nft loads (nft(8)) and people can read.
//
// Goal 1 is its subject: the cache is reachable only from application hosts, ssh
// only from bastions. Rules says whom a host serves; Nftables prints the whole
// of it. Loading the text replaces what an earlier one made, in one transaction,
// and touches no other table: Docker's, firewalld's and ufw's rules stay, and a
// packet must pass theirs too.
//
// It opens nothing beyond what Rules names, but what a host can't live without:
// its own loopback, answers to what it asked, and the ICMP that IP needs (RFC
// 4890). It looks at addresses and ports only. Dropped packets are counted, and
// some of them logged, without their contents.
//
// Its tests load the text with the real nft into network namespaces and try who
// reaches what.
package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Rules are whom a host serves.
type Rules struct {
	Deployment, Host string
	// Cache is the tunnel's port on a cache host; 0 on an application host.
	Cache     int
	Clients   []netip.Prefix // who may connect to it
	SSH       int            // sshd's port
	Bastions  []netip.Prefix // who may connect to that
	EngineUID int            // may send nothing; 0: no rule
}

// Bounds of new connections to the cache port from one address. A sidecar needs
// few, which stay; after an outage each application connection with a lane of
// its own comes back once.
const (
	newPerSecond = 100
	newBurst     = 1000
	// loggedPerMinute bounds what strangers can make the log grow by.
	loggedPerMinute = 10
)

// Nftables is the table, for nft -f.
func (r Rules) Nftables() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	role := "a cache host: its port for application hosts, ssh for bastions, nothing else"
	if r.Cache == 0 {
		role = "an application host: ssh for bastions; the rest is the application's own"
	}
	line("# %s of deployment %s, %s.", r.Host, r.Deployment, role)
	line("# Load it with nft -f: it replaces its own table, all at once, and no other's.")
	line("table inet redoubt")
	line("delete table inet redoubt")
	line("table inet redoubt {")
	if r.Cache != 0 {
		writeSets(line, "clients", "who may use the cache", r.Clients)
		line("\tset busy4 { type ipv4_addr; size 65535; flags dynamic, timeout; timeout 1m; }")
		line("\tset busy6 { type ipv6_addr; size 65535; flags dynamic, timeout; timeout 1m; }")
	}
	writeSets(line, "bastions", "who may use ssh", r.Bastions)
	r.writeArrivals(line)
	r.writeInbound(line)
	if r.EngineUID != 0 {
		line("\n\tchain outbound {")
		line("\t\ttype filter hook output priority filter; policy accept;")
		line("\t\tmeta skuid %d counter drop comment \"the engine speaks to nobody\"", r.EngineUID)
		line("\t}")
	}
	line("}")
	return b.String()
}

// Closed is the table for a host whose own can't be loaded: a cache host has nothing but
// ssh for bastions, an application host nothing of ours is open to others. It asks for
// little of the kernel and of nft, since one of them may be the reason.
func (r Rules) Closed() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# %s of deployment %s, where its packet filter can't be loaded: closed, but for ssh from bastions.", r.Host, r.Deployment)
	line("table inet redoubt")
	line("delete table inet redoubt")
	line("table inet redoubt {")
	writeSets(line, "bastions", "who may use ssh", r.Bastions)
	policy := "drop"
	if r.Cache == 0 {
		policy = "accept" // the rest is the application's own
	}
	line("\n\tchain inbound {")
	line("\t\ttype filter hook input priority filter; policy %s;", policy)
	line("\t\tiifname \"lo\" accept")
	line("\t\tct state established, related accept")
	toLoopback(line)
	line("\t\tmeta nfproto ipv6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept")
	line("\t\ttcp dport %d ip saddr @bastions4 accept", r.SSH)
	line("\t\ttcp dport %d ip6 saddr @bastions6 accept", r.SSH)
	line("\t\ttcp dport %d drop", r.SSH)
	line("\t}")
	line("}")
	return b.String()
}

// writeSets writes one set for each family, since a set has one type.
func writeSets(line func(string, ...any), name, what string, prefixes []netip.Prefix) {
	for _, family := range []struct {
		suffix, kind string
		is           func(netip.Addr) bool
	}{{"4", "ipv4_addr", netip.Addr.Is4}, {"6", "ipv6_addr", netip.Addr.Is6}} {
		var elements []string
		for _, p := range prefixes {
			if !family.is(p.Addr()) {
				continue
			}
			text := p.String()
			if p.IsSingleIP() {
				text = p.Addr().String()
			}
			elements = append(elements, text)
		}
		slices.Sort(elements)
		elements = slices.Compact(elements)
		line("\tset %s%s {", name, family.suffix)
		line("\t\ttype %s; flags interval; auto-merge; comment \"%s\"", family.kind, what)
		if len(elements) > 0 {
			line("\t\telements = { %s }", strings.Join(elements, ", "))
		}
		line("\t}")
	}
}

// toLoopback drops what is sent to a loopback address, which never comes from outside
// (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). The kernel sees to that itself only until
// somebody sets route_localnet, as kube-proxy does; the sidecar's port is there.
func toLoopback(line func(string, ...any)) {
	line("\t\tip daddr 127.0.0.0/8 counter drop")
	line("\t\tip6 daddr ::1 counter drop")
}

// writeArrivals writes what is looked at before anything else. A source that the
// route back to it doesn't lead through the same interface is invented (strict
// reverse path, RFC 3704 §2.2); one that isn't known yet, as in the first steps
// of IPv6 (RFC 4862 §5.4) or DHCP, is none.
func (r Rules) writeArrivals(line func(string, ...any)) {
	line("\n\tchain arrivals {")
	line("\t\ttype filter hook prerouting priority raw; policy accept;")
	line("\t\tiifname \"lo\" accept")
	toLoopback(line)
	line("\t\tip saddr 0.0.0.0 accept")
	line("\t\tip6 saddr :: accept")
	line("\t\tip saddr 127.0.0.0/8 counter drop")
	line("\t\tfib saddr . iif oif missing counter drop comment \"a source that is invented\"")
	line("\t}")
}

func (r Rules) writeInbound(line func(string, ...any)) {
	policy := "drop"
	if r.Cache == 0 {
		policy = "accept"
	}
	line("\n\tchain inbound {")
	line("\t\ttype filter hook input priority filter; policy %s;", policy)
	line("\t\tiifname \"lo\" accept")
	line("\t\tct state established, related accept")
	line("\t\tct state invalid counter drop")
	toLoopback(line) // again: another table may have rewritten where it goes
	line("\t\ttcp dport %d ip saddr @bastions4 accept", r.SSH)
	line("\t\ttcp dport %d ip6 saddr @bastions6 accept", r.SSH)
	if r.Cache == 0 {
		line("\t\ttcp dport %d goto refused", r.SSH)
	} else {
		for _, family := range []string{"4 ip", "6 ip6"} {
			set, header, _ := strings.Cut(family, " ")
			line("\t\ttcp dport %d %s saddr @clients%s add @busy%s { %s saddr limit rate over %d/second burst %d packets } counter drop", r.Cache, header, set, set, header, newPerSecond, newBurst)
			line("\t\ttcp dport %d %s saddr @clients%s accept", r.Cache, header, set)
		}
		line("\t\tip protocol icmp icmp type { destination-unreachable, time-exceeded, parameter-problem } accept")
		line("\t\tip protocol icmp icmp type echo-request limit rate 10/second accept")
		line("\t\tmeta nfproto ipv6 icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept")
		line("\t\tmeta nfproto ipv6 icmpv6 type echo-request limit rate 10/second accept")
		line("\t\tip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept")
		line("\t\tip6 hoplimit 1 ip6 saddr fe80::/10 icmpv6 type { mld-listener-query, mld2-listener-report } accept")
		line("\t\tudp dport 546 ip6 saddr fe80::/10 accept comment \"DHCPv6\"")
		line("\t\tgoto refused")
	}
	line("\t}")
	line("\n\tchain refused {")
	line("\t\tlimit rate %d/minute burst %d packets log prefix \"redoubt refused: \" level info", loggedPerMinute, loggedPerMinute)
	line("\t\tcounter drop")
	line("\t}")
}
