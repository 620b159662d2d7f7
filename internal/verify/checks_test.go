package verify

import (
	"context"
	"encoding/xml"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var update = flag.Bool("update", false, "write docs/checks.md and testdata/ids.txt anew")

// TestChecksAreWhole: auditors quote the ids, so each is well formed, there once, and
// all that a reader needs stands with it.
func TestChecksAreWhole(t *testing.T) {
	form := regexp.MustCompile(`^RD-[1-6][0-9]{2}$`)
	seen := map[string]bool{}
	last := evidence.Goal(0)
	for _, c := range Checks() {
		switch {
		case !form.MatchString(c.ID) || seen[c.ID]:
			t.Errorf("%q is no id of its own", c.ID)
		case int(c.ID[3]-'0') != int(c.Goal):
			t.Errorf("%s is of goal %d", c.ID, c.Goal)
		case c.Title == "" || strings.HasSuffix(c.Title, ".") || c.Why == "" || c.Mend == "" || c.Run == nil || c.From == 0 || len(c.References) == 0:
			t.Errorf("%s lacks something: %+v", c.ID, c)
		case c.Goal < last:
			t.Errorf("%s stands after goal %d", c.ID, last)
		}
		for _, r := range c.References {
			if _, ok := evidence.Find(r); !ok {
				t.Errorf("%s cites %q, which package evidence doesn't have", c.ID, r)
			}
		}
		seen[c.ID], last = true, c.Goal
	}
}

// TestIDsAreNeverGivenToSomethingElse: testdata/ids.txt remembers every id that was
// ever used. A check may go; its id stays its own.
func TestIDsAreNeverGivenToSomethingElse(t *testing.T) {
	const path = "testdata/ids.txt"
	text, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(text)) {
		id, title, _ := strings.Cut(strings.TrimSpace(line), " ")
		known[id] = title
	}
	var added []string
	for _, c := range Checks() {
		if known[c.ID] == "" {
			added = append(added, c.ID)
		}
		if title := known[c.ID]; title != "" && title != c.Title {
			t.Logf("%s was called %q", c.ID, title) // better words for the same claim are fine
		}
		known[c.ID] = c.Title
	}
	if !*update {
		if len(added) > 0 {
			t.Fatalf("new ids %v: go test ./internal/verify -update", added)
		}
		return
	}
	var lines []string
	for id, title := range known {
		lines = append(lines, id+" "+title+"\n")
	}
	slices.Sort(lines)
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestThePageOfChecksIsTrue(t *testing.T) {
	const path = "../../docs/checks.md"
	want := Document()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("docs/checks.md isn't what the checks say (%v): go test ./internal/verify -update", err)
	}
}

// TestARunIsStrictWithItsChecks: a panic, a pass without evidence, a need that is not
// met and an end of time are what they are, and never a pass.
func TestARunIsStrictWithItsChecks(t *testing.T) {
	lacking := func(context.Context, *Target) string { return "needs a thing" }
	passes := func(_ context.Context, _ *Target, n *Notes) Finding { n.Saw("it"); return n.Pass("good") }
	checks := []Check{
		{ID: "RD-101", Goal: 1, From: Anywhere, Mend: "mend", Run: passes},
		{ID: "RD-102", Goal: 1, From: Anywhere, Mend: "mend", Run: func(context.Context, *Target, *Notes) Finding { panic("a secret") }},
		{ID: "RD-103", Goal: 1, From: Anywhere, Mend: "mend", Run: func(_ context.Context, _ *Target, n *Notes) Finding { return n.Pass("trust me") }},
		{ID: "RD-104", Goal: 1, From: Anywhere, Mend: "mend", Run: passes, Needs: []Need{lacking}},
		{ID: "RD-105", Goal: 1, From: OnApp, Mend: "mend", Run: passes},
		{ID: "RD-106", Goal: 1, From: Anywhere, Mend: "mend", Run: func(_ context.Context, _ *Target, n *Notes) Finding { return n.Fail("bad\x1b[31m") }},
	}
	target := &Target{Vantage: evidence.CacheHost, Deployment: "d", Exceptions: []evidence.Exception{
		{Check: "RD-106", Owner: "o", Reason: "r", Until: time.Now().UTC().Format(time.DateOnly)},
		{Check: "RD-103", Owner: "o", Reason: "r", Until: "2020-01-01"},
		{Check: "RD-101", Owner: "o", Reason: "r", Until: "2999-01-01"},
	}}
	r := Run(t.Context(), target, checks, Options{})
	var got []string
	for _, c := range r.Checks {
		word := string(c.Outcome)
		if c.Accepted != nil {
			word += " accepted"
		}
		got = append(got, c.ID+" "+word)
		if strings.Contains(c.Detail+c.Evidence, "a secret") || strings.Contains(c.Detail, "\x1b") {
			t.Errorf("%s repeats what it must not: %q %q", c.ID, c.Detail, c.Evidence)
		}
		if (c.Mend != "") != (c.Outcome == evidence.Fail) {
			t.Errorf("%s: mend %q", c.ID, c.Mend)
		}
	}
	want := []string{"RD-101 pass", "RD-102 fail", "RD-103 fail", "RD-104 skip", "RD-106 fail accepted"}
	if !slices.Equal(got, want) || r.Good() {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range Run(over, target, checks, Options{}).Checks {
		if c.Outcome != evidence.Skip {
			t.Errorf("%s at the end of time: %s", c.ID, c.Outcome)
		}
	}
}

func TestExceptionsMustBeOfAChecksOwn(t *testing.T) {
	checks := []Check{{ID: "RD-101"}}
	for want, exceptions := range map[string][]evidence.Exception{
		"":               {{Check: "RD-101", Until: "2020-01-01"}},
		"no check":       {{Check: "RD-999", Until: "2027-01-01"}},
		"no date":        {{Check: "RD-101", Until: "2027-13-01"}},
		"accepted twice": {{Check: "RD-101", Until: "2027-01-01"}, {Check: "RD-101", Until: "2028-01-01"}},
	} {
		err := CheckExceptions(exceptions, checks)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", exceptions, err, want)
		}
	}
}

func TestJUnitCountsAsTheReportDoes(t *testing.T) {
	r := &evidence.Report{Deployment: "d", Host: "h", Started: time.Now(), Checks: []evidence.Result{
		{ID: "RD-101", Goal: 1, Title: "<a> & b", Outcome: evidence.Pass, Evidence: "saw ]]> it"},
		{ID: "RD-102", Goal: 1, Outcome: evidence.Fail, Detail: "bad", Mend: "mend"},
		{ID: "RD-301", Goal: 3, Outcome: evidence.Skip, Detail: "why"},
		{ID: "RD-302", Goal: 3, Outcome: evidence.Fail, Accepted: &evidence.Exception{Owner: "o", Until: "2027-01-01"}},
	}}
	text, err := JUnit(r)
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(got.Suites) != 2 || got.Suites[0].Tests != 2 || got.Suites[0].Failures != 1 || got.Suites[1].Skipped != 2 || got.Suites[1].Failures != 0 ||
		got.Suites[0].Cases[0].Name != "RD-101 <a> & b" || got.Suites[0].Cases[0].Output != "saw ]]> it" || got.Suites[0].Cases[1].Failure.Text != "mend" {
		t.Fatalf("%s", text)
	}
}
