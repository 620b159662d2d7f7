package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestADossierIsOfReportsThatTheirHostSigned, as people make it: verify signs and counts
// its reports; one that was edited, with its counts put right, ends dossier and dossier
// verify with exit code 1 and an error that names the file and what is wrong.
func TestADossierIsOfReportsThatTheirHostSigned(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	out := t.TempDir()
	at := func(name string) string { return filepath.Join(out, name) }
	const judged = -1 // any code but 2, which says that nothing was
	redoubt := func(want int, args ...string) string {
		t.Helper()
		text, code := lab.Run(t, exec.CommandContext(t.Context(), lab.Redoubt(t), args...))
		if want >= 0 && code != want || want < 0 && code == 2 {
			t.Errorf("redoubt %v: exit code %d, want %d\n%s", args, code, want, text)
		}
		return text
	}
	wants := func(text, want string) {
		t.Helper()
		if !strings.Contains(text, want) {
			t.Errorf("%s\nwant %q", text, want)
		}
	}
	ca := filepath.Join(d.Dir, "ca", "ca.crt")
	for n := range 2 {
		name := at(fmt.Sprintf("%d.json", n+1))
		redoubt(judged, "verify", "--dir", d.Dir, "--host", "--json", name)
		if r := readReport(t, name); r.Number != n+1 || r.Signature == nil || (r.Previous == "") != (n == 0) {
			t.Fatalf("number %d, previous %q, signature %v", r.Number, r.Previous, r.Signature)
		}
	}
	// A count that can't be read is said, and the report has none.
	count := filepath.Join(d.Dir, "sidecar", "reports")
	was, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(count, []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(redoubt(judged, "verify", "--dir", d.Dir, "--json", at("uncounted.json")), "the report has no number")
	if r := readReport(t, at("uncounted.json")); r.Number != 0 || r.Signature == nil {
		t.Errorf("number %d, signature %v", r.Number, r.Signature)
	}
	if err := os.WriteFile(count, was, 0o600); err != nil {
		t.Fatal(err)
	}
	dossier := func(want int, name string, reports ...string) string {
		t.Helper()
		args := []string{"dossier", "--ca", d.Dir, "--out", at(name)}
		for _, r := range reports {
			args = append(args, "--evidence", r)
		}
		return redoubt(want, args...)
	}
	dossier(0, "good", at("1.json"), at("2.json"))
	wants(redoubt(0, "dossier", "verify", at("good"), "--ca", ca), "of them reports: 2")
	wants(redoubt(2, "dossier", "verify", at("good")), "--ca")

	r := readReport(t, at("2.json"))
	forged := allPass(t, r)
	write := func(path string, text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(at("forged.json"), forged)
	text := dossier(1, "bad", at("forged.json"))
	wants(text, "forged.json: its signature isn't good")
	if _, err := os.Stat(at("bad")); err == nil {
		t.Error("something was written")
	}
	write(filepath.Join(at("good"), "evidence", "2.json"), forged)
	wants(redoubt(1, "dossier", "verify", at("good"), "--ca", ca), "evidence/2.json has been changed")

	// Cut, and its signature taken off: this host signs for itself.
	r.Signature, r.Checks = nil, r.Checks[:20]
	r.Count()
	r.Set = evidence.SetOf(r.Checks)
	if text, err := r.Encode(); err == nil {
		write(at("cut.json"), text)
	}
	wants(dossier(1, "bad", at("cut.json")), "cut.json: it doesn't hold every check")
	write(at("half.json"), forged[:len(forged)/2])
	wants(dossier(1, "bad", at("half.json")), "half.json: not a report")
	wants(redoubt(1, "dossier", "attest", at("1.json"), "--by", "Jo", "--ca", d.Dir), "signed already")

	// Of another deployment: the same names, another CA.
	other := lab.Up(t)
	redoubt(judged, "verify", "--dir", other.Dir, "--json", at("other.json"))
	wants(dossier(1, "bad", at("other.json")), "other.json: the certificate that signed it")
	wants(redoubt(1, "dossier", "verify", at("good"), "--ca", filepath.Join(other.Dir, "ca", "ca.crt")), "evidence/2.json has been changed")

	// What is written to stdout is signed too.
	cmd := exec.CommandContext(t.Context(), lab.Redoubt(t), "verify", "--dir", other.Dir, "--json", "-")
	printed, _ := cmd.Output()
	if r, err := evidence.Decode(bytes.TrimSpace(printed)); err != nil || r.Number != 2 || r.Signature == nil {
		t.Errorf("%v", err)
	}
}

// allPass turns every result of a report into a pass, and puts the counts right.
func allPass(t *testing.T, r *evidence.Report) []byte {
	t.Helper()
	for i := range r.Checks {
		r.Checks[i].Outcome = evidence.Pass
	}
	r.Count()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
