package migration

import (
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// groups are the commands that a policy opens and closes together.
var groups = []struct {
	names   string // whoever closes all of these means the group
	others  string // belong to it
	what    string
	allowed bool // by Allow; else closed by Deny
}{
	{"keys", "", "keys", false},
	{"flushdb", "", "flushdb", false},
	{"publish subscribe psubscribe", "spublish ssubscribe unsubscribe sunsubscribe punsubscribe pubsub", "pubsub", false},
	{"eval eval_ro evalsha evalsha_ro script", "", "scripting", true},
	{"fcall fcall_ro function", "", "functions", true},
}

// A closing is a line that closed commands, to all or to the user of
// applications.
type closing struct {
	setting
	was     string   // how it is told; "": the commands
	names   []string // of commands
	renamed bool     // they could still be called, by another name
}

// commands are those that were closed, renamed or taken away, and those that are
// closed from now on: what the old user could run is held against what the
// deployment answers, in both directions.
func (r *reader) commands() error {
	r.policy.Allow = r.options.Allow
	for _, s := range r.conf.all("rename-command") {
		if len(s.args) != 2 {
			return s.errorf("rename-command takes a command and its new name")
		}
		name, to := strings.ToLower(s.args[0]), s.args[1]
		c := closing{setting: s, was: clip(name), names: matching(name), renamed: to != ""}
		switch {
		case strings.EqualFold(name, to):
			r.closing(c, Dropped, "", "It renames nothing.")
		case len(c.names) == 0 || strings.ContainsAny(name, "|@"):
			r.closing(c, Refused, "", noSuchCommand)
		default:
			r.closings = append(r.closings, c)
		}
	}
	var all, gone []string // by their names; by all
	for _, c := range r.closings {
		if all = append(all, c.names...); !c.renamed {
			gone = append(gone, c.names...)
		}
	}
	for _, g := range groups {
		if !g.allowed && !slices.ContainsFunc(strings.Fields(g.names), func(n string) bool { return !slices.Contains(gone, n) }) && !r.opened(g.what) {
			r.deny(g.what)
		}
	}
	for _, c := range r.closings {
		r.judge(c)
	}
	r.ended(all)
	return nil
}

const noSuchCommand = "No Redis or Valkey that we know has this command. If it is a module's, it is gone, and so is the module: go on."

// judge says what becomes of the commands that a line closed.
func (r *reader) judge(c closing) {
	var fates []closure // in the order of the names
	sorted := map[closure][]string{}
	for _, name := range c.names {
		fate := r.closure(name, c.renamed)
		if sorted[fate] == nil {
			fates = append(fates, fate)
		}
		sorted[fate] = append(sorted[fate], name)
	}
	for _, fate := range fates {
		one, names := c, sorted[fate]
		if c.was == "" {
			one.was = brief(names)
		} else if more := brief(names); more != c.was {
			one.was = c.was + " (" + more + ")"
		}
		r.closing(one, fate.verdict, fate.becomes, fate.why)
	}
}

// A closure is what becomes of a command that was closed.
type closure struct {
	verdict      Verdict
	becomes, why string
}

// ofData are the categories of commands that reach values, keys or messages, or run
// code. The others that an application may run tell of the connection and the
// engine.
var ofData = []string{"@read", "@write", "@keyspace", "@pubsub", "@scripting", "@transaction"}

func (r *reader) closure(name string, renamed bool) closure {
	found := lookupCommand(name)
	switch answered := r.answered(found); {
	case !answered && renamed:
		return closure{Tightened, "", "It was hidden behind another name, and is gone for every client now: what it changed is in gateway.yaml."}
	case !answered:
		if what := group(name); what != "" && slices.Contains(r.policy.Deny, what) {
			return closure{Kept, "engine.deny: [" + what + "]", "Closed, as it was."}
		} else if what != "" {
			return closure{Kept, "", "Closed, as it was: " + what + " must be opened on purpose."}
		}
		return closure{Kept, "", "Closed for every client, as it was."}
	case found.Class == command.Local && found.Name != "exec" && found.Name != "discard" && found.Name != "unwatch":
		return closure{Changed, "", "It was closed, and is answered now: by the sidecar, from what it knows itself (fixed settings, the application's own connections, no addresses of other hosts); the engine isn't asked. A policy can't close it."}
	case !slices.ContainsFunc(found.Categories, func(c string) bool { return slices.Contains(ofData, c) }):
		return closure{Changed, "", "It was closed, and is open now: every application may run it, and a policy can't close it. It tells of the connection or the engine (its version, memory, counts), and reaches no key."}
	case renamed:
		return closure{Refused, "", "Applications that call it by its other name get an error, and by its own name it is open."}
	}
	if what := group(name); what != "" && r.opened(what) {
		return closure{Refused, "", "It was closed, and what the cache is for (" + usesList(r.policy.Uses) + ") or --allow opens " + what + ": name other uses (--uses cache), or go on with it open."}
	}
	return closure{Refused, "", "It was closed, and a policy can't close it by itself: it would be open again."}
}

// ended says which commands the old user could run and nobody can now. Of those
// that one kind of engine has only, nothing is said.
func (r *reader) ended(closed []string) {
	var apps, admins []string
	for _, name := range matching("@all") {
		c := lookupCommand(name)
		parent, sub, _ := strings.Cut(name, "|")
		switch {
		case c.Since != "" || sub == "help" || slices.Contains(closed, name) || r.answered(c):
		case group(name) != "" && c.Class != command.Refused || slices.Contains(strings.Fields(needed), parent):
			apps = append(apps, name)
		default:
			admins = append(admins, name)
		}
	}
	for _, list := range []struct {
		names []string
		why   string
	}{
		{apps, "They were open, and are closed. No file tells whether an application calls them, the running Redis does: --commandstats. What --allow and --uses open is in docs/migration.md."},
		{admins, "They were open, and nobody can run them now. What they told is in redoubt status and the metrics, what they changed in gateway.yaml."},
	} {
		if len(list.names) > 0 {
			r.unsaid("commands", Changed, "", list.why).Was = brief(list.names)
		}
	}
}

func lookupCommand(name string) *command.Command {
	parent, sub, _ := strings.Cut(name, "|")
	return command.Lookup([]byte(parent), []byte(sub))
}

// answered says whether an application gets an answer to a command, other than that
// it may not: from the engine under this policy, or from the sidecar itself.
func (r *reader) answered(c *command.Command) bool {
	if c.Class == command.Local || slices.Contains(strings.Fields(unchecked), c.Name) {
		return true
	}
	if c.Barred {
		return false
	}
	versions := []engine.Version{{Product: "redis", Major: 7}} // the oldest of those that have it, and the newest
	if c.Since != "" {
		versions = nil
	}
	for _, product := range []string{"redis", "valkey"} {
		if c.Since == "" || strings.Contains(c.Since, product) {
			versions = append(versions, engine.Version{Product: product, Major: 99})
		}
	}
	return slices.ContainsFunc(versions, func(v engine.Version) bool { return r.policy.Opens(v, c.Name, c.Categories) })
}

// group is what the policy calls the group of a command; "" if it is in none.
func group(name string) string {
	parent, _, _ := strings.Cut(name, "|")
	for _, g := range groups {
		if slices.Contains(strings.Fields(g.names+" "+g.others), parent) {
			return g.what
		}
	}
	return ""
}

// brief names commands, a parent in place of all its subcommands.
func brief(names []string) string {
	var words []string
	for _, name := range names {
		parent, _, _ := strings.Cut(name, "|")
		word := name
		rest := func(n string) bool { return !slices.Contains(names, n) && n != parent+"|help" }
		if !slices.ContainsFunc(matching(parent), rest) {
			word = parent
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func (r *reader) closing(c closing, v Verdict, becomes, why string) {
	r.find(c.setting, v, becomes, why).Was = c.was
}

func (r *reader) deny(what string) {
	if !slices.Contains(r.policy.Deny, what) {
		r.policy.Deny = append(r.policy.Deny, what)
	}
}

// opened says whether what the caller asked for opens something.
func (r *reader) opened(what string) bool {
	if slices.Contains(r.options.Allow, what) {
		return true
	}
	return slices.ContainsFunc(r.policy.Uses, func(u engine.Use) bool {
		p := engine.Policy{Uses: []engine.Use{u}, Deny: []string{"keys", "flushdb", "pubsub"}}
		return slices.ContainsFunc(p.Openings(), func(o engine.Opening) bool { return o.Name == what && len(o.Rules) > 0 })
	})
}
