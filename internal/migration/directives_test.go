package migration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestEveryRowHasAFate holds the two tables against themselves.
func TestEveryRowHasAFate(t *testing.T) {
	for _, table := range [][]directive{directives, stunnelOptions} {
		var seen []string
		for _, d := range table {
			for _, name := range strings.Fields(d.names) {
				if slices.Contains(seen, strings.ToLower(name)) {
					t.Errorf("%s stands twice", name)
				}
				seen = append(seen, strings.ToLower(name))
				if d.verdict == "" || d.why == "" && d.verdict != Kept {
					t.Errorf("%s: no verdict, or no reason", name)
				}
			}
		}
		if len(seen) < 50 {
			t.Errorf("only %d names", len(seen))
		}
	}
}

// settings asks the engine at hand for the names of all that it can be told.
func settings(t *testing.T, socket string) []string {
	t.Helper()
	out, err := exec.Command("redis-cli", "-s", socket, "--json", "CONFIG", "GET", "*").Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`"([a-z][a-z0-9_.-]*)":"`).FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < 100 {
		t.Fatalf("only %d settings: %s", len(names), out)
	}
	return names
}

func TestEveryDirectiveOfTheEngineIsKnown(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`)
	for _, name := range settings(t, socket) {
		if _, known := lookup(name); !known {
			t.Errorf("nobody has decided about %s", name)
		}
	}
	for name := range engine.Wanted(engine.Version{Product: "valkey", Major: 99}, engine.Policy{}) {
		if _, known := lookup(name); !known {
			t.Errorf("the engine is rendered %s, and the table doesn't know it", name)
		}
	}
}

func TestEveryOptionOfStunnelIsKnown(t *testing.T) {
	out, _ := exec.Command("stunnel", "-help").CombinedOutput() // ends with 1
	found := regexp.MustCompile(`(?m)^([A-Za-z]+) += `).FindAllSubmatch(out, -1)
	if len(found) < 60 {
		t.Fatalf("stunnel names %d options (apt-get install stunnel4): %s", len(found), out)
	}
	for _, m := range found {
		if _, known := lookupOption(string(m[1])); !known && string(m[1]) != "include" {
			t.Errorf("nobody has decided about %s", m[1])
		}
	}
}

// TestWhatTheDistributionShipsIsUnderstood: Debian's own files, as they come.
func TestWhatTheDistributionShipsIsUnderstood(t *testing.T) {
	j := &journal{}
	srv, err := j.readServer(Options{Redis: "/etc/redis/redis.conf", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range j.findings {
		if f.Verdict == Unknown || f.Verdict == Refused {
			t.Errorf("%s: %s %s: %s", f.Where(), f.Verdict, f.Name, f.Why)
		}
	}
	if len(j.findings) < 60 || srv.port != 6379 || srv.policy.Memory != defaultMemory {
		t.Errorf("%d findings, %+v", len(j.findings), srv)
	}
	conf, err := readStunnel("/usr/share/doc/stunnel4/examples/stunnel.conf-sample")
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.services) != 3 || conf.services[0].name != "gmail-pop3" || len(conf.services[0].options) != 7 {
		t.Errorf("%+v", conf)
	}
	// What stands there behind a ; is options too: with all of it in force none is unknown.
	text, err := os.ReadFile("/usr/share/doc/stunnel4/examples/stunnel.conf-sample")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^;([A-Za-z\[])`).ReplaceAllString(string(text), "$1")
	all = strings.Replace(all, "\ninclude = ", "\n;", 1) // the directory isn't there
	if conf, err = readStunnel(write(t, t.TempDir(), "all.conf", all)); err != nil {
		t.Fatal(err)
	}
	if len(conf.services) < 8 {
		t.Errorf("%d services", len(conf.services))
	}
	for _, s := range conf.services {
		for _, o := range s.options {
			if _, known := lookupOption(o.name); !known {
				t.Errorf("%s:%d: nobody has decided about %s", o.file, o.line, o.name)
			}
		}
	}
}
