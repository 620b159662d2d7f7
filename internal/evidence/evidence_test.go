package evidence_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// sample has every field that there is.
func sample() *evidence.Report {
	r := &evidence.Report{
		Deployment: "clinic", Vantage: evidence.CacheHost, Host: "cache-1", Version: "1.0",
		Started: time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC), Finished: time.Date(2026, 11, 25, 9, 0, 3, 0, time.UTC),
		Checks: []evidence.Result{
			{ID: "RD-101", Goal: evidence.Environment, Title: "a claim", Outcome: evidence.Pass, Detail: "it holds", Evidence: "seen\nso", References: []string{"NIST SP 800-52r2"}, Facts: map[string]string{"a": "1"}},
			{ID: "RD-202", Goal: evidence.Access, Title: "another <claim>", Outcome: evidence.Fail, Detail: "it doesn't", Mend: "mend it", References: []string{}},
			{ID: "RD-404", Goal: evidence.AtRest, Title: "a third", Outcome: evidence.Fail, Detail: "no", Mend: "mend it", References: []string{},
				Accepted: &evidence.Exception{Check: "RD-404", Owner: "ops", Reason: "until the new host", Until: "2027-01-31"}},
			{ID: "RD-505", Goal: evidence.NoChange, Title: "a fourth", Outcome: evidence.Skip, Detail: "needs root", References: []string{}},
		},
	}
	r.Count()
	r.Set, r.Number, r.Previous = evidence.SetOf(r.Checks), 2, strings.Repeat("0a", 32)
	r.Signature = &evidence.Signature{At: r.Finished, By: "ops", Certificate: []byte("c"), Value: []byte("v")}
	return r
}

// TestAReportIsAsTheSchemaSays, by a validator that isn't ours; and what the schema
// forbids, the validator finds.
func TestAReportIsAsTheSchemaSays(t *testing.T) {
	schema := compile(t)
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(parse(t, text)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, c := range [][2]string{
		{`"goal": 1`, `"goal": 7`}, {`"outcome": "pass"`, `"outcome": "ok"`}, {`"RD-101"`, `"101"`}, {`"accepted": 1`, `"accepted": -1`},
		{`"deployment": "clinic"`, `"deployment": ""`}, {`"vantage": "cache-host"`, `"vantage": "roof"`}, {`"until": "2027-01-31"`, `"until": "some day"`},
		{`"summary"`, `"sum"`}, {`"started": "2026`, `"started": "twenty`},
	} {
		wrong := bytes.Replace(text, []byte(c[0]), []byte(c[1]), 1)
		if bytes.Equal(wrong, text) {
			t.Fatalf("the sample has no %s", c[0])
		}
		if schema.Validate(parse(t, wrong)) == nil {
			t.Errorf("the schema lets %s pass", c[1])
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", parse(t, evidence.Schema)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func parse(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := evidence.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Encode()
	if err != nil || !bytes.Equal(text, again) {
		t.Fatalf("%v\n%s", err, again)
	}
	if r.Good() || r.Summary != (evidence.Summary{Pass: 1, Fail: 2, Skip: 1, Accepted: 1}) {
		t.Fatalf("%+v", r.Summary)
	}
}

func TestAReportThatDoesNotAddUpIsRefused(t *testing.T) {
	text, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"a failure made a pass": {`"outcome": "fail"`, `"outcome": "pass"`, "summary"},
		"an outcome of its own": {`"outcome": "pass"`, `"outcome": "fine"`, "summary"},
		"a check twice":         {"RD-202", "RD-101", "RD-101 is there twice"},
		"no deployment":         {`"clinic"`, `""`, "deployment"},
		"another claim":         {`"title": "a claim"`, `"title": "another"`, "not the set"},
		"a seventh goal":        {`"goal": 1`, `"goal": 7`, "six"},
		// A name is put into documents as it is: Markdown would take this for its own heading.
		"a host that is a heading":   {`"host": "cache-1"`, `"host": "x\n\n## Every check holds"`, "its host"},
		"a version that is a link":   {`"version": "1.0"`, `"version": "[1.0](http://example.com)"`, "its version"},
		"a place of its own":         {`"cache-host"`, `"cache-host, all good"`, "vantage"},
		"accepted until it says so":  {`"until": "2027-01-31"`, `"until": "| ## soon"`, "no date"},
		"accepted in another's name": {`"check": "RD-404"`, `"check": "RD-101"`, "what is accepted"},
		"cut short":                  {string(text[len(text)/2:]), "", "not a report"},
		"something behind":           {"\n}\n", "\n}\n{}\n", "follows"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := evidence.Decode([]byte(strings.Replace(string(text), c.from, c.to, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestAnExceptionEndsWithItsLastDay, in UTC.
func TestAnExceptionEndsWithItsLastDay(t *testing.T) {
	e := evidence.Exception{Until: "2027-01-31"}
	for now, want := range map[string]bool{"2027-01-31T23:59:59Z": false, "2027-02-01T00:00:00Z": true, "2027-02-01T00:30:00+01:00": false} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if ended, err := e.Ended(at); err != nil || ended != want {
			t.Errorf("%s: %v %v", now, ended, err)
		}
	}
	if _, err := (evidence.Exception{Until: "soon"}).Ended(time.Now()); err == nil {
		t.Error("soon is a date")
	}
}

func TestComparingNamesWhatDiffers(t *testing.T) {
	a, b := sample(), sample()
	if d := evidence.Compare(a, b); len(d) > 0 {
		t.Fatalf("alike: %v", d)
	}
	b.Checks[0].Facts = map[string]string{"a": "2", "b": "3"}
	b.Checks[1].Outcome = evidence.Pass
	b.Checks = append(b.Checks[:3], evidence.Result{ID: "RD-601", Outcome: evidence.Pass})
	var got []string
	for _, d := range evidence.Compare(a, b) {
		got = append(got, d.String())
	}
	want := "RD-101 a: here 1, there 2\nRD-101 b: here absent, there 3\nRD-202 outcome: here fail, there pass\nRD-505 outcome: here skip, there absent\nRD-601 outcome: here absent, there pass"
	if strings.Join(got, "\n") != want {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestReferencesAreEachThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range evidence.References {
		if seen[r.Text] || r.Meaning == "" || r.Kind == "" {
			t.Errorf("%+v", r)
		}
		seen[r.Text] = true
	}
	// What an audit found missing, or wrongly there.
	for _, want := range []string{
		"45 CFR 164.308(a)(2)", "45 CFR 164.308(a)(3)(ii)(C)", "45 CFR 164.308(a)(7)(ii)(A)", "45 CFR 164.308(a)(7)(ii)(B)", "45 CFR 164.308(a)(7)(ii)(C)",
		"45 CFR 164.308(a)(7)(ii)(D)", "45 CFR 164.308(a)(7)(ii)(E)", "45 CFR 164.308(b)(1)", "45 CFR 164.310(a)(1)", "45 CFR 164.310(b)", "45 CFR 164.310(c)",
		"45 CFR 164.310(d)(2)(i)", "45 CFR 164.310(d)(2)(ii)", "45 CFR 164.312(a)(2)(ii)", "45 CFR 164.312(a)(2)(iii)", "45 CFR 164.312(c)(2)",
		"45 CFR 164.314(a)", "45 CFR 164.316(b)(2)(ii)", "45 CFR 164.316(b)(2)(iii)", "45 CFR 164.404", "45 CFR 164.406", "45 CFR 164.408", "45 CFR 164.410",
	} {
		if r, ok := evidence.Find(want); !ok || r.Kind == evidence.Guidance {
			t.Errorf("%s: %+v", want, r)
		}
	}
	for _, id := range strings.Fields("AC-2 AC-7 AC-12 AU-2 AU-3 AU-6 AU-9 AU-11 AU-12 CM-2 CM-3 CM-8 CP-10 IA-5(1) IA-5(2) IA-5(7) IR-4 IR-6 PL-2 RA-3 SA-22 SC-7(5) SC-8(1) SC-12 SC-28(1) SI-4 SR-3 SR-4 SR-11") {
		if _, ok := evidence.Find("NIST SP 800-53r5 " + id); !ok {
			t.Errorf("no %s", id)
		}
	}
}

// FuzzDecode: whatever is read as a report adds up, and is the same when it is
// written and read again.
func FuzzDecode(f *testing.F) {
	text, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"deployment":"a","started":"2026-11-25T09:00:00Z","vantage":"x","summary":{"skip":1},"checks":[{"id":"1","goal":1,"outcome":"skip"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := evidence.Decode(text)
		if err != nil {
			return
		}
		once, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := evidence.Decode(once)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) || !json.Valid(once) {
			t.Fatal("not the same the second time")
		}
	})
}
