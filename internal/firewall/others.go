package firewall

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// An Other is a rule of another table that changes what arrives, before ours looks at it
// or beside it.
type Other struct {
	Where string // table and chain, as nft names them
	Rule  string
	// Disguises says that afterwards a packet, or a copy of it, may seem to come from
	// elsewhere, or to belong to a connection that it doesn't: then our table lets in whom it doesn't know.
	// The others change only where a packet goes, which ours looks at afterwards.
	Disguises bool
}

// Others are all of them in this network namespace, as far as nft shows. Rules of the old
// iptables it doesn't.
func Others(ctx context.Context) ([]Other, error) {
	text, err := nft(ctx, "", "nft --stateless list ruleset", false)
	return parseOthers(text), err
}

var (
	// Another source by a payload statement, source address translation, a program that
	// gets the packet, a helper that says what is related, or another interface (what is
	// sent to lo comes back as if it were the host's own), also as iptables' targets, which
	// nft writes as a remark (nft(8), STATEMENTS).
	disguises = regexp.MustCompile(`(\bip6? saddr|@(ll|nh|th|ih),[0-9]+,[0-9]+) set |\b(snat|masquerade|queue|fwd|dup)\b|\bct helper set |xt(_| target "?)(SNAT|MASQUERADE|NETMAP|SNPT|NFQUEUE|CT|TEE)\b`)
	// Another destination, no connection tracking, or a way past the other chains.
	diverts = regexp.MustCompile(`\b(dnat|redirect|tproxy|notrack)\b|\bflow (add|offload)\b|\b(ip6? daddr|(tcp|udp|th|sctp) [sd]port|ether [sd]addr) set |xt(_| target "?)(DNAT|REDIRECT|DNPT|TPROXY)\b`)

	goesTo = regexp.MustCompile(`\b(?:jump|goto) ([^\s,}]+)`)
	hook   = regexp.MustCompile(`^type \w+ hook (\w+)`)
)

// chain is one of a table's; that of a map has no name, since which rule asks the map
// isn't looked at.
type chain struct {
	table, name string
	arrives     bool // packets for this host come through it
	rules       []string
}

// parseOthers reads what nft lists (nft list ruleset): tables, in them chains and other
// blocks, in those lines.
func parseOthers(text string) (list []Other) {
	chains := map[string]*chain{}
	var table string
	var in *chain
	for line := range strings.Lines(text) {
		depth := len(line) - len(strings.TrimLeft(line, "\t"))
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line == "}":
		case depth == 0:
			table = strings.TrimSuffix(line, " {")
		case depth == 1:
			name, isChain := strings.CutPrefix(strings.TrimSuffix(line, " {"), "chain ")
			in = &chain{table: table, name: name, arrives: !isChain}
			chains[table+"\x00"+name] = in
		case in != nil && table != "table inet redoubt":
			if at := hook.FindStringSubmatch(line); at != nil {
				in.arrives = slices.Contains([]string{"ingress", "prerouting", "input"}, at[1])
				continue
			}
			in.rules = append(in.rules, line)
		}
	}
	reach(chains)
	for _, key := range slices.Sorted(maps.Keys(chains)) {
		c := chains[key]
		for _, rule := range c.rules {
			if disguise := disguises.MatchString(rule); c.arrives && (disguise || diverts.MatchString(rule)) {
				list = append(list, Other{c.table + ", chain " + c.name, rule, disguise})
			}
		}
	}
	return list
}

// reach follows jumps from where packets arrive.
func reach(chains map[string]*chain) {
	for again := true; again; {
		again = false
		for _, c := range chains {
			if !c.arrives {
				continue
			}
			for _, rule := range c.rules {
				for _, to := range goesTo.FindAllStringSubmatch(rule, -1) {
					if next := chains[c.table+"\x00"+to[1]]; next != nil && !next.arrives {
						next.arrives, again = true, true
					}
				}
			}
		}
	}
}
