package sidecar

import (
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
)

func lookup(name, sub string) *command.Command { return command.Lookup([]byte(name), []byte(sub)) }

func TestUseOfEachCommandByState(t *testing.T) {
	const (
		send, track, answer, refuse  = command.Send, command.Track, command.Answer, command.Refuse
		change, doubt, uncount, quit = command.Change, command.Doubt, command.Uncount, command.Quit
	)
	type step struct {
		name, sub string
		argc      int
		want      command.Use
	}
	for name, steps := range map[string][]step{
		"sent": {{"get", "k", 2, send}, {"blpop", "q", 3, send}, {"wait", "0", 3, send}, {"dump", "k", 2, send},
			{"client", "kill", 3, send}, {"client", "tracking", 3, track}},
		"uncounted for good":           {{"client", "reply", 3, uncount}, {"get", "k", 2, uncount}, {"config", "get", 3, uncount}, {"auth", "p", 2, uncount}, {"monitor", "", 1, refuse}, {"quit", "", 1, quit}},
		"unknown":                      {{"nosuch", "", 1, doubt}, {"reset", "", 1, change}, {"get", "k", 2, send}},
		"unknown subcommand":           {{"client", "nosuch", 2, doubt}},
		"subscribed, perhaps":          {{"subscribe", "a", 2, doubt}, {"get", "k", 2, send}},
		"rejected":                     {{"select", "", 1, send}, {"multi", "x", 2, send}, {"hello", "3", 2, track}, {"auth", "p", 2, track}},
		"HELLO or AUTH may be queued":  {{"multi", "", 1, track}, {"hello", "3", 2, doubt}},
		"and after a rejected DISCARD": {{"multi", "", 1, track}, {"discard", "x", 2, send}, {"auth", "p", 2, doubt}},
		"a rejected EXEC ends MULTI":   {{"multi", "", 1, track}, {"exec", "x", 2, track}, {"auth", "p", 2, track}},
		"so do EXEC and DISCARD":       {{"multi", "", 1, track}, {"exec", "", 1, track}, {"multi", "", 1, track}, {"discard", "", 1, track}, {"hello", "3", 2, track}},
		"RESET":                        {{"multi", "", 1, track}, {"reset", "", 1, change}, {"reset", "x", 2, send}},
		"barred":                       {{"config", "set", 4, refuse}, {"shutdown", "", 1, refuse}, {"script", "debug", 3, refuse}, {"acl", "nosuch", 2, refuse}},
		"answered":                     {{"cluster", "slots", 2, answer}, {"cluster", "", 1, answer}, {"readonly", "", 1, answer}, {"client", "list", 2, answer}},
	} {
		var s course
		for i, step := range steps {
			if got := s.next(lookup(step.name, step.sub), step.argc); got != step.want {
				t.Errorf("%s, step %d (%s %s): %v, want %v", name, i, step.name, step.sub, got, step.want)
			}
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
		"HELLO":          {[]effect{{command: "hello", user: "u", name: "n", named: true}}, []string{hello}, known{profile: profile{id: 1 << 41, protocol: 3, user: "u", name: "n"}}},
		"failing HELLO":  {[]effect{{command: "hello", user: "u", name: "n", named: true}}, []string{"-NOPROTO x\r\n"}, known{profile: start}},
		"SELECT":         {[]effect{{command: "select", db: 3}, {command: "select", db: 99}}, []string{"+OK\r\n", "-ERR x\r\n"}, known{profile: profile{id: 1 << 41, protocol: 2, db: 3}}},
		"MULTI":          {[]effect{{command: "multi"}}, []string{"+OK\r\n"}, known{profile: start, transaction: true}},
		"MULTI and EXEC": {[]effect{{command: "multi"}, {command: "exec"}}, []string{"+OK\r\n", "-EXECABORT x\r\n"}, known{profile: start}},
		"TRACKING":       {[]effect{{command: "client|tracking", on: true}}, []string{"+OK\r\n"}, known{profile: start, tracking: true}},
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
