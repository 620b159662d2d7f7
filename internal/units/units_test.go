package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// TestSystemdUnderstandsEveryLine: systemd-analyze verify is silent only about units
// in which it knows every directive. The program is this test's own, since it must
// exist.
func TestSystemdUnderstandsEveryLine(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []identity.Role{identity.Gateway, identity.App} {
		dir := t.TempDir()
		var services []string
		for _, f := range Files(role, program) {
			if !strings.HasPrefix(f.Path, "systemd/system/") {
				continue
			}
			path := filepath.Join(dir, filepath.Base(f.Path))
			// There is no manual to be found before it is installed.
			text := strings.ReplaceAll(f.Text, "Documentation=man:redoubt(1)\n", "")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			services = append(services, path)
		}
		out, err := exec.Command("systemd-analyze", append([]string{"verify", "--recursive-errors=no"}, services...)...).CombinedOutput()
		if err != nil || len(out) != 0 {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// score is how much of a host a unit is exposed to, as systemd counts it: 0 is the
// tightest, an ordinary service has 9.6.
func score(t *testing.T, role identity.Role) float64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "redoubt.service")
	if err := os.WriteFile(path, []byte(Files(role, Program)[0].Text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", path).CombinedOutput()
	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTheSandboxIsAsTightAsItWas, and docs/systemd.md says so.
func TestTheSandboxIsAsTightAsItWas(t *testing.T) {
	page, err := os.ReadFile("../../docs/systemd.md")
	if err != nil {
		t.Fatal(err)
	}
	for role, most := range map[identity.Role]float64{identity.Gateway: 3.1, identity.App: 1.5} {
		got := score(t, role)
		t.Logf("%s: %.1f", role, got)
		if got > most {
			t.Errorf("%s: %.1f, at most %.1f", role, got, most)
		}
		if want := "| " + string(role) + " | " + strconv.FormatFloat(got, 'f', 1, 64) + " |"; !strings.Contains(string(page), want) {
			t.Errorf("docs/systemd.md doesn't have %q", want)
		}
	}
}
