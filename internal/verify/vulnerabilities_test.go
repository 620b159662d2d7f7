package verify

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

func TestEnginesAreJudgedByReleaseOrPackage(t *testing.T) {
	redis := func(major, minor, patch int) engine.Version {
		return engine.Version{Product: "redis", Major: major, Minor: minor, Patch: patch}
	}
	valkey := func(major, minor, patch int) engine.Version {
		return engine.Version{Product: "valkey", Major: major, Minor: minor, Patch: patch}
	}
	for _, c := range []struct {
		v        engine.Version
		pkg      string
		want     verdict
		unmended int
	}{
		{redis(7, 2, 16), "", sound, 0},
		{redis(7, 2, 9), "", vulnerable, 1},
		{redis(7, 0, 15), "", vulnerable, 0}, // nobody mends it: what it lacks is not on record
		{redis(7, 0, 15), "5:7.0.15-1~deb12u10", sound, 0},
		{redis(7, 0, 15), "5:7.0.15-1~deb12u9", vulnerable, 0},
		{redis(7, 0, 15), "5:7.0.15-1~deb12u4", vulnerable, 2},
		{redis(7, 0, 15), "5:7.0.15-1ubuntu0.24.04.2", unknown, 0},
		{redis(8, 12, 0), "", unknown, 0},
		{valkey(8, 1, 1), "8.1.1+dfsg1-3+deb13u3", sound, 0},
		{valkey(8, 1, 1), "8.1.1+dfsg1-3+deb13u1", vulnerable, 1},
		{valkey(9, 1, 2), "9.1.2-1", sound, 0},
		{valkey(9, 0, 2), "", vulnerable, 2},
		{valkey(8, 0, 1), "8.0.1-2~bpo12+1", unknown, 0},
	} {
		is, reason := judge(c.v, c.pkg)
		if got := unmended(c.v, c.pkg); is != c.want || is != sound && len(got) != c.unmended {
			t.Errorf("%s %q: %v (%s), unmended %v; want %v, %d", c.v, c.pkg, is, reason, got, c.want, c.unmended)
		}
	}
}

// TestVersionsCompareAsDpkgDoes asks dpkg itself.
func TestVersionsCompareAsDpkgDoes(t *testing.T) {
	versions := []string{
		"7.0.15", "5:7.0.15-1~deb12u10", "5:7.0.15-1~deb12u9", "5:7.0.15-1", "5:7.0.15-1ubuntu0.24.04.2", "5:7.0.15-1+b1",
		"8.1.1+dfsg1-3+deb13u3", "8.1.1+dfsg1-3", "8.1.1+dfsg1-2", "8.1.10", "8.1.9", "9.1.2", "9.1.2-1", "0:9.1.2-1", "1.0~rc1", "1.0", "1.0a", "1.0+", "01.0", "1.0-0",
	}
	for _, a := range versions {
		for _, b := range versions {
			got := compareVersions(a, b)
			for relation, holds := range map[string]bool{"lt": got < 0, "eq": got == 0, "gt": got > 0} {
				if dpkg := exec.Command("dpkg", "--compare-versions", a, relation, b).Run() == nil; dpkg != holds {
					t.Errorf("%s %s %s: dpkg says %v", a, relation, b, dpkg)
				}
			}
		}
	}
}

// TestTheTableIsBelievedForAQuarter and not a day longer: who has an old redoubt is told
// that nothing is known, not that all is mended.
func TestTheTableIsBelievedForAQuarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &Target{Cache: &Cache{Audit: func(context.Context) (engine.Audit, error) {
			return engine.Audit{PID: os.Getpid(), Version: engine.Version{Product: "redis", Major: 7, Minor: 2, Patch: 16}}, nil
		}}}
		for _, c := range []struct {
			days     int
			believed bool
		}{{89, true}, {92, false}, {365, false}} {
			time.Sleep(time.Until(tableDate.AddDate(0, 0, c.days)))
			f := engineIsMended.Run(t.Context(), target, new(Notes))
			if old := f.outcome == evidence.Skip && strings.Contains(f.detail, "believed for"); old == c.believed {
				t.Errorf("after %d days: %s, %s", c.days, f.outcome, f.detail)
			}
		}
	})
}

// TestAPackageOfAnotherVersionSaysNothing of what runs.
func TestAPackageOfAnotherVersionSaysNothing(t *testing.T) {
	v := engine.Version{Product: "redis", Major: 7, Minor: 0, Patch: 1}
	for pkg, fails := range map[string]bool{"5:7.0.15-1~deb12u10": true, "5:7.0.2-1": true, "5:7.0.1-3": false, "5:7.0.1+dfsg1-3": false} {
		f := debianPackage{"redoubt-no-such", pkg}.runs(process{pid: 1}, "/usr/bin/redis-server", v, new(Notes))
		if (f.outcome == evidence.Fail) != fails || f.outcome == evidence.Pass {
			t.Errorf("%s: %s %s", pkg, f.outcome, f.detail)
		}
	}
}

// TestWhatRunsIsThePackagesFile: what is judged is the process, not what is installed.
func TestWhatRunsIsThePackagesFile(t *testing.T) {
	cmd := exec.Command("/usr/bin/tail", "-f", "/dev/null")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	v := engine.Version{Product: "redis", Major: 9, Minor: 1}
	pkg := debianPackage{"coreutils", "9.1.0-1"}
	for pid, want := range map[int]evidence.Outcome{cmd.Process.Pid: evidence.Pass, os.Getpid(): evidence.Fail} {
		if f := pkg.runs(process{pid: pid}, "/usr/bin/tail", v, new(Notes)); f.outcome != want {
			t.Errorf("%d: %s %s, want %s", pid, f.outcome, f.detail, want)
		}
	}
}
