package dossier_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

var now = time.Now().UTC().Truncate(time.Second)

// rig is a deployment's CA with the hosts that it knows.
type rig struct {
	t     *testing.T
	ca    *pki.CA
	dir   string // of the CA
	hosts map[string]*pki.Leaf
	made  map[string]dossier.Evidence
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	return &rig{t, createCA(t, dir, "clinic"), dir, map[string]*pki.Leaf{}, map[string]dossier.Evidence{}}
}

func newCA(t *testing.T, deployment string) *pki.CA {
	t.Helper()
	return createCA(t, filepath.Join(t.TempDir(), "ca"), deployment)
}

func createCA(t *testing.T, dir, deployment string) *pki.CA {
	t.Helper()
	ca, err := pki.Create(dir, deployment, pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// host is a host's certificate, the same each time.
func (r *rig) host(role identity.Role, name string) *pki.Leaf {
	r.t.Helper()
	key := string(role) + "/" + name
	if r.hosts[key] == nil {
		r.hosts[key] = issue(r.t, r.ca, role, name)
	}
	return r.hosts[key]
}

func issue(t *testing.T, ca *pki.CA, role identity.Role, name string) *pki.Leaf {
	t.Helper()
	id, err := identity.New(ca.Deployment(), role, name)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(pki.Request{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// found is a report with every check that the vantage sees, of which some have another
// outcome. Nobody has signed it.
func found(host string, vantage evidence.Vantage, outcomes map[string]evidence.Outcome) *evidence.Report {
	r := &evidence.Report{Deployment: "clinic", Vantage: vantage, Host: host, Version: "1.0", Started: now.Add(-2 * time.Minute), Finished: now.Add(-time.Minute), Number: 1}
	for _, c := range verify.Checks() {
		if !verify.Sees(vantage, c) {
			continue
		}
		result := evidence.Result{ID: c.ID, Goal: c.Goal, Title: c.Title, Outcome: evidence.Pass, Detail: "it <holds> & more", Evidence: "seen", References: c.References}
		if o := outcomes[c.ID]; o != "" {
			result.Outcome = o
		}
		r.Checks = append(r.Checks, result)
	}
	r.Count()
	r.Set = evidence.SetOf(r.Checks)
	return r
}

// report is what a host has found and signed; what an outsider has, a person has.
func (r *rig) report(host string, vantage evidence.Vantage, outcomes map[string]evidence.Outcome) dossier.Evidence {
	r.t.Helper()
	return r.reportWith(host, vantage, outcomes, nil)
}

func (r *rig) reportWith(host string, vantage evidence.Vantage, outcomes map[string]evidence.Outcome, facts map[string]string) dossier.Evidence {
	r.t.Helper()
	f := found(host, vantage, outcomes)
	for i := range f.Checks {
		if f.Checks[i].ID == "RD-303" {
			f.Checks[i].Facts = facts
		}
	}
	role := identity.App
	switch vantage {
	case evidence.Outsider:
		signed, err := dossier.Attest(filed(r.t, f), r.ca, "Jo <Doe>", now)
		if err != nil {
			r.t.Fatal(err)
		}
		return filed(r.t, signed)
	case evidence.CacheHost:
		role = identity.Gateway
	}
	return signedBy(r.t, f, r.host(role, host))
}

func signedBy(t *testing.T, f *evidence.Report, by *pki.Leaf) dossier.Evidence {
	t.Helper()
	pair := by.Pair()
	if err := dossier.Sign(f, &pair); err != nil {
		t.Fatal(err)
	}
	return filed(t, f)
}

// filed is a report as it lies in its file.
func filed(t *testing.T, f *evidence.Report) dossier.Evidence {
	t.Helper()
	text, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return dossier.Evidence{Name: f.Host + ".json", Text: text, Report: f}
}

func at(address string) config.Sources {
	return config.Sources{{Prefix: netip.PrefixFrom(netip.MustParseAddr(address), 32)}}
}

func sources(t *testing.T) dossier.Sources {
	t.Helper()
	policy := engine.Policy{Uses: []engine.Use{engine.Queues}}
	r := newRig(t)
	return dossier.Sources{
		CA:         r.ca,
		Deployment: "clinic", Owner: "the <security> officer", Version: "1.0", Now: now, Policy: &policy,
		Hosts: &config.Deployment{
			Deployment: "clinic", SSHPort: 22, Bastions: at("10.77.0.9"),
			Gateways: []config.Gate{{Name: "cache-1", Address: at("10.77.0.2"), Port: 6379}},
			Apps:     []config.App{{Name: "web-1", Address: at("10.77.0.3")}, {Name: "web-2", Address: at("10.77.0.4")}},
		},
		Evidence: []dossier.Evidence{
			r.report("cache-1", evidence.CacheHost, map[string]evidence.Outcome{"RD-442": evidence.Fail, "RD-211": evidence.Skip}),
			r.report("web-1", evidence.AppHost, map[string]evidence.Outcome{"RD-503": evidence.Skip}),
		},
	}
}

func make1(t *testing.T, s dossier.Sources) *dossier.Dossier {
	t.Helper()
	d, err := dossier.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestBothFormsSayTheSame: every fact of the page is in the Markdown and the other way
// round, and what was put in is escaped.
func TestBothFormsSayTheSame(t *testing.T) {
	d := make1(t, sources(t))
	html, err := d.HTML()
	if err != nil {
		t.Fatal(err)
	}
	markdown, err := d.Markdown()
	if err != nil {
		t.Fatal(err)
	}
	facts := []string{"There is no evidence from web-2", "Nobody has tried from outside", "10.77.0.9", "queues: Nothing is evicted", "RD-442", "high: RD-442 fails", "RD-442 fails on cache-1"}
	for _, c := range verify.Checks() {
		facts = append(facts, c.ID)
	}
	for _, r := range d.Risks {
		facts = append(facts, r.ID)
	}
	for _, c := range d.Controls {
		facts = append(facts, c.Text)
	}
	for _, r := range d.Reports {
		facts = append(facts, r.SHA256)
	}
	for _, fact := range facts {
		if !bytes.Contains(html, []byte(fact)) {
			t.Errorf("the page lacks %q", fact)
		}
		if !bytes.Contains(markdown, []byte(fact)) {
			t.Errorf("the Markdown lacks %q", fact)
		}
	}
	for what, text := range map[string][]byte{"page": html, "Markdown": markdown} {
		if bytes.Contains(text, []byte("it <holds>")) {
			t.Errorf("the %s takes text of a report for markup", what)
		}
	}
	if bytes.Contains(html, []byte("<security>")) || bytes.Contains(html, []byte("ZgotmplZ")) {
		t.Error("the page takes the owner's name for markup")
	}
	// Each link within the page leads somewhere.
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`id="([^"]+)"`).FindAllSubmatch(html, -1) {
		if ids[string(m[1])] {
			t.Errorf("two things have the id %s", m[1])
		}
		ids[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllSubmatch(html, -1) {
		if !ids[string(m[1])] {
			t.Errorf("a link leads to #%s, which isn't there", m[1])
		}
	}
}

// TestFindingsAreNeverBetterThanTheEvidence.
func TestFindingsAreNeverBetterThanTheEvidence(t *testing.T) {
	s := sources(t)
	outcome := func(d *dossier.Dossier, id string) string {
		for _, g := range d.Goals {
			for _, c := range g.Checks {
				if c.ID == id {
					return c.Outcome
				}
			}
		}
		return ""
	}
	d := make1(t, s)
	for id, want := range map[string]string{"RD-442": dossier.Fails, "RD-503": dossier.Holds, "RD-211": dossier.Unproven, "RD-447": dossier.Unproven} {
		if got := outcome(d, id); got != want {
			t.Errorf("%s %s, want %s", id, got, want)
		}
	}
	r := newRig(t)
	f := found("cache-1", evidence.CacheHost, map[string]evidence.Outcome{"RD-442": evidence.Fail})
	for i := range f.Checks {
		if f.Checks[i].ID == "RD-442" {
			f.Checks[i].Accepted = &evidence.Exception{Check: "RD-442", Owner: "ops", Reason: "r", Until: "2027-01-01"}
		}
	}
	f.Count()
	s.CA, s.Evidence = r.ca, []dossier.Evidence{signedBy(t, f, r.host(identity.Gateway, "cache-1"))}
	if d := make1(t, s); outcome(d, "RD-442") != dossier.IsAllowed || d.Summary.Accepted != 1 {
		t.Errorf("accepted: %s, %+v", outcome(d, "RD-442"), d.Summary)
	}
	for i := range f.Checks { // it ended between the report and the dossier
		if a := f.Checks[i].Accepted; a != nil {
			a.Until = now.AddDate(0, 0, -1).Format(time.DateOnly)
		}
	}
	s.Evidence = []dossier.Evidence{signedBy(t, f, r.host(identity.Gateway, "cache-1"))}
	if d := make1(t, s); outcome(d, "RD-442") != dossier.Fails || d.Summary.Accepted != 0 {
		t.Errorf("accepted until yesterday: %s, %+v", outcome(d, "RD-442"), d.Summary)
	}
	s.Evidence = nil
	d = make1(t, s)
	if got := outcome(d, "RD-442"); got != dossier.Unproven {
		t.Errorf("without evidence: %s", got)
	}
	for _, r := range d.Risks {
		if len(r.Checks) > 0 && !strings.Contains(r.Residual, "without evidence") {
			t.Errorf("%s has no evidence and says %q", r.ID, r.Residual)
		}
	}
}

// TestRegistersNameWhatThereIs: a risk relies on checks that exist.
func TestRegistersNameWhatThereIs(t *testing.T) {
	known := map[string]bool{}
	for _, c := range verify.Checks() {
		known[c.ID] = true
	}
	for _, r := range make1(t, sources(t)).Risks {
		for _, id := range r.Checks {
			if !known[id] {
				t.Errorf("%s relies on %s, which isn't there", r.ID, id)
			}
		}
	}
}

// TestAnyChangeIsFound: each byte that is changed, each file that is gone or added, and
// the signature of another CA.
func TestAnyChangeIsFound(t *testing.T) {
	other, s := newCA(t, "clinic"), sources(t)
	ca := s.CA
	write := func() string {
		dir := filepath.Join(t.TempDir(), "dossier")
		if err := make1(t, s).Write(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := write()
	if v, err := dossier.Examine(dir, ca.Roots(), "1.0"); err != nil || v.Signer == nil {
		t.Fatalf("%+v %v", v, err)
	}
	if _, err := dossier.Examine(dir, other.Roots(), "1.0"); err == nil || !strings.Contains(err.Error(), "none of the CA's roots") {
		t.Errorf("another CA: %v", err)
	}
	if err := make1(t, s).Write(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second time: %v", err)
	}
	for name, spoil := range map[string]func(dir string) error{
		"dossier.html":          func(dir string) error { return flip(filepath.Join(dir, "dossier.html")) },
		"evidence/web-1.json":   func(dir string) error { return flip(filepath.Join(dir, "evidence/web-1.json")) },
		"sig":                   func(dir string) error { return flip(filepath.Join(dir, "SHA256SUMS.sig")) },
		"evidence/cache-1.json": func(dir string) error { return os.Remove(filepath.Join(dir, "evidence/cache-1.json")) },
		"another.html":          func(dir string) error { return os.WriteFile(filepath.Join(dir, "another.html"), nil, 0o600) },
		"it is not signed":      func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS.sig")) },
	} {
		dir := write()
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := dossier.Examine(dir, ca.Roots(), "1.0"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What the manifest's hashes allow is signed: a new one for changed files isn't.
	dir = write()
	text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), bytes.SplitAfter(text, []byte("\n"))[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dossier.Examine(dir, ca.Roots(), "1.0"); err == nil {
		t.Error("a manifest that lists less is taken")
	}
}

func flip(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text[len(text)/2] ^= 1
	return os.WriteFile(path, text, 0o600)
}

// TestASignatureServesOnePurpose: the CA signs its ledger and certificates as well.
func TestASignatureServesOnePurpose(t *testing.T) {
	ca := newCA(t, "clinic")
	text := []byte("text")
	sig, err := ca.SignDocument("dossier/1", text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.VerifyDocument(ca.Roots(), "dossier/1", text, sig); err != nil {
		t.Error(err)
	}
	for purpose, text := range map[string]string{"dossier/2": "text", "dossier/1": "text\n", "": "dossier/1\ntext"} {
		if _, err := pki.VerifyDocument(ca.Roots(), purpose, []byte(text), sig); err == nil {
			t.Errorf("taken for %q %q", purpose, text)
		}
	}
}

func TestAReportsPageIsWhole(t *testing.T) {
	e := newRig(t).report("cache-1", evidence.CacheHost, map[string]evidence.Outcome{"RD-442": evidence.Fail})
	page, err := dossier.ReportPage(e.Report)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range e.Report.Checks {
		if !bytes.Contains(page, []byte(c.ID+": ")) {
			t.Errorf("the page lacks %s", c.ID)
		}
	}
	if !json.Valid(e.Text) || bytes.Contains(page, []byte("it <holds>")) {
		t.Error("text of a report is taken for markup")
	}
}
