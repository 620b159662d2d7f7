package command

import (
	"slices"
	"strings"
	"testing"
)

func lookup(words ...string) *Command {
	words = append(words, "")
	return Lookup([]byte(words[0]), []byte(words[1]))
}

func TestEachCommandIsDecidedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range decisions {
		if d.reason == "" {
			t.Errorf("no reason: %s", d.names)
		}
		if d.barred && d.class != Refused {
			t.Errorf("barred, but %v: %s", d.class, d.names)
		}
		for _, name := range strings.Fields(d.names) {
			if seen[name] {
				t.Errorf("%s is decided twice", name)
			}
			seen[name] = true
			if len(name) >= longest {
				t.Errorf("%s is longer than Lookup takes", name)
			}
		}
	}
}

func TestEachDecisionIsAboutACommandThatExists(t *testing.T) {
	exists := map[string]bool{}
	for _, list := range engines() {
		if len(list) < 300 {
			t.Errorf("only %d facts of an engine", len(list))
		}
		for _, f := range list {
			exists[f.name] = true
		}
	}
	for _, a := range ahead {
		for _, name := range strings.Fields(a.names) {
			exists[name] = true
			if table[name] == nil {
				t.Errorf("%s is known of %s, but not decided", name, a.since)
			}
		}
	}
	for name := range table {
		if !exists[name] {
			t.Errorf("%s: no engine has it", name)
		}
	}
}

// TestClassesFollowTheEnginesFlags: what an engine says of a command must not
// contradict its class.
func TestClassesFollowTheEnginesFlags(t *testing.T) {
	blocking := strings.Fields(mayBlock)
	for engine, list := range engines() {
		for _, f := range list {
			c, flags := table[f.name], strings.Split(f.flags, ",")
			if c == nil {
				t.Errorf("%s has %s, which no decision names", engine, f.name)
				continue
			}
			has := func(flag string) bool { return slices.Contains(flags, flag) }
			if has("blocking") && c.Class == Shared && !slices.Contains(blocking, f.name) {
				t.Errorf("%s: %s waits, but is shared", engine, f.name)
			}
			if has("admin") && c.Class != Refused && !slices.Contains(
				[]string{"client|list", "client|no-evict", "config|get"}, f.name) && !strings.HasPrefix(f.name, "cluster|") && f.name != "role" {
				t.Errorf("%s: %s is for administrators, but %v", engine, f.name, c.Class)
			}
			if has("pubsub") && has("noscript") && c.Class == Shared && f.name != "publish" {
				t.Errorf("%s: %s subscribes, but is shared", engine, f.name)
			}
		}
	}
}

func TestClassesOfRedis70(t *testing.T) {
	count := map[Class]int{}
	for _, f := range engines()["redis-7.0"] {
		count[table[f.name].Class]++
	}
	// A change here is a change of policy: say why in its commit.
	want := map[Class]int{Shared: 216, Pinned: 20, Local: 36, Refused: 94}
	for class, n := range want {
		if count[class] != n {
			t.Errorf("%d commands are %v, want %d", count[class], class, n)
		}
	}
}

func TestLookupIgnoresCaseAndKnowsSubcommands(t *testing.T) {
	for _, c := range []struct {
		words  []string
		name   string
		class  Class
		barred bool
	}{
		{[]string{"get"}, "get", Shared, false},
		{[]string{"GeT", "key"}, "get", Shared, false},
		{[]string{"client", "SETNAME"}, "client|setname", Local, false},
		{[]string{"CLIENT"}, "client", Shared, false},
		{[]string{"CLIENT", "NEW-THING"}, "", Pinned, false},
		{[]string{"client|setname"}, "", Pinned, false},
		{[]string{"client", "set|name"}, "", Pinned, false},
		{[]string{"CONFIG", "GET"}, "config|get", Local, false},
		{[]string{"config", "sET"}, "config|set", Refused, true},
		{[]string{"config", "new"}, "config", Refused, true},
		{[]string{"acl", "whoami"}, "acl|whoami", Local, false},
		{[]string{"acl", "new"}, "acl", Refused, true},
		{[]string{"cluster", "new"}, "cluster", Local, false},
		{[]string{"script", "DEBUG"}, "script|debug", Refused, true},
		{[]string{"script", "new"}, "", Pinned, false},
		{[]string{"MONITOR"}, "monitor", Refused, true},
		{[]string{"himport", "prepare"}, "", Pinned, false},
		{[]string{""}, "", Pinned, false},
		{[]string{strings.Repeat("x", 500)}, "", Pinned, false},
		{[]string{"client", strings.Repeat("x", 500)}, "", Pinned, false},
		{[]string{"client", strings.Repeat("x", longest-8)}, "", Pinned, false},
		{[]string{"xread"}, "xread", Shared, false},
	} {
		got := lookup(c.words...)
		if got.Name != c.name || got.Class != c.class || got.Barred != c.barred || got.Known() != (c.name != "") {
			t.Errorf("%.40q: got %q %v barred=%v, want %q %v %v", c.words, got.Name, got.Class, got.Barred, c.name, c.class, c.barred)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	name, sub := []byte("CLIENT"), []byte("setInfo")
	if n := testing.AllocsPerRun(100, func() {
		if !Lookup(name, sub).Known() {
			t.Fatal("unknown")
		}
	}); n != 0 {
		t.Errorf("%v allocations a lookup, want 0", n)
	}
}

func TestSinceTellsWhichProductHasIt(t *testing.T) {
	for name, want := range map[string]string{
		"get":            "",
		"sintercard":     "",
		"client|setinfo": "redis 7.2.0, valkey 7.2.0",
		"hexpire":        "redis 7.4.0, valkey 9.0",
		"client|capa":    "valkey 8.0.0",
		"delifeq":        "valkey 9.0",
		"digest":         "redis 8.4",
	} {
		if got := table[name].Since; got != want {
			t.Errorf("%s: since %q, want %q", name, got, want)
		}
	}
}

func TestWhatIsBarredCoversAllThatWouldPoisonALane(t *testing.T) {
	for _, name := range []string{"monitor", "sync", "psync", "replconf", "shutdown", "debug", "script|debug", "failover", "client|pause",
		"config|set", "config|rewrite", "config|resetstat", "acl|setuser", "replicaof", "slaveof", "module|load", "save", "bgsave", "bgrewriteaof"} {
		if c := table[name]; c == nil || !c.Barred {
			t.Errorf("%s may leave the sidecar: %+v", name, c)
		}
	}
}

func TestBlockIsAnOptionNotAWord(t *testing.T) {
	for line, want := range map[string]bool{
		"STREAMS s 0":                                 false,
		"COUNT 1 STREAMS block 0":                     false,
		"streams BLOCK 0":                             false,
		"BLOCK 0 STREAMS s 0":                         true,
		"COUNT 1 block 0 STREAMS s 0":                 true,
		"COUNT BLOCK STREAMS s 0":                     false,
		"GROUP g c STREAMS s >":                       false,
		"GROUP BLOCK STREAMS NOACK STREAMS s >":       false,
		"GROUP g c COUNT 2 BLOCK 5 NOACK STREAMS s >": true,
		"GROUP g c NOACK STREAMS s >":                 false,
		"CLAIM 5 STREAMS s >":                         true,
		"GROUP g":                                     true,
		"COUNT":                                       true,
		"":                                            true,
		"BLOC\u212a 0 STREAMS s 0":                    true,
		"\u017fTREAMS s 0":                            true,
	} {
		var args [][]byte
		for _, w := range strings.Fields(line) {
			args = append(args, []byte(w))
		}
		if got := Blocks(args); got != want {
			t.Errorf("%q waits: %v, want %v", line, got, want)
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, seed := range []string{"get", "CLIENT list", "config|get", "| |", "client |", "script debug"} {
		name, sub, _ := strings.Cut(seed, " ")
		f.Add([]byte(name), []byte(sub))
	}
	f.Fuzz(func(t *testing.T, name, sub []byte) {
		c := Lookup(name, sub)
		if !c.Known() && c.Class != Pinned {
			t.Fatalf("unknown %q is %v", name, c.Class)
		}
		if first, _, _ := strings.Cut(c.Name, "|"); c.Known() && first != strings.ToLower(string(name)) {
			t.Fatalf("%q was taken for %q", name, c.Name)
		}
	})
}

// TestShortNamesAreFoundAsTheTableHasThem: the fast table and the table proper
// must never differ, whatever the spelling.
func TestShortNamesAreFoundAsTheTableHasThem(t *testing.T) {
	found := 0
	for name, e := range table {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if c := shorts.find([]byte(spelling)); c != nil {
				found++
				if c != &e.Command || e.container {
					t.Errorf("%s is found as %s", spelling, c.Name)
				}
			}
			if c := Lookup([]byte(spelling), nil); !strings.Contains(name, "|") && c != &e.Command {
				t.Errorf("%s comes to %q", spelling, c.Name)
			}
		}
	}
	if found < 200 {
		t.Errorf("only %d spellings are found fast", found)
	}
	for _, no := range []string{"", "ge", "get\x00", "\x00get", "gett", "gEt", "subscribe", "config", "\x03get\x00\x00\x00\x00"} {
		if c := shorts.find([]byte(no)); c != nil {
			t.Errorf("%q is found as %s", no, c.Name)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	name := []byte("GET")
	for b.Loop() {
		if Lookup(name, nil).Class != Shared {
			b.Fatal()
		}
	}
}
