package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What an engine says to a user who sends a command.
const (
	runs   = "runs"
	denied = "denied" // by the ACL: NOPERM
	gone   = "gone"   // renamed away: unknown command
)

// now is the commands that are not queued in a transaction: they act at once,
// or (the last, on Valkey 9) are refused there whoever asks.
var now = []string{"multi", "exec", "discard", "watch", "quit", "reset", "client|reply"}

// TestEveryCommandIsDecided sends every command and subcommand that the engine
// knows, as each kind of user, and compares with a table for reviewers to read.
func TestEveryCommandIsDecided(t *testing.T) {
	t.Parallel()
	opened := start(t, Options{}, everyDoorOpen)
	all := everyCommand(t, opened)
	v := opened.Version()

	columns := []string{"cache", "opened", "closed", supervisor}
	outcomes := make(map[string][]string)
	var own *running
	for _, p := range policies {
		r := start(t, Options{Policy: p.policy})
		for name, arity := range all {
			outcomes[name] = append(outcomes[name], try(t, r.app, name, arity, secrets{}))
			if got := try(t, r.app, name, arity, r.secret); got == runs && (strings.HasPrefix(name, "config") || strings.HasPrefix(name, "acl")) {
				t.Errorf("%s: an application that knew the secret name could run %s", p.name, name)
			}
		}
		own = r
	}
	for name, arity := range all {
		outcomes[name] = append(outcomes[name], try(t, own.own, name, arity, own.secret))
	}

	table := fmt.Sprintf("# Every command of %s, and what happens to it: by policy, and for our own user.\n# Written by: go test ./internal/engine -run EveryCommand -update\n%-30s", v, "# command")
	for _, c := range columns {
		table += fmt.Sprintf(" %-8s", c)
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		table = strings.TrimRight(table, " ") + fmt.Sprintf("\n%-30s", name)
		for _, o := range outcomes[name] {
			table += fmt.Sprintf(" %-8s", o)
		}
	}
	golden(t, "commands-"+strings.ReplaceAll(v.String(), " ", "-")+".txt", []byte(strings.TrimRight(table, " ")+"\n"))
}

// everyCommand asks an engine that hides nothing for its commands, with the
// number of arguments of each, its name included (negative: or more).
func everyCommand(t *testing.T, r *running) map[string]int {
	t.Helper()
	c := r.raw()
	arities := make(map[string]int)
	list, _ := c.do("COMMAND", "LIST").([]any)
	for _, name := range list {
		info, _ := c.do("COMMAND", "INFO", name.(string)).([]any)
		if len(info) != 1 {
			t.Fatalf("COMMAND INFO %s: %v", name, info)
		}
		judged := []any{info[0]}
		if subs := subcommands(info[0]); len(subs) > 0 {
			judged = subs // a container runs nothing itself
		}
		for _, about := range judged {
			entry := about.([]any)
			arity, err := strconv.Atoi(entry[1].(string))
			if err != nil {
				t.Fatalf("COMMAND INFO %s: %v", name, err)
			}
			arities[entry[0].(string)] = arity
		}
	}
	if len(arities) < 330 {
		t.Fatalf("the engine lists %d commands only", len(arities))
	}
	return arities
}

// subcommands is the tenth field of an entry of COMMAND INFO.
func subcommands(entry any) []any {
	fields := entry.([]any)
	if len(fields) < 10 {
		return nil
	}
	subs, _ := fields[9].([]any)
	return subs
}

// try sends a command inside a transaction, so that it is judged but not run,
// on a connection of its own.
func try(t *testing.T, login func() *client, name string, arity int, renamed secrets) string {
	t.Helper()
	words := strings.Split(name, "|")
	switch {
	case words[0] == "config" && renamed.config != "":
		words[0] = renamed.config
	case words[0] == "acl" && renamed.acl != "":
		words[0] = renamed.acl
	}
	for len(words) < max(arity, -arity) {
		words = append(words, "1")
	}
	c := login()
	defer c.conn.Close()
	var got any
	if !slices.Contains(now, name) && c.do("MULTI") == "OK" {
		got = c.do(words...)
	} else { // it acts at once, or the user may not even MULTI: our own
		got = c.do(words...)
	}
	text, refused := got.(refusal)
	switch {
	case !refused, name == "exec", name == "discard": // these two: "without MULTI"
		if strings.HasPrefix(string(text), "NOPERM") {
			return denied
		}
		return runs
	case strings.HasPrefix(string(text), "NOPERM"):
		return denied
	case strings.HasPrefix(string(text), "ERR unknown command"):
		return gone
	case strings.HasPrefix(string(text), "ERR"), strings.HasPrefix(string(text), "WRONGPASS"), strings.HasPrefix(string(text), "NOPROTO"), strings.HasPrefix(string(text), "NOSUB"):
		// It got past the ACL and did not like our arguments.
		if strings.Contains(string(text), "inside a transaction") || strings.Contains(string(text), "wrong number of arguments") {
			t.Errorf("%s: %s: judged before the ACL was asked", name, text)
		}
		return runs
	}
	t.Errorf("%s: %v: not understood", name, got)
	return ""
}

// TestSecretNamesAreShownNowhere: the names that CONFIG and ACL have, our
// password and its digest are in nothing that an application can ask for.
func TestSecretNamesAreShownNowhere(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: policies[1].policy})
	c := r.app()
	r.own().do(r.secret.config, "GET", "maxmemory") // so that they have been used
	r.own().do(r.secret.acl, "LIST")
	seen := ""
	for _, ask := range []string{
		"COMMAND", "COMMAND LIST", "COMMAND DOCS", "COMMAND INFO config acl", "INFO everything", "INFO commandstats", "INFO errorstats",
		"CLIENT INFO", "CONFIG GET *", "ACL WHOAMI", "COMMAND GETKEYS GET k", "FUNCTION LIST",
	} {
		seen += fmt.Sprint(c.do(strings.Fields(ask)...))
	}
	if !strings.Contains(seen, "cmdstat_config|get") {
		t.Error("the supervisor's own use of CONFIG GET is not in what was seen: not everything was")
	}
	for what, secret := range map[string]string{"CONFIG's name": r.secret.config, "ACL's name": r.secret.acl, "our password": r.secret.password, "its digest": digest(r.secret.password)} {
		if strings.Contains(seen, secret) {
			t.Errorf("the application can read %s", what)
		}
		cmdline := ""
		for _, f := range []string{"cmdline", "environ"} {
			cmdline += readProc(t, r.PID(), f)
		}
		if strings.Contains(cmdline, secret) || strings.Contains(r.log.String(), secret) {
			t.Errorf("%s stands in the engine's arguments, its environment or our log", what)
		}
	}
}
