package sidecar

import (
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
)

func lookup(name, sub string) *command.Command { return command.Lookup([]byte(name), []byte(sub)) }

func TestWayOfEachCommandByState(t *testing.T) {
	type step struct {
		name, sub string
		argc      int
		want      handling
	}
	for name, steps := range map[string][]step{
		"forwarded": {{"get", "k", 2, forward}, {"blpop", "q", 3, forward}, {"client", "info", 2, forward}, {"wait", "0", 3, forward}, {"dump", "k", 2, forward},
			{"client", "kill", 3, forward}, {"client", "tracking", 3, forward}},
		"relayed for good":             {{"subscribe", "a", 2, startRelay}, {"get", "k", 2, pass}, {"config", "get", 3, pass}, {"auth", "p", 2, pass}, {"monitor", "", 1, bar}, {"quit", "", 1, quit}},
		"unknown":                      {{"nosuch", "", 1, startRelay}, {"reset", "", 1, pass}, {"get", "k", 2, pass}},
		"unknown subcommand":           {{"client", "nosuch", 2, startRelay}},
		"reply mode":                   {{"client", "reply", 3, startRelay}},
		"rejected":                     {{"select", "", 1, forward}, {"multi", "x", 2, forward}, {"hello", "3", 2, track}, {"auth", "p", 2, track}},
		"HELLO or AUTH may be queued":  {{"multi", "", 1, track}, {"hello", "3", 2, startRelay}},
		"and after a rejected DISCARD": {{"multi", "", 1, track}, {"discard", "x", 2, forward}, {"auth", "p", 2, startRelay}},
		"a rejected EXEC ends MULTI":   {{"multi", "", 1, track}, {"exec", "x", 2, track}, {"auth", "p", 2, track}},
		"so do EXEC, DISCARD, RESET":   {{"multi", "", 1, track}, {"exec", "", 1, track}, {"multi", "", 1, track}, {"discard", "", 1, track}, {"multi", "", 1, track}, {"reset", "", 1, track}, {"hello", "3", 2, track}},
		"barred":                       {{"config", "set", 4, refuse}, {"shutdown", "", 1, refuse}, {"script", "debug", 3, refuse}, {"acl", "nosuch", 2, refuse}},
		"answered":                     {{"cluster", "slots", 2, answer}, {"cluster", "", 1, answer}, {"readonly", "", 1, answer}, {"client", "list", 2, answer}},
	} {
		var u upstream
		for i, s := range steps {
			if got := u.next(lookup(s.name, s.sub), s.argc); got != s.want {
				t.Errorf("%s, step %d (%s %s): %v, want %v", name, i, s.name, s.sub, got, s.want)
			}
		}
	}
}

func TestEachLocalCommandHasARoute(t *testing.T) {
	for _, c := range command.All() {
		if c.Class != command.Local {
			continue
		}
		switch c.Name {
		case "unwatch", "client|getname", "client|getredir", "client|info", "client|trackinginfo": // the lane is the session's own: it knows
			if route(c) != forward {
				t.Errorf("%s: %v", c.Name, route(c))
			}
		default:
			if route(c) == forward {
				t.Errorf("%s is local, but nothing here is done about it", c.Name)
			}
		}
	}
	for name := range routes {
		found := false
		for _, c := range command.All() {
			found = found || c.Name == name
		}
		if !found {
			t.Errorf("a route for %s, which is no command", name)
		}
	}
}

func TestWhatRepliesTell(t *testing.T) {
	hello := "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:42\r\n"
	start := profile{id: 1 << 41, protocol: 2}
	for name, c := range map[string]struct {
		effects []effect
		replies []string
		want    known
	}{
		"AUTH":           {[]effect{{command: "auth", user: "u"}}, []string{"+OK\r\n"}, known{profile: profile{id: 1 << 41, protocol: 2, user: "u"}}},
		"failing AUTH":   {[]effect{{command: "auth", user: "u"}, {command: "auth", user: "w"}}, []string{"+OK\r\n", "-WRONGPASS x\r\n"}, known{profile: profile{id: 1 << 41, protocol: 2, user: "u"}}},
		"queued AUTH":    {[]effect{{command: "auth", user: "u"}}, []string{"+QUEUED\r\n"}, known{profile: start}},
		"HELLO":          {[]effect{{command: "hello", user: "u", name: "n", named: true}}, []string{hello}, known{profile: profile{id: 42, protocol: 3, user: "u", name: "n"}}},
		"failing HELLO":  {[]effect{{command: "hello", user: "u", name: "n", named: true}}, []string{"-NOPROTO x\r\n"}, known{profile: start}},
		"SELECT":         {[]effect{{command: "select", db: 3}, {command: "select", db: 99}}, []string{"+OK\r\n", "-ERR x\r\n"}, known{profile: profile{id: 1 << 41, protocol: 2, db: 3}}},
		"MULTI":          {[]effect{{command: "multi"}}, []string{"+OK\r\n"}, known{profile: start, transaction: true}},
		"MULTI and EXEC": {[]effect{{command: "multi"}, {command: "exec"}}, []string{"+OK\r\n", "-EXECABORT x\r\n"}, known{profile: start}},
		"RESET":          {[]effect{{command: "hello", user: "u"}, {command: "multi"}, {command: "reset"}}, []string{hello, "+OK\r\n", "+RESET\r\n"}, known{profile: profile{id: 42, protocol: 2}}},
	} {
		k := known{profile: start}
		for i, e := range c.effects {
			k.learn(e, []byte(c.replies[i]))
		}
		if k != c.want {
			t.Errorf("%s: %+v, want %+v", name, k, c.want)
		}
	}
}

func TestEffectsHoldNoPassword(t *testing.T) {
	for _, words := range [][]string{{"AUTH", "hunter2"}, {"AUTH", "u", "hunter2"}, {"HELLO", "3", "AUTH", "u", "hunter2", "SETNAME", "n"}} {
		var args [][]byte
		for _, w := range words {
			args = append(args, []byte(w))
		}
		e := effectOf(lookup(words[0], words[1]), args)
		if e.user == "hunter2" || e.name == "hunter2" || (e.user != "u" && e.user != "default") {
			t.Errorf("%q: %+v", words, e)
		}
	}
}
