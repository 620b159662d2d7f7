package host

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of the questions to one sshd, of which each takes some 20 ms of a processor.
// What is left unasked is told.
const (
	sshMostQuestions = 400
	sshMostClasses   = 1 << 14
)

const (
	stranger = "someone"   // whom no account has the name of
	nobodys  = "192.0.2.1" // an address of nobody (RFC 5737)
)

// anybody is a connection to ask by for what is the same for all.
var anybody = sshConnection{sshUser: stranger, sshName: nobodys, sshFrom: nobodys, sshTo: nobodys, sshPort: "22"}

// sshQuestions are the connections to ask about.
type sshQuestions struct {
	people people
	files  *sshFiles
	always [sshFacets][]string // these are asked about in any case
	more   [sshFacets][]string // of these, those that a criterion tells from the others
	list   []sshConnection
}

func newSSHQuestions(files *sshFiles, general map[string]string, ports []string, bastions []netip.Prefix, people people) *sshQuestions {
	q := &sshQuestions{people: people, files: files}
	q.always[sshUser] = append([]string{stranger}, people.logIn...)
	q.more[sshUser] = people.all
	q.always[sshFrom] = []string{nobodys, "2001:db8::1"} // RFC 3849
	for _, b := range bastions {
		q.always[sshFrom] = append(q.always[sshFrom], someOf(b)...)
	}
	q.always[sshTo] = ownAddresses()
	q.always[sshPort] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(strings.Fields(general["port"]), ports))))
	q.always[sshDomain] = []string{""}
	for _, block := range files.blocks {
		for _, k := range block.criteria {
			facet, asks := sshAsks[k.kind]
			switch {
			case !asks:
			case facet != sshName:
				q.more[facet] = append(q.more[facet], k.witnesses()...)
			case general["usedns"] == "yes":
				q.more[facet] = append(q.more[facet], k.witnesses()...)
			default: // then a host's name is its address
				for pattern := range strings.SplitSeq(k.patterns, ",") {
					q.more[sshFrom] = append(q.more[sshFrom], addressesOf(strings.TrimPrefix(pattern, "!"))...)
				}
			}
		}
	}
	return q
}

// ownAddresses are those that this host could be reached at.
func ownAddresses() (list []string) {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if network, err := netip.ParsePrefix(a.String()); err == nil && len(list) < 32 {
			list = append(list, network.Addr().String())
		}
	}
	if len(list) == 0 {
		list = []string{"127.0.0.1"}
	}
	return list
}

// add asks about a connection once.
func (q *sshQuestions) add(c sshConnection) (added bool) {
	if c[sshName] == "" {
		c[sshName] = c[sshFrom]
	}
	if slices.Contains(q.list, c) {
		return true
	}
	if len(q.list) == sshMostQuestions {
		return false
	}
	q.list = append(q.list, c)
	return true
}

// usual is a connection like any other.
func (q *sshQuestions) usual() (c sshConnection) {
	for facet, values := range q.always {
		if len(values) > 0 {
			c[facet] = values[0]
		}
	}
	return c
}

// applyTo asks about a connection that a block is for.
func (q *sshQuestions) applyTo(block *sshBlock, s *SSH) {
	c := q.usual()
	for facet := range sshFacets {
		var asked []sshCriterion
		for _, k := range block.criteria {
			if f, asks := sshAsks[k.kind]; asks && f == facet {
				asked = append(asked, k)
			} else if !asks && !slices.Contains([]string{"all", "invalid-user", "version"}, k.kind) {
				s.unasked("the Match of %s: %q is no criterion that is known here", block.at, k.kind)
				return
			}
		}
		meets := func(value string) bool {
			return !slices.ContainsFunc(asked, func(k sshCriterion) bool { return !k.holds(value, q.people.groups) })
		}
		values := slices.Concat(q.always[facet], q.more[facet])
		if facet == sshName { // unless names are asked for, an address is a host's name
			values = slices.Concat(q.more[facet], q.always[sshFrom], q.more[sshFrom])
			if len(asked) == 0 {
				continue
			}
		}
		i := slices.IndexFunc(values, meets)
		if i < 0 {
			q.nobody(block, asked, s)
			return
		}
		c[facet] = values[i]
		if facet == sshName && !slices.Contains(q.more[facet], values[i]) {
			c[sshFrom] = values[i]
		}
	}
	q.add(c)
}

// nobody says why no connection was found that a block is for, unless there can be none:
// nobody is in a group, or all patterns are negated.
func (q *sshQuestions) nobody(block *sshBlock, asked []sshCriterion, s *SSH) {
	for _, k := range asked {
		if !slices.ContainsFunc(strings.Split(k.patterns, ","), func(p string) bool { return !strings.HasPrefix(p, "!") }) {
			return
		}
	}
	if slices.ContainsFunc(asked, func(k sshCriterion) bool { return k.kind == "group" }) && !q.people.elsewhere {
		s.Asked = append(s.Asked, fmt.Sprintf("the Match of %s is for nobody here: %v", block.at, asked))
		return
	}
	s.unasked("the Match of %s: nobody was found whom it is for: %v", block.at, asked)
}

// all asks about everybody who logs in, from every address, and about each way in which
// the criteria can be met together; left is how many of these didn't fit.
func (q *sshQuestions) all() (left int) {
	for _, facet := range []sshFacet{sshUser, sshFrom, sshTo, sshPort} {
		for _, value := range q.always[facet] {
			for _, user := range []string{stranger, "root"} {
				c := q.usual()
				c[sshUser] = user
				c[facet] = value
				if !q.add(c) {
					left++
				}
			}
		}
	}
	var classes [sshFacets][]string
	for facet := range sshFacets {
		classes[facet] = q.classes(facet)
	}
	all := 1
	for _, values := range classes {
		if all *= len(values); all > sshMostClasses {
			return all
		}
	}
	for i := range all {
		var c sshConnection
		for facet, values := range classes {
			c[facet] = values[i%len(values)]
			i /= len(values)
		}
		if !q.add(c) {
			left++
		}
	}
	return left
}

// classes are values of a facet, one for each way in which the files' criteria are met
// by it.
func (q *sshQuestions) classes(facet sshFacet) (values []string) {
	known := map[string]bool{}
	candidates := slices.Concat(q.always[facet], q.more[facet])
	if facet == sshName {
		candidates = append([]string{""}, candidates...)
	}
	for _, value := range candidates {
		var met strings.Builder
		for _, block := range q.files.blocks {
			for _, k := range block.criteria {
				// An address is the host's name too.
				if f, asks := sshAsks[k.kind]; asks && (f == facet || f == sshName && facet == sshFrom) {
					fmt.Fprint(&met, k.holds(value, q.people.groups), " ")
				}
			}
		}
		if !known[met.String()] || facet == sshName && value == "" {
			known[met.String()] = true
			values = append(values, value)
		}
	}
	return values
}

// values are those of a facet that were asked about.
func (q *sshQuestions) values(facet sshFacet) []string {
	all := map[string]bool{}
	for _, c := range q.list {
		if c[facet] != "" && (facet != sshName || c[sshName] != c[sshFrom]) {
			all[c[facet]] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
