package dossier_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
)

// TestThePlanHasWhatDoesNotHold: each with an owner and a day, what is accepted with its
// own; and nothing of what holds.
func TestThePlanHasWhatDoesNotHold(t *testing.T) {
	if plan := (found1{}).dossier(newRig(t), "").Plan(); len(plan) > 0 {
		t.Errorf("all is good, and to be done is %+v", plan)
	}
	r := newRig(t)
	f := found("cache-1", evidence.CacheHost, map[string]evidence.Outcome{"RD-442": evidence.Fail, "RD-443": evidence.Fail})
	for i := range f.Checks {
		if f.Checks[i].ID == "RD-442" {
			f.Checks[i].Accepted = &evidence.Exception{Check: "RD-442", Owner: "ops", Reason: "the new host comes", Until: "2099-01-31"}
		}
	}
	f.Count()
	s := dossier.Sources{Deployment: "clinic", Owner: "Jo", Version: "1.0", Now: now, CA: r.ca, Evidence: []dossier.Evidence{signedBy(t, f, r.host(identity.Gateway, "cache-1"))}}
	got := map[string]dossier.Treatment{}
	plan := make1(t, s).Plan()
	for _, p := range plan {
		if got[p.Check] = p; p.Owner == "" || p.By == "" || p.Todo == "" {
			t.Errorf("%+v", p)
		}
	}
	if p := got["RD-442"]; p.Owner != "ops" || p.By != "2099-01-31" || !strings.Contains(p.Todo, "the new host comes") {
		t.Errorf("%+v", p)
	}
	if p := plan[0]; p.Check != "RD-443" || p.By != now.AddDate(0, 0, 15).Format("2006-01-02") {
		t.Errorf("%+v", p)
	}
	if p := got["RD-140"]; p.Found != dossier.Unproven || p.By != now.AddDate(0, 0, 30).Format("2006-01-02") {
		t.Errorf("%+v", p)
	}
	if _, there := got["RD-401"]; there {
		t.Error("RD-401 holds")
	}
}

// TestAnAuditorFindsTheForm: approval, edition, review, method, plan, the data's way from
// the real hosts, and who is responsible for what, in both forms.
func TestAnAuditorFindsTheForm(t *testing.T) {
	d := make1(t, sources(t))
	for name, render := range map[string]func() ([]byte, error){"page": d.HTML, "Markdown": d.Markdown} {
		text, err := render()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"Approval", "Signature", "Edition " + d.Edition(), "Next review: " + now.AddDate(0, 0, 365).Format("2 January 2006"),
			"Its evidence counts until " + now.AddDate(0, 0, 31).Format("2 January 2006"), "SP 800-30r1", "Treatment plan", "Who is responsible for what",
			"web-2 (10.77.0.4): application, sidecar; tunnel; cache-1 (10.77.0.2, port 6379): gateway, engine", "By whom or what", "decisions.html",
		} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("the %s lacks %q", name, want)
			}
		}
		if words := len(bytes.Fields(text)); words > 14000 {
			t.Errorf("the %s has %d words", name, words)
		}
	}
	for _, r := range d.Risks {
		if r.Source == "" || r.Weakness == "" {
			t.Errorf("%s has no threat source or vulnerability", r.ID)
		}
	}
}
