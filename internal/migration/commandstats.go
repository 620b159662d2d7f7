package migration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// needed are commands that applications call, not administrators, and that no
// policy opens: the engine's ACL refuses them (engine, appRules).
const needed = "sort sort_ro lcs georadius georadiusbymember dump restore migrate move flushall swapdb " +
	"vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange vrem vsetattr vsim"

// used holds what the running Redis counted against the policy: whether
// applications run scripts stands in no redis.conf.
func (r *reader) used() error {
	path := r.options.CommandStats
	if path == "" {
		return nil
	}
	open, counted := 0, 0
	err := new(library).lines(path, func(at place, text string) error {
		name, calls, ok := parseCommandStat(text)
		if !ok || calls == 0 {
			return nil
		}
		counted++
		v, why := r.fate(name)
		if v == Kept {
			open++
			return nil
		}
		r.add(Finding{File: at.file, Line: at.line, Name: name, Was: fmt.Sprintf("%d calls", calls), Verdict: v, Why: why})
		return nil
	})
	if err == nil && counted == 0 {
		err = fmt.Errorf("%s has no line such as cmdstat_get:calls=1,…: redis-cli info commandstats prints them", path)
	}
	if err == nil {
		r.add(Finding{File: path, Name: "commandstats", Was: fmt.Sprintf("%d of %d commands", open, counted), Verdict: Kept, Why: "Used, and open as before."})
	}
	return err
}

// parseCommandStat reads cmdstat_NAME:calls=N,…; other lines are none.
func parseCommandStat(text string) (name string, calls int64, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "cmdstat_")
	name, fields, found := strings.Cut(rest, ":calls=")
	if !ok || !found || name == "" {
		return "", 0, false
	}
	number, _, _ := strings.Cut(fields, ",")
	calls, err := strconv.ParseInt(number, 10, 64)
	return strings.ToLower(name), calls, err == nil && calls >= 0
}

// fate is what becomes of a command that somebody calls today.
func (r *reader) fate(name string) (Verdict, string) {
	parent, sub, _ := strings.Cut(name, "|")
	found := command.Lookup([]byte(parent), []byte(sub))
	closed := found.Class == command.Refused && name != "function|load" || name == "function|stats" // shows others' calls
	for _, g := range groups {
		names := strings.Fields(g.names + " " + g.others)
		if !slices.Contains(names, parent) || closed {
			continue
		}
		switch {
		case g.allowed && !r.opened(g.what):
			return Refused, "It is used, and is closed: open it with --allow " + g.what + ", if it is an application that uses it."
		case !g.allowed && slices.Contains(r.policy.Deny, g.what):
			return Refused, "It is used, although redis.conf closes " + g.what + ": somebody calls it by another name, or did before."
		}
		return Kept, ""
	}
	switch {
	case slices.Contains(strings.Fields(needed), parent):
		return Refused, "It is used, and no policy opens it: change the application, or go on if an administrator did it."
	case closed:
		return Changed, "An administrator's command was used; it is refused to everybody. What it told is in redoubt status and the metrics, what it changed in gateway.yaml."
	case !found.Known() && sub == "":
		return Refused, "It is used, and is no command of Redis's own, but a module's. " + noModules
	}
	return Kept, ""
}
