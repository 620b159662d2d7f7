package host

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Bounds of the questions to one sshd, of which each takes some 20 ms of a processor.
// What is left unasked is told.
const (
	sshMostQuestions = 400
	sshMostClasses   = 1 << 14
	sshAtOnce        = 4
)

// SSH is what the ssh servers of this host would do for everybody who could come.
type SSH struct {
	Answers []SSHAnswer
	Asked   []string // what was asked about, for people
	Unasked []string // what was not, and why: it may be otherwise there
}

// A SSHAnswer is what one of them would do for one connection.
type SSHAnswer struct {
	Who      string
	Settings map[string]string // each keyword, in lower case, with its values

	connection sshConnection
	files      *sshFiles
	people     people
}

// AskSSH asks sshd, by its own reading of its files and of what it was started with,
// about every account that can log in, and about a connection for each way in which
// the Match blocks of its files can hold together: made of users and groups, of
// addresses of the bastions, this host and the patterns, and of ports. ErrNoSSHD: there
// is none.
func AskSSH(ctx context.Context, bastions []netip.Prefix) (*SSH, error) {
	servers, err := sshdsHere(ctx)
	if err != nil {
		return nil, err
	}
	people, err := knownPeople()
	if err != nil {
		return nil, err
	}
	s := new(SSH)
	for _, server := range servers {
		if err := s.askAll(ctx, server, bastions, people); err != nil {
			return nil, fmt.Errorf("%s: %w", server.by, err)
		}
	}
	return s, nil
}

func (s *SSH) askAll(ctx context.Context, server sshServer, bastions []netip.Prefix, people people) error {
	files := readSSHFiles(server.args)
	for _, lacking := range files.lack {
		s.unasked("not read: %s", lacking)
	}
	general, err := server.ask(ctx, anybody)
	if err != nil {
		return err
	}
	q := newSSHQuestions(files, general, server.ports, bastions, people)
	q.add(q.usual())
	for _, block := range files.blocks {
		q.applyTo(block, s)
	}
	left := q.all()
	if left > 0 {
		s.unasked("%d further connections that the Match blocks of %s tell apart", left, server.by)
	}
	unanswered := 0
	take := func(i int, settings map[string]string, err error) error {
		switch {
		case err == nil:
			s.Answers = append(s.Answers, SSHAnswer{Who: q.list[i].String(), Settings: settings, connection: q.list[i], files: files, people: people})
		case ctx.Err() != nil:
			unanswered++
		default:
			return err
		}
		return nil
	}
	if err := askEach(ctx, server, q.list, take); err != nil {
		return err
	}
	if unanswered > 0 {
		s.unasked("%d of %d connections, since the time was over", unanswered, len(q.list))
	}
	s.Asked = append(s.Asked, fmt.Sprintf("%s: %d connections, %d Match blocks", server.by, len(q.list)-unanswered, len(files.blocks)))
	for facet, what := range []string{"users", "host names", "from", "to", "ports", "routing domains"} {
		if values := q.values(sshFacet(facet)); len(values) > 0 {
			s.Asked = append(s.Asked, fmt.Sprintf("%s: %s", what, strings.Join(values, " ")))
		}
	}
	return nil
}

// askEach asks about some connections at a time, and hands on the answers in order.
// Each sshd is started by the caller's own thread, whose view of the files may be one
// of its own.
func askEach(ctx context.Context, server sshServer, list []sshConnection, take func(i int, settings map[string]string, err error) error) error {
	waiting := make([]func() (map[string]string, error), len(list))
	for i := range len(list) + sshAtOnce {
		if i < len(list) {
			waiting[i] = server.start(ctx, list[i])
		}
		if at := i - sshAtOnce; at >= 0 {
			settings, err := waiting[at]()
			if err := take(at, settings, err); err != nil {
				for _, wait := range waiting[at+1 : min(i+1, len(list))] {
					wait()
				}
				return err
			}
		}
	}
	return nil
}

func (s *SSH) unasked(format string, args ...any) {
	s.Unasked = append(s.Unasked, fmt.Sprintf(format, args...))
}

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

// people are the users that this host knows.
type people struct {
	logIn, all []string
	groups     map[string][]string // of each
	elsewhere  bool                // a directory service knows others
}

func knownPeople() (p people, err error) {
	accounts, err := Accounts()
	if err != nil {
		return p, err
	}
	groups, err := Groups()
	if err != nil {
		return p, err
	}
	p.groups = map[string][]string{}
	for _, a := range accounts {
		if !sayable(a.Name) {
			continue
		}
		p.all = append(p.all, a.Name)
		if a.Login() {
			p.logIn = append(p.logIn, a.Name)
		}
		for _, g := range groups {
			if g.has(a) {
				p.groups[a.Name] = append(p.groups[a.Name], g.Name)
			}
		}
	}
	text, _ := os.ReadFile("/etc/nsswitch.conf")
	for line := range strings.Lines(string(text)) {
		database, sources, _ := strings.Cut(line, ":")
		if database = strings.TrimSpace(database); database != "passwd" && database != "group" {
			continue
		}
		sources, _, _ = strings.Cut(sources, "#")
		p.elsewhere = p.elsewhere || slices.ContainsFunc(strings.Fields(sources), func(source string) bool {
			return !slices.Contains([]string{"files", "compat", "systemd", "db"}, source) && !strings.HasPrefix(source, "[")
		})
	}
	return p, nil
}
