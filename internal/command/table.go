package command

import (
	"embed"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:generate go test -run TestFactsAreTheEngines -update .

// facts are the engines' own statements; see the test that writes them.
//
//go:embed facts/*.txt
var facts embed.FS

// fact is a line of facts/: "name arity since flags categories".
type fact struct {
	name, since, flags string
	categories         []string
	arity              int
}

// entry is a command in the table.
type entry struct {
	Command
	container bool
}

// build joins decisions and facts.
func build() map[string]*entry {
	t := map[string]*entry{}
	for _, d := range decisions {
		for _, name := range strings.Fields(d.names) {
			t[name] = &entry{Command: Command{Name: name, Class: d.class, Barred: d.barred, Reason: d.reason, Record: d.record, Arity: -1}}
		}
	}
	for _, name := range strings.Fields(mayBlock) {
		t[name].MayBlock = true
	}
	for _, name := range strings.Fields(scripted) {
		t[name].Scripted = true
	}
	since := map[string]map[string]string{} // by name and product
	note := func(name, product, version string) {
		if since[name] == nil {
			since[name] = map[string]string{}
		}
		since[name][product] = version
	}
	for _, a := range ahead {
		product, version, _ := strings.Cut(a.since, " ")
		for _, name := range strings.Fields(a.names) {
			note(name, product, version)
		}
	}
	all := engines()
	for _, engine := range slices.Sorted(maps.Keys(all)) { // the oldest first
		product, _, _ := strings.Cut(engine, "-")
		for _, f := range all[engine] {
			if e := t[f.name]; e != nil {
				e.Arity = f.arity
				if e.Categories == nil {
					e.Categories = f.categories
				}
				note(f.name, product, f.since)
			}
		}
	}
	for name, e := range t {
		if parent, _, ok := strings.Cut(name, "|"); ok {
			t[parent].container = true
		}
		e.Since = sinceText(since[name])
	}
	for _, a := range ahead {
		for _, name := range strings.Fields(a.names) {
			if e := t[name]; e.Categories == nil {
				e.Categories = strings.Fields(a.categories)
			}
		}
	}
	for i, name := range slices.Sorted(maps.Keys(t)) {
		t[name].Index = i + 1
	}
	setUses(t)
	return t
}

// engines reads facts/, by engine ("redis-7.0").
func engines() map[string][]fact {
	all := map[string][]fact{}
	names, _ := fs.Glob(facts, "facts/*.txt") // the pattern is good, and files are embedded
	for _, name := range names {
		text, _ := facts.ReadFile(name)
		all[strings.TrimSuffix(path.Base(name), ".txt")] = parseFacts(string(text))
	}
	return all
}

func parseFacts(text string) (list []fact) {
	for l := range strings.Lines(text) {
		if words := strings.Fields(l); len(words) == 5 {
			arity, _ := strconv.Atoi(words[1])
			f := fact{name: words[0], since: words[2], flags: words[3], arity: arity}
			if words[4] != "-" {
				f.categories = strings.Split(words[4], ",")
			}
			list = append(list, f)
		}
	}
	return list
}

// sinceText tells since which version each product has a command; "" if all
// supported ones do: Redis since 7.0, of which Valkey 7.2 is the continuation.
func sinceText(by map[string]string) string {
	redis, valkey := by["redis"], by["valkey"]
	old := func(version string) bool {
		major, _, _ := strings.Cut(version, ".")
		n, err := strconv.Atoi(major)
		return err == nil && (n < 7 || strings.HasPrefix(version, "7.0"))
	}
	if old(redis) && valkey != "" {
		return ""
	}
	var parts []string
	if redis != "" {
		parts = append(parts, "redis "+redis)
	}
	if valkey != "" {
		parts = append(parts, "valkey "+valkey)
	}
	return strings.Join(parts, ", ")
}
