package dossier_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// An attack makes a report that must not count, of web-1, which has found something bad.
type attack struct {
	name, want string
	make       func(r *rig) dossier.Evidence
	// later says that what is wrong can't be told from the dossier alone.
	later bool
}

// bad is web-1's true report.
func bad() *evidence.Report {
	return found("web-1", evidence.AppHost, map[string]evidence.Outcome{"RD-120": evidence.Fail, "RD-122": evidence.Fail})
}

// flipAll turns what fails into what passes, and keeps the counts and the set right.
func flipAll(f *evidence.Report) {
	for i := range f.Checks {
		f.Checks[i].Outcome = evidence.Pass
	}
	f.Count()
}

func trim(f *evidence.Report) {
	f.Checks = slices.DeleteFunc(f.Checks, func(c evidence.Result) bool { return c.Outcome == evidence.Fail })
	f.Count()
	f.Set = evidence.SetOf(f.Checks)
}

var attacks = []attack{
	{name: "flipped", want: "its signature isn't good", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		flipAll(e.Report)
		return filed(r.t, e.Report)
	}},
	{name: "flipped, its counts as they were", want: "its summary", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		e.Text = bytes.Replace(e.Text, []byte(`"outcome": "fail"`), []byte(`"outcome": "pass"`), 1)
		return e
	}},
	{name: "trimmed", want: "every check", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		trim(e.Report)
		return filed(r.t, e.Report)
	}},
	{name: "trimmed by the host itself", want: "every check", make: func(r *rig) dossier.Evidence {
		f := bad()
		trim(f)
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "a check renamed by the host itself", want: "every check", make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Checks[0].Title = "Something harmless"
		f.Set = evidence.SetOf(f.Checks)
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "stale", want: "counts for 31 days", make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Started, f.Finished = now.AddDate(0, 0, -32), now.AddDate(0, 0, -32).Add(time.Minute)
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "from the future", want: "look at the clocks", make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Started, f.Finished = now.Add(time.Hour), now.Add(2*time.Hour)
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "before its certificate", want: "not yet valid", make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Started, f.Finished = now.Add(-3*time.Hour), now.Add(-2*time.Hour)
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "of another deployment", want: `"hospital"`, make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Deployment = "hospital"
		return signedBy(r.t, f, issue(r.t, newCA(r.t, "hospital"), identity.App, "web-1"))
	}},
	{name: "of another CA", want: "unknown authority", make: func(r *rig) dossier.Evidence {
		return signedBy(r.t, bad(), issue(r.t, newCA(r.t, "clinic"), identity.App, "web-1"))
	}},
	{name: "of another host's key", want: "spiffe://clinic/app/web-2", make: func(r *rig) dossier.Evidence {
		return signedBy(r.t, bad(), r.host(identity.App, "web-2"))
	}},
	{name: "of another role's key", want: "spiffe://clinic/gateway/web-1", make: func(r *rig) dossier.Evidence {
		return signedBy(r.t, bad(), r.host(identity.Gateway, "web-1"))
	}},
	{name: "another's certificate, its own key", want: "its signature isn't good", make: func(r *rig) dossier.Evidence {
		pair := r.host(identity.App, "web-1").Pair()
		pair.PrivateKey = r.host(identity.App, "web-2").Pair().PrivateKey
		f := bad()
		if err := dossier.Sign(f, &pair); err != nil {
			r.t.Fatal(err)
		}
		return filed(r.t, f)
	}},
	{name: "of a revoked host", want: "revoked", make: func(r *rig) dossier.Evidence {
		leaf := r.host(identity.App, "web-1")
		id, err := identity.New("clinic", identity.App, "web-1")
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.ca.Revoke(id); err != nil {
			r.t.Fatal(err)
		}
		return signedBy(r.t, bad(), leaf)
	}},
	{name: "for another purpose", want: "its signature isn't good", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		text, err := e.Report.Signed()
		if err != nil {
			r.t.Fatal(err)
		}
		key := r.host(identity.App, "web-1").Pair().PrivateKey
		e.Report.Signature.Value = as(r.t, key, "dossier/1", text)
		return filed(r.t, e.Report)
	}},
	{name: "written anew", want: "not as redoubt verify wrote it", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		var any map[string]any
		if err := json.Unmarshal(e.Text, &any); err != nil {
			r.t.Fatal(err)
		}
		e.Text, _ = json.Marshal(any)
		return e
	}},
	{name: "something put in", want: "not as redoubt verify wrote it", make: func(r *rig) dossier.Evidence {
		e := signedBy(r.t, bad(), r.host(identity.App, "web-1"))
		e.Text = bytes.Replace(e.Text, []byte("{"), []byte(`{"note": "all is well",`), 1)
		return e
	}},
	{name: "attested by the CA, flipped after that", want: "none of the CA's roots", make: func(r *rig) dossier.Evidence {
		e := r.report("mallory", evidence.Outsider, map[string]evidence.Outcome{"RD-140": evidence.Fail})
		flipAll(e.Report)
		return filed(r.t, e.Report)
	}},
	{name: "an outsider with a host's key", want: "no certificate to sign with", make: func(r *rig) dossier.Evidence {
		return signedBy(r.t, found("web-1", evidence.Outsider, nil), r.host(identity.App, "web-1"))
	}},
	{name: "its signature taken off", want: "has a certificate of this CA", later: true, make: func(r *rig) dossier.Evidence {
		r.host(identity.App, "web-1")
		f := bad()
		flipAll(f)
		return filed(r.t, f)
	}},
	{name: "of another version", want: "redoubt 0.9", later: true, make: func(r *rig) dossier.Evidence {
		f := bad()
		f.Version = "0.9"
		return signedBy(r.t, f, r.host(identity.App, "web-1"))
	}},
	{name: "of a certificate that the ledger doesn't know", want: "ledger doesn't know it", later: true, make: func(r *rig) dossier.Evidence {
		// A CA that was put back from a backup, with its key: what it gave out since is unknown.
		dir := filepath.Join(r.t.TempDir(), "ca")
		if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
			r.t.Fatal(err)
		}
		for _, name := range []string{"ca.key", "issued"} {
			if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			r.t.Fatal(err)
		}
		copied, err := pki.Open(dir, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		return signedBy(r.t, bad(), issue(r.t, copied, identity.App, "web-1"))
	}},
}

// TestAReportThatIsNotWhatItSaysIsRefused: when the dossier is written, and when it is
// verified by somebody who has the CA's root alone; the error names the file and the cause.
func TestAReportThatIsNotWhatItSaysIsRefused(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			r := newRig(t)
			e := a.make(r)
			if _, err := evidence.Decode(e.Text); err == nil { // else the command doesn't get as far
				s := dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: []dossier.Evidence{e}}
				_, err := dossier.New(s)
				if err == nil || !strings.Contains(err.Error(), a.want) || !strings.Contains(err.Error(), e.Name) {
					t.Errorf("written: %v, want %q", err, a.want)
				}
				if err := r.authenticate(e); !a.later && (err == nil || !strings.Contains(err.Error(), a.want) || !strings.Contains(err.Error(), e.Name)) {
					t.Errorf("as an outsider reads it: %v, want %q", err, a.want)
				}
			} else if !strings.Contains(err.Error(), a.want) {
				t.Errorf("read: %v, want %q", err, a.want)
			}
			if a.later {
				return
			}
			dir := r.smuggle(e)
			if _, err := dossier.Examine(dir, r.ca.Roots(), "1.0"); err == nil || !strings.Contains(err.Error(), a.want) || !strings.Contains(err.Error(), e.Name) {
				t.Errorf("verified: %v, want %q", err, a.want)
			}
		})
	}
}

// TestWhatTheHostsHaveSignedIsTaken is the control of all attacks.
func TestWhatTheHostsHaveSignedIsTaken(t *testing.T) {
	r := newRig(t)
	s := dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: []dossier.Evidence{
		r.report("cache-1", evidence.CacheHost, nil), r.report("web-1", evidence.AppHost, nil), r.report("mallory", evidence.Outsider, nil),
	}}
	dir := filepath.Join(t.TempDir(), "dossier")
	d := make1(t, s)
	if err := d.Write(dir); err != nil {
		t.Fatal(err)
	}
	if v, err := dossier.Examine(dir, r.ca.Roots(), "1.0"); err != nil || v.Reports != 3 {
		t.Fatalf("%+v %v", v, err)
	}
	for i, want := range []string{"signed by cache-1", "signed by web-1", "attested by Jo <Doe>, " + now.Format(time.DateOnly)} {
		if got := d.Reports[i].By; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestAnOutsiderBelievesWhoAnswers: a host that signed, a person who attested; and, unless
// a list of revoked certificates is at hand, nobody can tell it of those.
func TestAnOutsiderBelievesWhoAnswers(t *testing.T) {
	r := newRig(t)
	if err := r.authenticate(r.report("cache-1", evidence.CacheHost, nil), r.report("mallory", evidence.Outsider, nil)); err != nil {
		t.Error(err)
	}
	if err := r.authenticate(filed(t, bad())); err == nil || !strings.Contains(err.Error(), "web-1.json: nobody has signed it") {
		t.Errorf("not signed: %v", err)
	}
	web := r.report("web-1", evidence.AppHost, nil)
	id, err := identity.New("clinic", identity.App, "web-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ca.Revoke(id); err != nil {
		t.Fatal(err)
	}
	if err := r.authenticate(web); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("revoked: %v", err)
	}
	if err := dossier.Authenticate([]dossier.Evidence{web}, r.ca.Roots(), "clinic", "1.0", nil, now); err != nil {
		t.Errorf("no list is at hand: %v", err)
	}
}

func (r *rig) authenticate(reports ...dossier.Evidence) error {
	r.t.Helper()
	revoked, err := r.ca.Revocations()
	if err != nil {
		r.t.Fatal(err)
	}
	return dossier.Authenticate(reports, r.ca.Roots(), "clinic", "1.0", revoked, now)
}

// TestEveryKindOfKeySigns.
func TestEveryKindOfKeySigns(t *testing.T) {
	for _, kind := range []pki.KeyType{pki.ECDSA, pki.RSA, pki.Ed25519} {
		r := newRig(t)
		id, err := identity.New("clinic", identity.App, "web-1")
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := r.ca.Issue(pki.Request{ID: id, Key: kind})
		if err != nil {
			t.Fatal(err)
		}
		make1(t, dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: []dossier.Evidence{signedBy(t, bad(), leaf)}})
	}
}

// TestNobodysReportProvesNothing: without a signature, of a host that the CA doesn't know,
// or without a CA; and a failure in it counts nevertheless.
func TestNobodysReportProvesNothing(t *testing.T) {
	r := newRig(t)
	report := found("mallory", evidence.Outsider, map[string]evidence.Outcome{"RD-141": evidence.Fail})
	for name, s := range map[string]dossier.Sources{
		"not signed": {CA: r.ca, Evidence: []dossier.Evidence{filed(t, report)}},
		"no CA":      {Evidence: []dossier.Evidence{filed(t, report)}},
	} {
		s.Deployment, s.Version, s.Now = "clinic", "1.0", now
		d := make1(t, s)
		for _, g := range d.Goals {
			for _, c := range g.Checks {
				if want := map[bool]string{true: dossier.Fails, false: dossier.Unproven}[c.ID == "RD-141"]; c.Outcome != want {
					t.Errorf("%s: %s %s, want %s", name, c.ID, c.Outcome, want)
				}
			}
		}
		if !strings.Contains(strings.Join(d.Warnings, "\n"), "mallory.json is not authenticated") {
			t.Errorf("%s: %q", name, d.Warnings)
		}
		text, err := d.AssessmentResults()
		if err != nil || bytes.Contains(text, []byte(`"satisfied"`)) {
			t.Errorf("%s: OSCAL calls it satisfied (%v)", name, err)
		}
	}
}

// TestAPersonAnswersOnlyForHostsWithoutACertificate.
func TestAPersonAnswersOnlyForHostsWithoutACertificate(t *testing.T) {
	r := newRig(t)
	r.host(identity.App, "web-1")
	foreign := found("mallory", evidence.Outsider, nil)
	foreign.Deployment = "hospital"
	for want, e := range map[string]dossier.Evidence{
		"has a certificate": filed(t, bad()),
		"hospital":          filed(t, foreign),
		"signed already":    r.report("mallory", evidence.Outsider, nil),
	} {
		if _, err := dossier.Attest(e, r.ca, "Jo", now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Nor when it was attested before the host got its certificate.
	r = newRig(t)
	e, err := dossier.Attest(filed(t, bad()), r.ca, "Jo", now)
	if err != nil {
		t.Fatal(err)
	}
	r.host(identity.App, "web-1")
	_, err = dossier.New(dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: []dossier.Evidence{filed(t, e)}})
	if err == nil || !strings.Contains(err.Error(), "has a certificate") {
		t.Errorf("%v", err)
	}
}

func hexOf(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text)) }

func as(t *testing.T, key any, purpose string, text []byte) []byte {
	t.Helper()
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatal("no signer")
	}
	sig, err := pki.SignDocumentAs(signer, purpose, text)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// smuggle writes a good dossier, puts a report into it, and has the CA sign that: what
// who holds its key for a moment could do.
func (r *rig) smuggle(e dossier.Evidence) (dir string) {
	r.t.Helper()
	dir = filepath.Join(r.t.TempDir(), "dossier")
	s := dossier.Sources{Deployment: "clinic", CA: r.ca, Version: "1.0", Now: now, Evidence: []dossier.Evidence{r.report("cache-1", evidence.CacheHost, nil)}}
	if err := make1(r.t, s).Write(dir); err != nil {
		r.t.Fatal(err)
	}
	if _, err := dossier.Examine(dir, r.ca.Roots(), "1.0"); err != nil {
		r.t.Fatalf("before: %v", err)
	}
	sums := filepath.Join(dir, "SHA256SUMS")
	manifest, err := os.ReadFile(sums)
	if err != nil {
		r.t.Fatal(err)
	}
	manifest = fmt.Appendf(manifest, "%s  evidence/%s\n", hexOf(e.Text), e.Name)
	sig, err := r.ca.SignDocument("dossier/1", manifest)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		sums: manifest, sums + ".sig": []byte(base64.StdEncoding.EncodeToString(sig)), filepath.Join(dir, "evidence", e.Name): e.Text,
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	return dir
}
