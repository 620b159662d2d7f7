// Package aws says goal 1 once more, as a network on Amazon's: a VPC with
// dedicated tenancy, private subnets, a network ACL and security groups, as
// Terraform.
//
// A Network is made of the same firewall.Rules as a host's own packet filter, so
// that the two can't differ. Terraform prints what differs between deployments
// (locals) before network.tf, which is the same in all of them, so that a
// reviewer reads it once. IPv6 sources are left out: cache hosts have no IPv6
// address there, and what has none can't be reached by it.
//
// The tests have the real terraform format and evaluate it, and hold every
// argument against the schema of Amazon's provider.
package aws

import (
	_ "embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/firewall"
)

// Network is where a deployment's hosts are.
type Network struct {
	Deployment string
	VPC        netip.Prefix
	Subnets    []Subnet
	Gateways   []Gateway
}

// Subnet is a network in one availability zone.
type Subnet struct {
	Name    string
	Network netip.Prefix
	Zone    string
}

// Gateway is a cache host; Rules are whom it serves.
type Gateway struct {
	Subnet  string
	Address netip.Addr
	Rules   firewall.Rules
}

// Amazon's quotas of rules, each way (Amazon VPC User Guide, "Amazon VPC quotas").
// Some of the network ACL's 20 are left for variable "outbound".
const (
	maxACL   = 18
	maxGroup = 60
)

//go:embed network.tf
var body string

// Terraform is the whole network, formatted. A deployment that Amazon's quotas
// have no room for is an error.
func (n Network) Terraform() (string, error) {
	first := n.Gateways[0].Rules // ssh and bastions are the same for all
	bastions := ipv4(first.Bastions)
	in, out := n.acl()
	if count := max(len(in), len(out)); count > maxACL {
		return "", fmt.Errorf("the network ACL would need %d rules, and Amazon takes 20 (two are kept for variable \"outbound\"): put application hosts into fewer subnets, or give groups of them a network", count)
	}
	var cacheSubnets []string
	for _, g := range n.Gateways {
		cacheSubnets = append(cacheSubnets, g.Subnet)
		if count := len(ipv4(g.Rules.Clients)) + len(bastions); count > maxGroup {
			return "", fmt.Errorf("%s's security group would need %d rules, and Amazon takes %d: give groups of application hosts a network", g.Rules.Host, count, maxGroup)
		}
	}
	slices.Sort(cacheSubnets)
	cacheSubnets = slices.Compact(cacheSubnets)
	l := locals{}
	l.line("# The network of deployment %s on AWS, printed by redoubt render terraform", n.Deployment)
	l.line("# from deployment.yaml: change that file, not this one.")
	l.line("")
	l.line("locals {")
	l.line("  deployment = %q", n.Deployment)
	l.line("  vpc        = %q", n.VPC)
	l.line("  ssh_port   = %d", first.SSH)
	l.line("  bastions   = %s", list(bastions))
	l.table("subnets", func(row func(string, ...string)) {
		for _, s := range n.Subnets {
			row(s.Name, "network", quote(s.Network), "zone", quote(s.Zone))
		}
	})
	l.table("gateways", func(row func(string, ...string)) {
		for _, g := range n.Gateways {
			row(g.Rules.Host, "subnet", quote(g.Subnet), "address", quote(g.Address), "port", fmt.Sprint(g.Rules.Cache), "clients", list(ipv4(g.Rules.Clients)))
		}
	})
	l.line("")
	l.line("  cache_subnets = %s", list(cacheSubnets))
	l.rules("acl_in", in)
	l.rules("acl_out", out)
	l.line("}")
	return l.String() + body, nil
}

// rule lets packets of one protocol pass, for one network.
type rule struct {
	protocol string
	network  netip.Prefix
	from, to int
}

// A connection's other end has any port from here on.
const firstAnswer, lastPort = 1024, 65535

// acl is what passes into and out of the cache hosts' subnets.
func (n Network) acl() (in, out []rule) {
	add := func(rules *[]rule, r rule) {
		if !slices.Contains(*rules, r) {
			*rules = append(*rules, r)
		}
	}
	for _, g := range n.Gateways {
		own := n.coarse(netip.PrefixFrom(g.Address, 32))
		for _, p := range g.Rules.Clients {
			if !p.Addr().Is4() {
				continue
			}
			peer := n.coarse(p)
			add(&in, rule{"tcp", peer, g.Rules.Cache, g.Rules.Cache})
			add(&in, rule{"icmp", peer, 0, 0})
			add(&out, rule{"tcp", peer, firstAnswer, lastPort})
			add(&out, rule{"icmp", peer, 0, 0})
		}
		if len(n.Gateways) > 1 { // they renew certificates at each other
			add(&in, rule{"tcp", own, firstAnswer, lastPort})
			add(&out, rule{"tcp", own, g.Rules.Cache, g.Rules.Cache})
		}
		for _, p := range ipv4(g.Rules.Bastions) {
			bastion := n.coarse(p)
			add(&in, rule{"tcp", bastion, g.Rules.SSH, g.Rules.SSH})
			add(&out, rule{"tcp", bastion, firstAnswer, lastPort})
		}
	}
	return in, out
}

// coarse is the subnet that a network is in, or the network.
func (n Network) coarse(p netip.Prefix) netip.Prefix {
	for _, s := range n.Subnets {
		if s.Network.Contains(p.Addr()) && s.Network.Bits() <= p.Bits() {
			return s.Network
		}
	}
	return p
}

// ipv4 are the networks of that family, sorted, each once.
func ipv4(prefixes []netip.Prefix) []netip.Prefix {
	own := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !p.Addr().Is4() })
	slices.SortFunc(own, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(own)
}

// locals is a text as terraform fmt has it.
type locals struct{ strings.Builder }

func (l *locals) line(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

// table writes an object of objects; row takes a name and pairs of key and value.
func (l *locals) table(name string, rows func(row func(name string, pairs ...string))) {
	width := 0
	rows(func(name string, _ ...string) { width = max(width, len(quote(name))) })
	l.line("")
	l.line("  %s = {", name)
	rows(func(name string, pairs ...string) {
		var fields []string
		for i := 0; i < len(pairs); i += 2 {
			fields = append(fields, pairs[i]+" = "+pairs[i+1])
		}
		l.line("    %-*s = { %s }", width, quote(name), strings.Join(fields, ", "))
	})
	l.line("  }")
}

func (l *locals) rules(name string, rules []rule) {
	l.line("  %s = [", name)
	for _, r := range rules {
		l.line("    { protocol = %q, network = %q, from = %d, to = %d },", r.protocol, r.network, r.from, r.to)
	}
	l.line("  ]")
}

func quote(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) }

func list[T any](values []T) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
