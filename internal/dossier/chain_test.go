package dossier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
)

// TestReportsThatAreLeftOutAreNoticed: a host counts what it signs, and each names the one
// before. The last one counts.
func TestReportsThatAreLeftOutAreNoticed(t *testing.T) {
	r := newRig(t)
	numbered := func(n int, previous []byte, outcome evidence.Outcome) dossier.Evidence {
		f := found("web-1", evidence.AppHost, map[string]evidence.Outcome{"RD-122": outcome})
		f.Number, f.Started = n, f.Started.Add(time.Duration(n)*time.Second)
		if previous != nil {
			f.Previous = hexOf(previous)
		}
		e := signedBy(t, f, r.host(identity.App, "web-1"))
		e.Name = fmt.Sprintf("web-1-%d-%s.json", n, outcome)
		return e
	}
	one := numbered(1, nil, evidence.Pass)
	two := numbered(2, one.Text, evidence.Fail)
	three := numbered(3, two.Text, evidence.Pass)
	four := numbered(4, []byte("another"), evidence.Pass)
	again := numbered(2, one.Text, evidence.Pass)
	for name, c := range map[string]struct {
		reports       []dossier.Evidence
		warning, fail string
		outcome       string
	}{
		"all":                        {reports: []dossier.Evidence{three, one, two}, outcome: dossier.Holds},
		"the last one fails":         {reports: []dossier.Evidence{one, two}, outcome: dossier.Fails},
		"the bad one left out":       {reports: []dossier.Evidence{one, three}, warning: "numbers 2 to 2 were left out", outcome: dossier.Holds},
		"one number twice":           {reports: []dossier.Evidence{two, again}, fail: "it has the number 2"},
		"it follows another":         {reports: []dossier.Evidence{three, four}, fail: "follows another report"},
		"counted anew, so the older": {reports: []dossier.Evidence{numberedAt(t, r, 9, now.Add(-150*time.Second)), one}, fail: "count anew"},
	} {
		s := dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: c.reports}
		d, err := dossier.New(s)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) {
				t.Errorf("%s: %v, want %q", name, err, c.fail)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := strings.Join(d.Warnings, "\n"); strings.Contains(got, "left out.") != (c.warning != "") || !strings.Contains(got, c.warning) {
			t.Errorf("%s: %s", name, got)
		}
		counting := 0
		for _, r := range d.Reports {
			if !r.Later {
				counting++
			}
		}
		if got := d.Goals[0].Checks; counting != 1 || outcomeOf(got, "RD-122") != c.outcome {
			t.Errorf("%s: %d count, RD-122 %s", name, counting, outcomeOf(got, "RD-122"))
		}
	}
}

func numberedAt(t *testing.T, r *rig, n int, at time.Time) dossier.Evidence {
	t.Helper()
	f := bad()
	f.Number, f.Started = n, at
	e := signedBy(t, f, r.host(identity.App, "web-1"))
	e.Name = "older.json"
	return e
}
