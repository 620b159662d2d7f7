package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// Find takes words as people type commands ("GET CONFIG SET client|list") and finds what
// the table has; a command that is called by its subcommands alone stands for all of
// them. The error names what isn't there, and what may have been meant.
func Find(words []string) (list []*command.Command, err error) {
	words = strings.Fields(strings.ReplaceAll(strings.Join(words, " "), "|", " "))
	for i := 0; i < len(words); i++ {
		c := lookup(strings.ToLower(words[i]))
		if !c.Known() {
			hint := meant("", words[i], names(""))
			if hint == "" && i > 0 {
				hint = ": commands are named without their arguments"
			}
			return nil, fmt.Errorf("no Redis or Valkey that we know has the command %.40q%s", words[i], hint)
		}
		if !c.Container() {
			list = append(list, c)
			continue
		}
		if i+1 < len(words) {
			if sub := lookup(c.Name + "|" + strings.ToLower(words[i+1])); sub.Known() && sub != c {
				list = append(list, sub)
				i++
				continue
			}
			if !lookup(strings.ToLower(words[i+1])).Known() {
				return nil, fmt.Errorf("no Redis or Valkey that we know has the command %.40q%s", c.Typed()+" "+words[i+1], meant(c.Name+" ", words[i+1], names(c.Name+"|")))
			}
		}
		for _, sub := range command.All() {
			if strings.HasPrefix(sub.Name, c.Name+"|") {
				list = append(list, sub)
			}
		}
	}
	return list, nil
}

// names are the table's below a prefix, without it.
func names(prefix string) (list []string) {
	for _, c := range command.All() {
		if rest, ok := strings.CutPrefix(c.Name, prefix); ok && !strings.Contains(rest, "|") {
			list = append(list, rest)
		}
	}
	return list
}

// meant suggests the names nearest to a word that isn't one of them, each behind the
// lead; "" if none is near.
func meant(lead, word string, names []string) string {
	word = strings.ToLower(word)
	best, near := 1+min(2, len(word)/3), []string{} // more changes than that make any word of any other
	for _, name := range names {
		switch d := distance(word, name); {
		case d < best:
			best, near = d, []string{name}
		case d == best && len(near) > 0:
			near = append(near, name)
		}
	}
	if len(near) == 0 {
		return ""
	}
	for i := range near {
		near[i] = lead + near[i]
	}
	return ": did you mean " + strings.Join(near[:min(3, len(near))], " or ") + "?"
}

// distance counts the letters to put in, take out, exchange or swap with the next, to
// make b of a (Damerau and Levenshtein's, each place changed once). Neither is long.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before, last []int
	for i := range len(a) + 1 {
		row := make([]int, len(b)+1)
		for j := range row {
			switch {
			case i == 0 || j == 0:
				row[j] = i + j
				continue
			case a[i-1] == b[j-1]:
				row[j] = last[j-1]
			default:
				row[j] = 1 + min(last[j-1], last[j], row[j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// FindLibraries finds the features of libraries and frameworks by their names.
func FindLibraries(asked []string) (list []Feature, err error) {
	all := Features()
	for _, name := range asked {
		name = strings.ToLower(strings.TrimSpace(name))
		libraries := also[name]
		if libraries == nil {
			libraries = []string{name}
		}
		found := slices.DeleteFunc(slices.Clone(all), func(f Feature) bool { return !slices.Contains(libraries, f.Library) })
		switch {
		case len(found) > 0:
			list = append(list, found...)
		case slices.Contains(leftOut, name):
			return nil, fmt.Errorf("what %s sends is not recorded: its packages can't be had where the record is made. Run the application against the cache: the sidecar's log and redoubt status then name each command that is refused, and what opens it", name)
		default:
			return nil, fmt.Errorf("nothing is recorded of %.40q%s (recorded: %s)", name, meant("", name, Names()), strings.Join(Names(), ", "))
		}
	}
	return list, nil
}

// Names are what FindLibraries knows, in alphabetical order.
func Names() (list []string) {
	for _, f := range Features() {
		list = addNew(list, f.Library)
	}
	for name := range also {
		list = addNew(list, name)
	}
	slices.Sort(list)
	return list
}

// also are other names, of frameworks mostly.
var also = map[string][]string{
	"channels":        {"channels-redis"},
	"django":          {"django-redis", "channels-redis"},
	"express":         {"connect-redis"},
	"express-session": {"connect-redis"},
	"rails":           {"rails", "action-cable"},
	"symfony":         {"symfony-cache"},
}

// leftOut are libraries that people ask for and that were not recorded: they come from
// Maven, NuGet, crates.io or RubyGems alone.
var leftOut = []string{
	"spring", "spring-session", "spring-data-redis", "spring-cache", "jedis", "lettuce", "redisson",
	"stackexchange.redis", "aspnet", "aspnet-core", "signalr", "hangfire", "resque", "redis-rs", "horizon",
}
