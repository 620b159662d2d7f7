package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhatWasNotTriedIsNotProved: a verification that could try next to nothing ends
// with exit code 3 and says what is lacking; and no check fails for it.
func TestWhatWasNotTriedIsNotProved(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ownSockets()
	for dir := s.dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var exceptions strings.Builder // what this machine is set to is none of this test's
	for _, id := range ofTheMachine {
		exceptions.WriteString("  - {check: " + id + ", owner: nobody, reason: a test, until: 2099-12-31}\n")
	}
	for host, file := range map[string]string{"cache-1": "gateway.yaml", "web-1": "sidecar.yaml"} {
		if err := os.Chmod(s.path(host), 0o755); err != nil {
			t.Fatal(err)
		}
		s.write(file, s.path(host), read(t, s.path(host, file))+"exceptions:\n"+exceptions.String())
		if err := os.Chmod(s.path(host, file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	try := func(what string, host *lab.Host, says string, args ...string) *evidence.Report {
		t.Helper()
		out, code := lab.Run(t, host.Command(args...))
		if code != 3 || !strings.Contains(out, "not proved") || !strings.Contains(out, says) {
			t.Errorf("%s: exit code %d, want 3 and %q\n%s", what, code, says, out)
		}
		r := readReport(t, args[len(args)-1])
		if bad := failing(r); len(bad) > 0 {
			t.Errorf("%s: %v", what, bad)
		}
		return r
	}
	report := func() string { return filepath.Join(t.TempDir(), "report.json") }
	gateway, sidecar := s.path("cache-1", "gateway.yaml"), s.path("web-1", "sidecar.yaml")
	redoubt, env := lab.Redoubt(t), s.path("secret", "app.env")
	try("no gateway runs", s.cache, "not running", redoubt, "verify", "--config", gateway, "--json", report())
	try("no sidecar runs", s.web, "not running", redoubt, "verify", "--config", sidecar, "--json", report())

	s.sidecar(s.web)
	r := readReport(t, func() string {
		path := report()
		lab.Run(t, s.web.Command(redoubt, "verify", "--config", sidecar, "--env", env, "--json", path))
		return path
	}())
	for _, id := range []string{"RD-211", "RD-213"} {
		if c := resultOf(t, r, id); c.Outcome != evidence.Skip || !strings.Contains(c.Detail, "10.77.0.2:6379") {
			t.Errorf("a sidecar without its gateway: %s %s: %s", id, c.Outcome, c.Detail)
		}
	}
	s.gateway()
	theirs := filepath.Join(t.TempDir(), "theirs")
	for dir := filepath.Dir(theirs); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for what, host := range map[string]*lab.Host{gateway: s.cache, sidecar: s.web} {
		r := try("not as root: "+what, host, "sudo", "setpriv", "--reuid", "61234", "--regid", "61234", "--clear-groups", redoubt, "verify", "--config", what, "--json", theirs+filepath.Base(what))
		if c := resultOf(t, r, "RD-209"); c.Outcome != evidence.Skip || !strings.Contains(c.Detail, "root") {
			t.Errorf("%s: %s: %s", c.ID, c.Outcome, c.Detail)
		}
	}
}
