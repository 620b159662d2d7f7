package cli

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsHead = `# Metrics

This page is printed from the structs in the code; a test keeps it true (` + "`go test ./internal/cli -update`" + `).

Every process serves them on its admin socket, and on ` + "`admin.metrics`" + ` if the configuration names an address (docs/configuration.md): ` + "`/metrics`" + ` in Prometheus's text format, ` + "`/livez`" + ` (the process works) and ` + "`/readyz`" + ` (it can serve). ` + "`redoubt status`" + ` shows the same to people. A metric is there if the process has that role.

Worth an alarm: ` + "`redoubt_problems > 0`" + ` (redoubt status says which), ` + "`redoubt_certificate_expiry_timestamp_seconds - time() < 86400`" + `, ` + "`increase(redoubt_engine_restarts_total[1h]) > 0`" + `, ` + "`redoubt_sidecar_cache_reachable == 0`" + `. Worth a look: ` + "`increase(redoubt_refused_total[1h]) > 0`" + ` (an application calls what the policy closes, and its library may hide it).

| metric | kind | meaning |
|---|---|---|
| ` + "`redoubt_ready`" + ` | gauge | 1 if the process can serve. |
| ` + "`redoubt_problems`" + ` | gauge | What redoubt status shows as problems. |
`

// TestEveryMetricIsDocumentedAndWellNamed, by Prometheus's conventions.
func TestEveryMetricIsDocumentedAndWellNamed(t *testing.T) {
	var b strings.Builder
	b.WriteString(metricsHead)
	list := admin.Describe(reflect.TypeFor[facts]())
	if len(list) < 15 {
		t.Fatalf("only %d metrics are found", len(list))
	}
	for _, d := range list {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, d.Kind, d.Help)
		if !strings.HasPrefix(d.Name, "redoubt_") || d.Help == "" || strings.ContainsAny(d.Help, "|\n\\") || strings.ToLower(d.Name) != d.Name {
			t.Errorf("%+v: a name that begins with redoubt_ and a help text of one line are needed", d)
		}
	}
	const page = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != b.String() {
		t.Errorf("%s differs from the code (%v): run go test ./internal/cli -update", page, err)
	}
}

// TestStatusOfWhatIsntThere: an engine that doesn't run has no age, and a program that
// was replaced is told from the one that is installed.
func TestStatusOfWhatIsntThere(t *testing.T) {
	var b strings.Builder
	f := &facts{Build: buildFacts{Version: "0.0.1-before"}, Role: "gateway", Started: time.Now(), Engine: &engine.Status{Version: "redis 7.0.15", Restarts: 3}}
	printStatus(&paper{w: &b}, []answered{{Report: admin.Report{Facts: f}}})
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"engine redis 7.0.15, not running, restarts: 3", "installed redoubt " + readBuild().Version + ", which runs from the next start on (systemctl restart redoubt-gateway"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(got, "pid 0") || strings.Contains(got, "2562047h") {
		t.Error(b.String())
	}
}

// TestNarrowTerminalsBreakNoWord: where a line is wider than the terminal it goes on below
// its own column, and where there is none it is one line.
func TestNarrowTerminalsBreakNoWord(t *testing.T) {
	long := "the cache can't be reached: the gateway refuses this host: this identity has its 12 connections already (limits.per_identity)"
	found := []answered{{Report: admin.Report{Problems: []string{long}, Facts: &facts{Role: "sidecar", Started: time.Now()}}}}
	var narrow, piped strings.Builder
	printStatus(&paper{w: &narrow, width: 80}, found)
	printStatus(&paper{w: &piped}, found)
	if !strings.Contains(piped.String(), "PROBLEM      "+long+"\n") {
		t.Errorf("piped:\n%s", piped.String())
	}
	_, problem, _ := strings.Cut(narrow.String(), "PROBLEM      ")
	if got := strings.Join(strings.Fields(problem), " "); got != long || strings.Count(problem, "\n             ") != 1 {
		t.Errorf("on a terminal:\n%s", narrow.String())
	}
	for line := range strings.Lines(narrow.String()) {
		if len(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("wider than 80: %q", line)
		}
	}
	coloured := strings.Builder{}
	(&paper{w: &coloured, width: 40}).wrap("  \x1b[31mFAIL\x1b[0m  ", "a claim that is longer than a line of it")
	if got := coloured.String(); got != "  \x1b[31mFAIL\x1b[0m  a claim that is longer than a\n        line of it\n" {
		t.Errorf("%q", got)
	}
}

// TestWhatNoPolicyOpensSharesALine: redoubt verify tries all of it, and what somebody may
// have to decide about would be lost among it.
func TestWhatNoPolicyOpensSharesALine(t *testing.T) {
	never := func(command string) sidecar.Refusal {
		return sidecar.Refusal{Command: command, By: "sidecar", Times: 2, Opens: explain.Nothing}
	}
	for _, tt := range []struct {
		refused []sidecar.Refusal
		want    []string
	}{
		{nil, nil},
		{[]sidecar.Refusal{never("config|set")}, []string{"what no policy opens, times: 2: CONFIG SET"}},
		{
			[]sidecar.Refusal{never("acl|cat"), never("debug"), {Command: "eval", By: "engine", Times: 7, Opens: "allow: scripting"}, never("monitor"), never("save"), never("sync")},
			[]string{"EVAL, times: 7, by the engine (policy: allow: scripting)", "what no policy opens, times: 10: ACL CAT, DEBUG, MONITOR, 2 more (--json has each)"},
		},
	} {
		if got := refusedLines(tt.refused); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %q, want %q", tt.refused, got, tt.want)
		}
	}
}
