package sidecar

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// TestRefusalsAreToldOnceACommand: whoever refuses, and on whatever kind of lane, a
// person finds the command, how often, and what opens it; and no more than that.
func TestRefusalsAreToldOnceACommand(t *testing.T) {
	var log journal
	l := &lanes{socket: startEngine(t, `user default on >`+password+` ~* &* +@all -eval -sort -subscribe -object|freq -dump`)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Log: logTo(&log), Opens: func(c *command.Command) string { return "opener of " + c.Name }})
	denied := func(name string) string {
		return "-NOPERM this user has no permissions to run the '" + name + "' command\r\n"
	}

	guest := dialCar(t, car).login()
	guest.expect(denied("sort"), "sort", "a-key")
	guest.expect(denied("object|freq"), "OBJECT", "FREQ", "a-key")
	guest.expect(denied("config|set"), "CONFIG", "SET", "maxmemory", "1")
	block := []byte{}
	for _, words := range [][]string{{"MULTI"}, {"SORT", "a-key"}, {"EXEC"}} {
		block = resp.AppendCommand(block, words...)
	}
	guest.write(block)
	for _, want := range []string{"+OK\r\n", denied("sort"), "-EXECABORT Transaction discarded because of previous errors.\r\n"} {
		if got := guest.reply(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}

	session := dialCar(t, car).login()
	session.expect(denied("eval"), "EVAL", "return 'a secret'", "0")
	session.expect(denied("config|set"), "CONFIG", "SET", "maxmemory", "1")

	relayed := dialCar(t, car).login()
	relayed.expect(denied("subscribe"), "SUBSCRIBE", "a-channel")
	relayed.do("PUNSUBSCRIBE", "x") // from here on nothing is counted
	relayed.expect(denied("dump"), "DUMP", "a-key")
	if got := relayed.do("CONFIG", "SET", "maxmemory", "1"); !strings.HasPrefix(got, "-ERR unknown command 'redoubt refuses config|set'") {
		t.Errorf("%q", got)
	}

	// What redoubt verify tries is told apart, whoever refuses, on whatever lane.
	prover := dialCar(t, car).login()
	prover.expect("+OK\r\n", "CLIENT", "SETINFO", "LIB-NAME", command.Prover)
	for _, setup := range []string{"PING", "WATCH k", "PUNSUBSCRIBE x"} {
		prover.do(strings.Fields(setup)...)
		prover.do("SORT", "a-key")
		prover.do("LATENCY", "RESET")
	}
	if n := car.Status(t.Context()).Probed; n != 6 {
		t.Errorf("%d refusals to redoubt verify, want 6", n)
	}

	// What an application stores, or sends and doesn't exist, is no refusal.
	guest.expect("+OK\r\n", "SET", "a-key", denied("get"))
	guest.expect("$63\r\n"+denied("get")+"\r\n", "GET", "a-key")
	session.do("NO-SUCH-COMMAND")

	want := []Refusal{
		{"config|set", "sidecar", 3, "opener of config|set"},
		{"dump", "engine", 1, "opener of dump"},
		{"eval", "engine", 1, "opener of eval"},
		{"object|freq", "engine", 1, "opener of object|freq"},
		{"sort", "engine", 2, "opener of sort"},
		{"subscribe", "engine", 1, "opener of subscribe"},
	}
	got := car.Status(context.Background()).Refused
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
	text := log.String()
	for _, r := range want {
		if n := strings.Count(text, "command="+r.Command+" "); n != 1 {
			t.Errorf("%d lines about %s", n, r.Command)
		}
	}
	if !strings.Contains(text, `opens="opener of sort"`) || !strings.Contains(text, `more="redoubt explain OBJECT FREQ"`) {
		t.Error("no way out is named")
	}
	for _, secret := range []string{"a-key", "a secret", "a-channel", "NO-SUCH"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestRefusalsAreCountedWhereverRepliesAreTorn: what one read of a lane brings ends
// anywhere.
func TestRefusalsAreCountedWhereverRepliesAreTorn(t *testing.T) {
	l := &lanes{socket: startEngine(t, `user default on >`+password+` ~* &* +@all -sort`)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial)})
	const times = 20000
	auth := resp.AppendCommand(nil, "AUTH", password)
	for i, setup := range [][]byte{
		auth, // shares a lane
		append(bytes.Clone(auth), resp.AppendCommand(nil, "WATCH", "a-key")...),    // has its own
		append(bytes.Clone(auth), resp.AppendCommand(nil, "PUNSUBSCRIBE", "x")...), // and is relayed
	} {
		dialCar(t, car).exchange(append(setup, bytes.Repeat(resp.AppendCommand(nil, "SORT", "a-key"), times)...))
		got := car.Status(context.Background()).Refused
		if want := int64(times * (i + 1)); len(got) != 1 || got[0].Times != want {
			t.Errorf("%v, want %d of sort", got, want)
		}
	}
}
