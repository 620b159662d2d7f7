package host

import (
	"net/netip"
	"slices"
	"strings"
)

// A sshFacet is something of a connection that a Match may ask for.
type sshFacet int

const (
	sshUser   sshFacet = iota
	sshName            // of the client's host
	sshFrom            // its address
	sshTo              // this host's address
	sshPort            // and port
	sshDomain          // routing domain (VRF)
	sshFacets
)

// A sshConnection is one that could come.
type sshConnection [sshFacets]string

// spec is it as sshd -C wants it.
func (c sshConnection) spec() string {
	return "user=" + c[sshUser] + ",host=" + c[sshName] + ",addr=" + c[sshFrom] + ",laddr=" + c[sshTo] + ",lport=" + c[sshPort] + ",rdomain=" + c[sshDomain]
}

// String is it for people.
func (c sshConnection) String() string {
	s := c[sshUser] + " from " + c[sshFrom]
	if c[sshName] != c[sshFrom] {
		s += " (" + c[sshName] + ")"
	}
	s += " to " + c[sshTo] + " port " + c[sshPort]
	if c[sshDomain] != "" {
		s += " in " + c[sshDomain]
	}
	return s
}

// A sshCriterion is a condition of a Match: a list of patterns (ssh_config(5),
// PATTERNS).
type sshCriterion struct {
	kind     string // in lower case
	patterns string
}

// sshAsks are the criteria that ask for something of a connection. invalid-user is for
// names that nobody can log in by, version is sshd's own: neither tells connections
// apart.
var sshAsks = map[string]sshFacet{
	"user": sshUser, "group": sshUser, "host": sshName, "address": sshFrom, "localaddress": sshTo, "localport": sshPort, "rdomain": sshDomain,
}

// sshCriteria reads what stands behind Match: CRITERION PATTERNS, or CRITERION=PATTERNS.
func sshCriteria(text string) (list []sshCriterion) {
	words := sshWords(text)
	for i := 0; i < len(words); i++ {
		kind, patterns, joined := strings.Cut(words[i], "=")
		kind = strings.ToLower(kind)
		if kind == "all" || kind == "invalid-user" {
			list = append(list, sshCriterion{kind, ""})
			continue
		}
		if !joined || patterns == "" && i+1 < len(words) {
			if i++; i == len(words) {
				break
			}
			patterns = strings.TrimPrefix(words[i], "=")
		}
		list = append(list, sshCriterion{kind, patterns})
	}
	return list
}

// holds says whether the block is for this connection.
func (b *sshBlock) holds(c sshConnection, groups map[string][]string) bool {
	return !slices.ContainsFunc(b.criteria, func(k sshCriterion) bool {
		facet, asks := sshAsks[k.kind]
		return asks && !k.holds(c[facet], groups)
	})
}

// holds says whether a connection with this value meets the criterion, as sshd finds it
// (match_cfg_line of servconf.c).
func (k sshCriterion) holds(value string, groups map[string][]string) bool {
	switch k.kind {
	case "group":
		found := false
		for _, group := range groups[value] {
			switch inPatterns(group, k.patterns, matchesPattern) {
			case -1:
				return false
			case 1:
				found = true
			}
		}
		return found
	case "host":
		return inPatterns(strings.ToLower(value), strings.ToLower(k.patterns), matchesPattern) == 1
	case "address", "localaddress":
		return inPatterns(value, k.patterns, matchesAddress) == 1
	}
	return inPatterns(value, k.patterns, matchesPattern) == 1
}

// inPatterns is 1 if a pattern of the list matches, and -1 if one does that is negated.
func inPatterns(value, list string, matches func(value, pattern string) bool) (found int) {
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		switch {
		case !matches(value, pattern):
		case negated:
			return -1
		default:
			found = 1
		}
	}
	return found
}

// matchesPattern knows * and ?.
func matchesPattern(value, pattern string) bool {
	// The last * may be tried again with a byte more.
	v, p, star, again := 0, 0, -1, 0
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, again = p, v
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == value[v]):
			v, p = v+1, p+1
		case star >= 0:
			again++
			v, p = again, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchesAddress knows networks besides.
func matchesAddress(value, pattern string) bool {
	address, err := netip.ParseAddr(value)
	if err == nil {
		if network, err := netip.ParsePrefix(pattern); err == nil {
			return network.Contains(address)
		}
		if one, err := netip.ParseAddr(pattern); err == nil {
			return one == address
		}
	}
	return matchesPattern(value, pattern)
}

// witnesses are values of which each pattern of a list matches some: of the negated too,
// for the connections that it leaves out.
func (k sshCriterion) witnesses() (values []string) {
	for pattern := range strings.SplitSeq(k.patterns, ",") {
		pattern = strings.TrimPrefix(pattern, "!")
		switch k.kind {
		case "group", "all", "invalid-user", "version":
		case "address", "localaddress":
			values = append(values, addressesOf(pattern)...)
		default:
			for _, fill := range []string{"", "x", "redoubt", "1"} {
				some := strings.ReplaceAll(strings.ReplaceAll(pattern, "*", fill), "?", "x")
				if some != "" && sayable(some) && !slices.Contains(values, some) {
					values = append(values, some)
				}
			}
		}
	}
	return values
}

// sayable says whether a value can stand in sshd -C.
func sayable(value string) bool { return !strings.ContainsAny(value, ", \t\n\x00") }

// addressesOf are some of a network, or of those that a pattern matches.
func addressesOf(pattern string) (values []string) {
	if network, err := netip.ParsePrefix(pattern); err == nil {
		return someOf(network)
	}
	if !strings.ContainsAny(pattern, "*?") {
		if _, err := netip.ParseAddr(pattern); err == nil {
			values = append(values, pattern)
		}
		return values
	}
	for _, fill := range []string{"1", "0.1", "1.1", "1.1.1", "1.1.1.1", "0.1.", "1.1.", "1:1", "::1", "fe80::1"} {
		some := strings.ReplaceAll(strings.ReplaceAll(pattern, "*", fill), "?", "1")
		if address, err := netip.ParseAddr(some); err == nil && !slices.Contains(values, address.String()) {
			values = append(values, address.String())
		}
	}
	return values
}

// someOf are addresses of a network: its first ones, one of its midst, its last ones.
func someOf(network netip.Prefix) (values []string) {
	network = network.Masked()
	first := network.Addr()
	for _, offset := range []struct{ host, fill byte }{{1, 0}, {2, 0}, {0x55, 0x55}, {0xfe, 0xff}} {
		bytes := first.AsSlice()
		for bit := network.Bits(); bit < len(bytes)*8; bit++ {
			in := offset.fill
			if bit >= len(bytes)*8-8 {
				in = offset.host
			}
			bytes[bit/8] |= in & (0x80 >> (bit % 8))
		}
		some, _ := netip.AddrFromSlice(bytes)
		if value := some.String(); !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}
