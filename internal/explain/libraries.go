package explain

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// A Feature is something that a library does, and what it sends for it, as recorded by
// test/libraries from the library itself.
type Feature struct {
	Library string `json:"library"`
	Version string `json:"version"`
	Name    string `json:"feature"`
	// Refused is what the library makes of it where the policy is a plain cache: the
	// feature Works, it Fails, or it GoesOn: the application learns nothing, whether or
	// not what it asked for was done.
	Refused  string   `json:"under_cache"`
	Commands []string `json:"commands"` // names of the table, in alphabetical order
	Needs    Needs    `json:"needs"`
}

// What becomes of a feature under the policy of a plain cache.
const (
	Works  = "works"
	Fails  = "fails"
	GoesOn = "goes on"
)

// Needs is what a policy must say for a feature to work.
type Needs struct {
	Closed []string     `json:"closed"` // of its commands, those that a plain cache closes
	Uses   []engine.Use `json:"uses"`   // each of these opens them all
	Allow  []string     `json:"allow"`  // or these together
	Open   []string     `json:"open"`   // must not be denied
	Never  []string     `json:"never"`  // no policy opens these
}

// recorded is written by go test -tags slow ./test/libraries -update.
//
//go:embed libraries.tsv
var recorded string

// Features reads the record.
func Features() (list []Feature) { return ParseFeatures(recorded) }

// ParseFeatures reads a record: a line a feature, of library, version, feature, what
// becomes of it under a plain cache, and commands, apart by tabs.
func ParseFeatures(text string) (list []Feature) {
	for line := range strings.Lines(text) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(words) != 5 {
			continue
		}
		f := Feature{Library: words[0], Version: words[1], Name: words[2], Refused: words[3], Commands: strings.Fields(words[4])}
		f.Needs = NeedsOf(f.Commands)
		list = append(list, f)
	}
	return list
}

// NeedsOf finds what a policy must say to open commands, which are names of the table.
func NeedsOf(commands []string) Needs {
	n := Needs{Closed: []string{}, Uses: []engine.Use{}, Allow: []string{}, Open: []string{}, Never: []string{}}
	for _, name := range commands {
		c := lookup(name)
		if c.Class == command.Local || !c.Known() {
			continue
		}
		o := openersOf(c)
		if !closedByDefault(c) {
			n.Open = addNew(n.Open, o.Deny...)
			continue
		}
		if c.Barred || len(o.Uses)+len(o.Allow) == 0 {
			n.Never = append(n.Never, name)
			continue
		}
		if n.Closed = append(n.Closed, name); len(n.Closed) == 1 {
			n.Uses = o.Uses
		}
		n.Uses = slices.DeleteFunc(slices.Clone(n.Uses), func(u engine.Use) bool { return !slices.Contains(o.Uses, u) })
		n.Allow = addNew(n.Allow, o.Allow[:min(1, len(o.Allow))]...)
	}
	return n
}

// closedByDefault says whether an application is refused a command where the policy says
// nothing but what a plain cache is.
func closedByDefault(c *command.Command) bool {
	return c.Barred || !engine.Policy{}.Opens(newestOf(c), c.Name, c.Categories)
}

func addNew(list []string, words ...string) []string {
	for _, w := range words {
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list
}

// lookup finds a command by its name in the table.
func lookup(name string) *command.Command {
	parent, sub, _ := strings.Cut(name, "|")
	return command.Lookup([]byte(parent), []byte(sub))
}
