package engine

import (
	"errors"
	"fmt"
	"slices"
)

// A Use is something that an application does with its cache. It decides what
// the application may do to the engine.
type Use string

// The uses that a policy may name.
const (
	Cache    Use = "cache"    // values that can be computed again
	Sessions Use = "sessions" // log-in sessions: lost means logged out
	Locks    Use = "locks"    // locks and rate limits: their libraries run scripts
	PubSub   Use = "pubsub"   // messages between processes
	Queues   Use = "queues"   // jobs: lost means not done, so nothing is evicted
)

// Policy says what the application may do. Its zero value is a plain cache.
type Policy struct {
	Uses       []Use    // what the cache is for; none means Cache
	Allow      []string // opened on purpose: "scripting", "functions"
	Deny       []string // closed on purpose: "keys", "flushdb", "pubsub", "tracking", "tracking"
	Memory     int64    // bytes for data; 0 means 2 GiB: the largest value, twice while it is written, and room
	MaxValue   int64    // bytes of the largest value; 0 means 512 MiB, Redis's own limit
	MaxClients int      // connections; 0 means 10000, Redis's own default
}

// Bounds and defaults of the numbers. The floors are the engine's own
// (config.c: proto-max-bulk-len is at least 1 MiB) or what leaves room for
// anything at all beside an empty engine's own megabytes.
const (
	mib = int64(1) << 20

	defaultMemory     = 2048 * mib
	leastMemory       = 16 * mib
	mostMemory        = int64(1) << 50
	defaultMaxValue   = 512 * mib
	leastMaxValue     = 1 * mib
	mostMaxValue      = 512 * mib
	defaultMaxClients = 10000
	mostMaxClients    = 1_000_000
)

// An Opening is something that the application may do beyond reading and
// writing its own keys. Each is a risk that the dossier records.
type Opening struct {
	Name  string   // as Allow or Deny name it
	Rules []string // what it adds to the application user's ACL
	Risk  string   // what it costs, for the risk register

	Record int // the number of the decision about it, in docs/decisions; 0 of a use

	byDefault bool // open unless denied; else shut unless allowed
}

// openings is every switch that a policy has. Reasons: docs/decisions/0010 to 0013.
var openings = []Opening{
	{
		Name: "keys", Rules: []string{"+keys"}, byDefault: true, Record: 10,
		Risk: "KEYS walks the whole keyspace while every other client waits, and lists the names of all keys.",
	},
	{
		Name: "flushdb", Rules: []string{"+flushdb"}, byDefault: true, Record: 11,
		Risk: "One command of the application empties its database; the data must be rebuildable.",
	},
	{
		Name: "pubsub", Rules: []string{"+@pubsub"}, byDefault: true, Record: 13,
		Risk: "Every client that holds the password can listen to every channel; messages pass through memory only.",
	},
	{
		Name: "tracking", Rules: []string{"+client|tracking", "+client|caching"}, byDefault: true, Record: 125,
		Risk: "A client is told the names of keys that others write, all of them if it asks (BCAST). The sidecar refuses to have that sent to another connection (REDIRECT); the engine's ACL can't, so that who comes without a sidecar, with a certificate and the password, could disturb other connections by it.",
	},
	{
		Name:   "scripting",
		Record: 12,
		Rules:  []string{"+eval", "+eval_ro", "+evalsha", "+evalsha_ro", "+script|load", "+script|exists"},
		Risk:   "The application runs Lua inside the engine: past flaws of the interpreter gave code execution (CVE-2025-49844, CVE-2024-46981), a script can stop the cache for all, and redis.log() writes to the engine's log, of which nothing is passed on.",
	},
	{
		Name:   "functions",
		Record: 12,
		Rules:  []string{"+fcall", "+fcall_ro", "+function|load", "+function|list"},
		Risk:   "As scripting, and FUNCTION LOAD runs a library's top level while it loads; code that one client loads is run by others.",
	},
}

// A usage is what follows from a Use.
type usage struct {
	use   Use
	opens []string // openings that it needs

	// eviction is the maxmemory-policy that the use wants; among several uses
	// the one of the highest rank decides (docs/decisions/0014).
	eviction string
	rank     int

	// alone: wrong where hosts may go on to another cache (docs/decisions/0142).
	alone bool

	risk string
}

var usages = []usage{
	{
		use: Cache, eviction: "allkeys-lru", rank: 2,
		risk: "Values vanish when memory is full, the least recently used first: the cache is never the record of truth.",
	},
	{
		use: Sessions, eviction: "allkeys-lru", rank: 2,
		risk: "When memory is full the longest idle sessions end early: their users log in again.",
	},
	{
		use: Locks, opens: []string{"scripting"}, eviction: "noeviction", rank: 1, alone: true,
		risk: "Together with a cache or sessions a lock may be evicted before it expires, and two holders result; locks that must not fail want a deployment of their own.",
	},
	{
		use: PubSub, opens: []string{"pubsub"}, eviction: "allkeys-lru", rank: 0,
		risk: "A message is delivered to who listens at that moment, or to nobody.",
	},
	{
		use: Queues, opens: []string{"scripting"}, eviction: "noeviction", rank: 3, alone: true,
		risk: "Nothing is evicted: when memory is full, writes are refused. Jobs are lost when the engine ends, since nothing is ever written to a disk.",
	},
}

// Openings lists what the policy lets the application do beyond plain caching,
// with the risk of each; first those of its uses, then its switches.
func (p Policy) Openings() []Opening {
	p = p.withDefaults()
	var list []Opening
	for _, u := range p.usages() {
		list = append(list, Opening{Name: string(u.use), Risk: u.risk})
	}
	return append(list, p.switches()...)
}

// switches is the openings in effect: open by default and not denied, allowed,
// or needed by a use.
func (p Policy) switches() []Opening {
	needed := slices.Clone(p.Allow)
	for _, u := range p.usages() {
		needed = append(needed, u.opens...)
	}
	var open []Opening
	for _, o := range openings {
		if (o.byDefault && !slices.Contains(p.Deny, o.Name)) || slices.Contains(needed, o.Name) {
			open = append(open, o)
		}
	}
	return open
}

// usages is the table's rows for the policy's uses.
func (p Policy) usages() []usage {
	var rows []usage
	for _, u := range usages {
		if slices.Contains(p.Uses, u.use) {
			rows = append(rows, u)
		}
	}
	return rows
}

// eviction is the maxmemory-policy: that of the use with the highest rank.
func (p Policy) eviction() string {
	best := usage{eviction: "allkeys-lru", rank: -1}
	for _, u := range p.usages() {
		if u.rank > best.rank {
			best = u
		}
	}
	return best.eviction
}

// Alone says that the cache must not be one of several that a host may use: what holds
// a lock or a job in one of them is not in the others.
func (p Policy) Alone() bool {
	return slices.ContainsFunc(p.usages(), func(u usage) bool { return u.alone })
}

// withDefaults fills in what was left out.
func (p Policy) withDefaults() Policy {
	if len(p.Uses) == 0 {
		p.Uses = []Use{Cache}
	}
	if p.Memory == 0 {
		p.Memory = defaultMemory
	}
	if p.MaxValue == 0 {
		p.MaxValue = defaultMaxValue
	}
	if p.MaxClients == 0 {
		p.MaxClients = defaultMaxClients
	}
	return p
}

// A Fault is something that is wrong with one field of a policy.
type Fault struct {
	Field string // as configuration files write it: "uses"
	Text  string
}

func (f Fault) Error() string { return "engine: policy: " + f.Text }

// Validate says all that is wrong with the policy: Faults, joined.
func (p Policy) Validate() error {
	p = p.withDefaults()
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
	}

	for _, u := range p.Uses {
		if !slices.ContainsFunc(usages, func(row usage) bool { return row.use == u }) {
			fault("uses", "unknown use %q: choose from %s", u, names(usages, func(row usage) (string, bool) { return string(row.use), true }))
		}
	}
	for _, list := range []struct {
		what      string
		entries   []string
		byDefault bool
	}{{"allow", p.Allow, false}, {"deny", p.Deny, true}} {
		for _, name := range list.entries {
			if !slices.ContainsFunc(openings, func(o Opening) bool { return o.Name == name && o.byDefault == list.byDefault }) {
				fault(list.what, "%s cannot name %q: choose from %s", list.what, name,
					names(openings, func(o Opening) (string, bool) { return o.Name, o.byDefault == list.byDefault }))
			}
		}
	}
	for _, row := range p.usages() {
		for _, name := range row.opens {
			if slices.Contains(p.Deny, name) {
				fault("deny", "the use %q needs %q, which deny closes: drop one of the two", row.use, name)
			}
		}
	}
	for _, n := range []struct {
		field, what        string
		value, least, most int64
	}{
		{"memory", "memory", p.Memory, leastMemory, mostMemory},
		{"max_value", "the largest value", p.MaxValue, leastMaxValue, mostMaxValue},
		{"max_clients", "the number of clients", int64(p.MaxClients), 1, mostMaxClients},
	} {
		if n.value < n.least || n.value > n.most {
			fault(n.field, "%s is %d: it must lie between %d and %d", n.what, n.value, n.least, n.most)
		}
	}
	return errors.Join(faults...)
}

// names joins the names of those rows that count, for an error's reader.
func names[T any](rows []T, name func(T) (string, bool)) string {
	text := ""
	for _, row := range rows {
		if n, counts := name(row); counts {
			if text != "" {
				text += ", "
			}
			text += n
		}
	}
	return text
}

// MostOpen is every use and every opening at once: what it refuses, each policy
// refuses.
func MostOpen() (p Policy) {
	for _, u := range usages {
		p.Uses = append(p.Uses, u.use)
	}
	for _, o := range openings {
		if !o.byDefault {
			p.Allow = append(p.Allow, o.Name)
		}
	}
	return p
}
