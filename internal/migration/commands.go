package migration

import (
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// groups are the commands that a policy opens and closes together.
var groups = []struct {
	names   string // whoever closes one of these means all
	others  string // belong to it, but are no reason to close it
	what    string
	allowed bool // by Allow; else closed by Deny
}{
	{"keys", "", "keys", false},
	{"flushdb", "", "flushdb", false},
	{"@pubsub", "publish spublish subscribe ssubscribe psubscribe unsubscribe sunsubscribe punsubscribe pubsub", "pubsub", false},
	{"@scripting eval eval_ro evalsha evalsha_ro script", "", "scripting", true},
	{"fcall fcall_ro function", "", "functions", true},
}

// shut are commands and categories that no policy opens, besides those that
// package command refuses: the ACL's own (engine, appRules), and those that the
// sidecar answers itself.
const shut = "@admin @dangerous sort sort_ro lcs lolwut move georadius georadiusbymember cluster role client|list client|kill"

// close keeps a command closed that was closed, or says that a policy can't.
func (r *reader) close(s setting, name string) {
	parent, sub, _ := strings.Cut(name, "|")
	found := command.Lookup([]byte(parent), []byte(sub))
	for _, g := range groups {
		if !slices.Contains(strings.Fields(g.names), name) {
			continue
		}
		switch open := r.opened(g.what); {
		case !g.allowed:
			r.deny(g.what)
			r.closing(s, name, Kept, "engine.deny: ["+g.what+"]", "Closed, as it was.")
		case open:
			r.closing(s, name, Refused, "", "It was closed, and what the cache is for ("+usesList(r.policy.Uses)+") or --allow opens "+g.what+": name other uses (--uses cache), or go on with it open.")
		default:
			r.closing(s, name, Kept, "", "Closed, as it was: "+g.what+" must be opened on purpose.")
		}
		return
	}
	if slices.Contains(strings.Fields(shut), name) || found.Class == command.Refused {
		r.closing(s, name, Kept, "", "Gone for every client, as it was.")
		return
	}
	r.closing(s, name, Refused, "", "It was closed, and a policy can't close it by itself: it would be open again.")
}

func (r *reader) closing(s setting, name string, v Verdict, becomes, why string) {
	r.find(s, v, becomes, why).Was = name
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
	asked := engine.Policy{Uses: r.policy.Uses}
	return slices.ContainsFunc(asked.Openings(), func(o engine.Opening) bool { return o.Name == what })
}

// commands are those that were renamed or taken away, and what the caller opens.
func (r *reader) commands() error {
	r.policy.Allow = r.options.Allow
	for _, s := range r.conf.all("rename-command") {
		if len(s.args) != 2 {
			return s.errorf("rename-command takes a command and its new name")
		}
		name, to := strings.ToLower(s.args[0]), s.args[1]
		if to == "" || strings.EqualFold(name, to) {
			if to == "" {
				r.close(s, name)
			} else {
				r.closing(s, name, Dropped, "", "It renames nothing.")
			}
			continue
		}
		if found := command.Lookup([]byte(name), nil); found.Class == command.Refused || slices.Contains(strings.Fields(shut), name) {
			r.closing(s, name, Tightened, "", "It was hidden behind another name, and is gone for every client now: what it changed is in gateway.yaml.")
		} else {
			r.closing(s, name, Refused, "", "Applications that call it by its other name get an error, and by its own name it is open.")
		}
	}
	return nil
}
