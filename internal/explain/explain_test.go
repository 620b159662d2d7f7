package explain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/docs/decisions"
	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// TestVerdictsAreWhatEnginesDo holds every verdict against what real engines did with
// every command, under the policies of a plain cache, of everything opened and of
// everything closed (written by package engine's TestEveryCommandIsDecided).
func TestVerdictsAreWhatEnginesDo(t *testing.T) {
	policies := []engine.Policy{{}, engine.MostOpen(), {Deny: []string{"keys", "flushdb", "pubsub", "tracking"}}}
	files, err := filepath.Glob("../engine/testdata/commands-*.txt")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	compared := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			c := lookup(strings.ToLower(fields[0]))
			if !c.Known() || c.Name != strings.ToLower(fields[0]) {
				t.Errorf("%s: %s is not in the table", file, fields[0])
				continue
			}
			for i, p := range policies {
				v, _ := judge(c, p)
				compared++
				switch did := fields[1+i]; {
				case v.Outcome == Answered: // whatever the engine would say
				case did == "runs" && v.Outcome != Runs, did != "runs" && v.Outcome != Refused:
					t.Errorf("%s: under policy %d %s %s, explained as %s", filepath.Base(file), i, c.Name, did, v.Outcome)
				case did == "gone" && v.By != "sidecar":
					t.Errorf("%s: %s is gone, explained as refused by the %s", filepath.Base(file), c.Name, v.By)
				}
			}
		}
	}
	if compared < 5000 {
		t.Errorf("only %d were compared", compared)
	}
}

// TestEachVerdictSaysWhy, by which decision, and names a way out that is one.
func TestEachVerdictSaysWhy(t *testing.T) {
	all, err := everyRecord()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range command.All() {
		for _, p := range []engine.Policy{{}, engine.MostOpen()} {
			v, records := judge(c, p)
			for _, number := range records {
				if !slices.ContainsFunc(all, func(r decisions.Record) bool { return r.Number == number }) {
					t.Errorf("%s: there is no decision %d", c.Name, number)
				}
			}
			if v.Why == "" || v.Way == "" || len(records) == 0 || len(productsOf(c)) == 0 {
				t.Errorf("%+v, %v", v, records)
			}
			if v.Outcome != Refused {
				continue
			}
			for _, use := range v.Openers.Uses {
				if now, _ := judge(c, engine.Policy{Uses: []engine.Use{use}}); now.Outcome != Runs {
					t.Errorf("%s: uses: %s does not open it", c.Name, use)
				}
			}
			for _, word := range v.Openers.Allow {
				if now, _ := judge(c, engine.Policy{Allow: []string{word}}); now.Outcome != Runs {
					t.Errorf("%s: allow: %s does not open it", c.Name, word)
				}
			}
			if v.Opens == Nothing {
				if now, _ := judge(c, engine.MostOpen()); now.Outcome == Runs {
					t.Errorf("%s: something opens it", c.Name)
				}
			}
		}
	}
}

func TestWhichVersionsHaveIt(t *testing.T) {
	for name, want := range map[string]string{
		"get":      "redis since 7.0; valkey since 7.2",
		"hpersist": "redis since 7.4.0; valkey since 9.0, closed in 9.0.0 to 9.0.4",
		"xackdel":  "redis since 8.2, closed in 8.2.0 to 8.2.2",
		"delifeq":  "valkey since 9.0",
	} {
		if got := strings.Join(versionsOf(named(t, name)), "; "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestCommandsAreFoundAsTheyAreTyped(t *testing.T) {
	for typed, want := range map[string]string{
		"GET config Set": "get config|set",
		"client|list":    "client|list",
		"script get":     "script|debug script|exists script|flush script|help script|kill script|load script|show get",
		"COMMAND":        "command",
		"gett":           `"gett": did you mean get`,
		"config sett":    `"CONFIG sett": did you mean config set?`,
		"hmste":          `did you mean hmset?`,
		"qwertyuiop":     `"qwertyuiop"`,
		"get|x":          `"x": commands are named without their arguments`,
		"\x1b[31m":       `"\x1b[31m"`,
	} {
		list, err := Find(strings.Fields(typed))
		var got []string
		for _, c := range list {
			got = append(got, c.Name)
		}
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v; want %s", typed, got, err, want)
		}
	}
	if _, err := Find([]string{strings.Repeat("x", 1<<20)}); err == nil || len(err.Error()) > 200 {
		t.Error("a name without end")
	}
}

// TestTheRecordIsRead: each line, and nothing that the table doesn't have.
func TestTheRecordIsRead(t *testing.T) {
	list := Features()
	if lines := strings.Count(recorded, "\n") - strings.Count(recorded, "\n#") - 1; len(list) != lines || lines < 50 {
		t.Fatalf("%d features in %d lines", len(list), lines)
	}
	for _, f := range list {
		if !slices.Contains([]string{Works, Fails, GoesOn}, f.Refused) || len(f.Commands) == 0 {
			t.Errorf("%+v", f)
		}
		if (f.Refused == Works) != (len(f.Needs.Closed)+len(f.Needs.Never) == 0) {
			t.Errorf("%s %s: %s under a plain cache, though it needs %+v", f.Library, f.Name, f.Refused, f.Needs)
		}
		for _, name := range f.Commands {
			if !lookup(name).Known() {
				t.Errorf("%s %s sends %s, which the table doesn't have", f.Library, f.Name, name)
			}
		}
	}
	for _, name := range Names() {
		if found, err := FindLibraries([]string{name}); err != nil || len(found) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{"bulmq": "did you mean bullmq", "spring-session": "is not recorded", "qqq": "nothing is recorded"} {
		if _, err := FindLibraries([]string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
