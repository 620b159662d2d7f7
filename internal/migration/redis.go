package migration

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// A server is what redis.conf says of itself, as far as Redoubt can keep it.
type server struct {
	policy   engine.Policy
	password credential

	file      string
	port      int // 0: no plain TCP
	tlsPort   int
	socket    string
	addresses []string // bind
}

// Numbers of engine.Policy that a redis.conf may exceed (config's schema).
const (
	leastMemory   = 16 << 20
	mostMemory    = 16 << 40
	defaultMemory = 2 << 30
	leastValue    = 1 << 20
	mostValue     = 512 << 20
	leastClients  = 16
	mostClients   = 1_000_000
)

// readServer reads redis.conf and finds about every line of it.
func (j *journal) readServer(o Options) (*server, error) {
	conf, err := readRedis(o.Redis)
	if err != nil {
		return nil, err
	}
	r := &reader{journal: j, conf: conf, server: &server{file: o.Redis, port: 6379}, options: o}
	for _, step := range []func() error{r.listening, r.tls, r.eviction, r.memory, r.numbers, r.users, r.commands, r.used} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := r.policy.Validate(); err != nil {
		return nil, fmt.Errorf("%s: what follows from it and from --uses and --allow is no policy: %w", o.Redis, err)
	}
	r.rest()
	r.defaults()
	return r.server, nil
}

// reader goes through a redis.conf subject by subject.
type reader struct {
	*journal
	*server
	conf    *redisConf
	options Options

	seen     []place   // lines that have their finding
	closings []closing // lines that closed commands
	locked   bool      // nobody logs in as the application's user
}

// find is a finding about a line; it marks the line as seen.
func (r *reader) find(s setting, v Verdict, becomes, why string) *Finding {
	d, _ := lookup(s.name)
	f := Finding{File: s.file, Line: s.line, Name: s.name, Verdict: v, Becomes: becomes, Why: why}
	if !d.secret {
		f.Was = s.value()
	}
	if f.Why == "" {
		f.Why = d.why
	}
	r.seen = append(r.seen, s.place)
	r.add(f)
	return &r.findings[len(r.findings)-1]
}

// unsaid is a finding about what no line says.
func (r *reader) unsaid(name string, v Verdict, becomes, why string) *Finding {
	r.add(Finding{File: r.file, Name: name, Verdict: v, Becomes: becomes, Why: why})
	return &r.findings[len(r.findings)-1]
}

// one is the setting that counts of a directive; those before it are said to be
// without effect.
func (r *reader) one(names ...string) (s setting, set bool, err error) {
	s, set = r.conf.last(names...)
	for _, earlier := range r.conf.settings {
		if slices.Contains(names, earlier.name) && earlier.place != s.place {
			r.find(earlier, Dropped, "", fmt.Sprintf("It is set again at %s:%d.", s.file, s.line))
		}
	}
	if set && len(s.args) != 1 {
		return s, set, s.errorf("%s takes one value", s.name)
	}
	return s, set, nil
}

// number is the setting's value, a size if units are allowed.
func (r *reader) number(units bool, names ...string) (n int64, s setting, set bool, err error) {
	s, set, err = r.one(names...)
	if err != nil || !set {
		return 0, s, set, err
	}
	if units {
		n, err = parseSize(s.args[0])
	} else {
		n, err = strconv.ParseInt(s.args[0], 10, 64)
	}
	if err != nil || n < 0 {
		return 0, s, set, s.errorf("%s has no number as its value", s.name)
	}
	return n, s, set, nil
}

// sizeUnits are those of redis.conf, where k is a thousand and kb is 1024
// (util.c, memtoull).
var sizeUnits = []struct {
	suffix string
	factor int64
}{{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"g", 1e9}, {"m", 1e6}, {"k", 1e3}, {"b", 1}, {"", 1}}

func parseSize(text string) (int64, error) {
	text = strings.ToLower(text)
	for _, u := range sizeUnits {
		digits, fits := strings.CutSuffix(text, u.suffix)
		if !fits {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err == nil && n > (1<<62)/u.factor {
			return 1 << 62, nil // larger than any bound of ours
		}
		return n * u.factor, err
	}
	return 0, strconv.ErrSyntax
}

func size(n int64) string { return config.Size(n).String() }

// memory is how much the cache holds, and the largest value in it.
func (r *reader) memory() error {
	n, s, set, err := r.number(true, "maxmemory")
	if err != nil {
		return err
	}
	r.policy.Memory = min(max(n, leastMemory), mostMemory)
	becomes := func() string { return "engine.memory: " + size(r.policy.Memory) }
	switch {
	case n == 0:
		r.policy.Memory = defaultMemory
		const why = "There was no limit: the kernel would have ended what used too much. This is Redoubt's default; set what the host can spare."
		if set {
			r.find(s, Changed, becomes(), why)
		} else {
			r.unsaid("maxmemory", Changed, becomes(), "It is not set. "+why)
		}
	case n != r.policy.Memory:
		r.find(s, Changed, becomes(), fmt.Sprintf("Redoubt takes from %s to %s.", size(leastMemory), size(mostMemory)))
	default:
		r.find(s, Kept, becomes(), "The memory for data.")
	}

	n, s, set, err = r.number(true, "proto-max-bulk-len")
	if err != nil {
		return err
	}
	if !set {
		n = mostValue
	}
	r.policy.MaxValue = min(max(n, leastValue), mostValue)
	if r.policy.MaxValue > r.policy.Memory {
		r.policy.MaxValue = r.policy.Memory / 2 &^ (leastValue - 1)
	}
	becomes = func() string { return "engine.max_value: " + size(r.policy.MaxValue) }
	switch {
	case !set && r.policy.MaxValue != n:
		r.unsaid("proto-max-bulk-len", Changed, becomes(), "It is not set, which lets one value be of 512mb; the memory holds no such value, least of all twice, as while it is written.")
	case !set:
	case n != r.policy.MaxValue:
		r.find(s, Changed, becomes(), "Redoubt takes from 1mb to 512mb, and less than the memory.")
	default:
		r.find(s, Kept, becomes(), "The largest value.")
	}
	return nil
}

// asked are the uses that the caller names.
func (r *reader) asked() (uses []engine.Use) {
	for _, u := range r.options.Uses {
		uses = append(uses, engine.Use(u))
	}
	return uses
}

// eviction turns maxmemory-policy into uses, from which the engine's own follows.
func (r *reader) eviction() error {
	s, set, err := r.one("maxmemory-policy")
	if err != nil {
		return err
	}
	was := "noeviction" // Redis's default
	if set {
		was = strings.ToLower(s.args[0])
	}
	r.policy.Uses = r.asked()
	if len(r.policy.Uses) == 0 {
		r.policy.Uses = []engine.Use{engine.Cache}
		if set && was == "noeviction" {
			r.policy.Uses = []engine.Use{engine.Queues}
		}
	}
	becomes := fmt.Sprintf("engine.uses: %v", usesList(r.policy.Uses))
	is := engine.Wanted(engine.Version{Product: "redis", Major: 7}, r.policy)["maxmemory-policy"]
	switch {
	case was == is && set && is == "noeviction" && len(r.options.Uses) == 0:
		r.find(s, Kept, becomes, "Nothing is evicted, as before, and scripts may run, as before. If it is a plain cache, --uses cache: then scripts are closed and the least recently used keys make room.")
	case was == is && set:
		r.find(s, Kept, becomes, "The same eviction follows from what the cache is for.")
	case was == is: // not set, and the uses that the caller named want Redis's default
		r.unsaid("maxmemory-policy", Kept, becomes, "It is not set: nothing is evicted, as Redis's default is.")
	case !set:
		r.unsaid("maxmemory-policy", Changed, becomes, "It is not set, which is noeviction. When memory is full the least recently used keys now make room ("+is+"). If nothing may be lost, --uses queues or --uses locks.")
	case strings.HasPrefix(was, "volatile-"):
		r.find(s, Changed, becomes, "Keys without an expiry could not be evicted; now "+is+" decides over all keys. If those may not be lost, --uses queues or --uses locks, which evict nothing.")
	default:
		r.find(s, Changed, becomes, "The engine's policy is "+is+" there.")
	}
	return nil
}

func usesList(uses []engine.Use) string {
	words := make([]string, len(uses))
	for i, u := range uses {
		words[i] = string(u)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// numbers are the connections and databases.
func (r *reader) numbers() error {
	n, s, set, err := r.number(false, "maxclients")
	if err != nil {
		return err
	}
	if set {
		r.policy.MaxClients = int(min(max(n, leastClients), mostClients))
		becomes := fmt.Sprintf("engine.max_clients: %d", r.policy.MaxClients)
		if int64(r.policy.MaxClients) == n {
			r.find(s, Kept, becomes, "Connections that the engine accepts. Sidecars need few: most applications' connections share them.")
		} else {
			r.find(s, Changed, becomes, "Redoubt takes from 16 to 1000000.")
		}
	}
	const databases = 16
	n, s, set, err = r.number(false, "databases")
	switch {
	case err != nil:
		return err
	case set && n > databases:
		r.find(s, Refused, "", fmt.Sprintf("There are %d databases. Applications that SELECT a higher one get an error: go on if none does.", databases))
	case set && n < databases:
		r.find(s, Changed, "", fmt.Sprintf("There are %d databases.", databases))
	}
	return nil
}

// listening is where Redis could be reached.
func (r *reader) listening() error {
	for _, p := range []struct {
		name string
		into *int
	}{{"port", &r.port}, {"tls-port", &r.tlsPort}} {
		n, s, set, err := r.number(false, p.name)
		if err != nil {
			return err
		}
		if n > 65535 {
			return s.errorf("%s is no port", s.name)
		}
		if set {
			*p.into = int(n)
		}
	}
	s, set, err := r.one("unixsocket")
	if err != nil {
		return err
	}
	if set {
		r.socket = s.args[0]
	}
	bind, set := r.conf.last("bind")
	if set {
		r.addresses = bind.args
	}
	var open []string
	for _, a := range r.addresses {
		if !loopback(strings.TrimPrefix(a, "-")) {
			open = append(open, a)
		}
	}
	switch {
	case r.port == 0:
	case set && len(open) > 0:
		r.find(bind, Tightened, "", fmt.Sprintf("Port %d could be reached from other hosts, in plain text, around the tunnel. %s", r.port, ownSocket)).Weak = true
	case !set:
		r.unsaid("bind", Tightened, "", fmt.Sprintf("It is not set: Redis then listens on every address, in plain text, port %d. %s", r.port, ownSocket)).Weak = true
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// rest finds about the lines that no subject has taken.
func (r *reader) rest() {
	same := engine.Wanted(engine.Version{Product: "valkey", Major: 99}, r.policy)
	for name, value := range engine.Wanted(engine.Version{Product: "redis", Major: 99}, r.policy) {
		same[name] = value
	}
	for _, s := range r.conf.settings {
		if slices.Contains(r.seen, s.place) {
			continue
		}
		d, known := lookup(s.name)
		value, ours := same[s.name]
		switch {
		case !known:
			r.find(s, Unknown, "", "No Redis or Valkey that we know has this directive. Take it out of the file, or go on without it.").Was = ""
		case ours && value == s.value() && !d.secret:
			r.find(s, Kept, "", "The same with Redoubt.")
		case d.without(s.value()):
			r.find(s, Dropped, "", "It had no effect, and has none.")
		case d.verdict == Refused || d.weak:
			r.find(s, d.verdict, "", "").Weak = d.weak
		default:
			r.find(s, d.verdict, "", "")
		}
	}
	for _, s := range r.conf.empty {
		r.find(s, Dropped, "", "No file fits the pattern here; look on the cache host whether one does.")
	}
}

// defaults are what Redis does where no line says otherwise.
func (r *reader) defaults() {
	if _, set := r.conf.last("save"); !set {
		r.unsaid("save", Tightened, "", "It is not set: Redis then writes snapshots of all data to its disk. "+noDisk).Weak = true
	}
}
