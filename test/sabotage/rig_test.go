// Package sabotage_test breaks one thing of a deployment at a time, on real parts,
// and sees that redoubt verify finds exactly that: every check on the sound
// deployment, then every check again, of which exactly one must fail more.
//
// Each file has the sabotages of a goal. Most need no change of the product: a proxy
// before the tunnel or the engine that allows one thing, a file's mode, an engine
// that lacks a fix. Where the engine or its sandbox must be broken from within, the
// binary is built with the tag sabotage, whose few lines stand in internal/engine and
// internal/sandbox and are in no other build.
package sabotage_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
	"github.com/redoubt-cache/redoubt/internal/verify"
	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// A sabotage breaks what one check claims.
type sabotage struct {
	id   string
	from evidence.Vantage
	how  string // what is broken, for docs/sabotage.md
	// env is what the binary with the tag sabotage is told; "": the usual binary.
	env  string
	args []string // of redoubt up
	// broken changes the running deployment, or what lies before it.
	broken func(t *testing.T, d *deployment)
}

// elsewhere are the checks whose sabotage is another test's.
var elsewhere = map[string]string{
	"RD-507": "test/e2e, TestAnEditedFileIsFound: it needs a gateway with a configuration file",
}

func sabotages() []sabotage {
	return slices.Concat(environmentSabotages(), accessSabotages(), flightSabotages(), restSabotages(), changeSabotages(), recordSabotages())
}

// TestEveryCheckFindsItsSabotageAndNoOther is the point of it all.
func TestEveryCheckFindsItsSabotageAndNoOther(t *testing.T) {
	lab.Sabotaged(t)
	layOut(t)
	sound := map[evidence.Vantage]map[string]evidence.Outcome{}
	for _, v := range []evidence.Vantage{evidence.CacheHost, evidence.AppHost, evidence.Outsider} {
		sound[v] = outcomes(t, up1(t, v, "", nil).target)
	}
	for _, s := range sabotages() {
		t.Run(s.id+" "+s.how, func(t *testing.T) {
			t.Parallel()
			if got := sound[s.from][s.id]; got != evidence.Pass {
				t.Fatalf("on the sound deployment it doesn't pass, but: %q", got)
			}
			d := up1(t, s.from, s.env, s.args)
			if s.broken != nil {
				s.broken(t, d)
			}
			report := verify.Run(t.Context(), d.target, verify.Checks(), verify.Options{})
			for _, c := range report.Checks {
				failed := c.Outcome == evidence.Fail
				switch before := sound[s.from][c.ID] == evidence.Fail; {
				case c.ID == s.id && !failed:
					t.Errorf("%s doesn't find it: %s, %s\n%s", c.ID, c.Outcome, c.Detail, c.Evidence)
				case c.ID != s.id && failed && !before:
					t.Errorf("%s fails as well: %s\n%s", c.ID, c.Detail, c.Evidence)
				case c.ID != s.id && before && !failed:
					t.Errorf("%s fails no more: %s, %s", c.ID, c.Outcome, c.Detail)
				}
			}
		})
	}
}

// TestEveryCheckHasItsSabotage, or a reason why not.
func TestEveryCheckHasItsSabotage(t *testing.T) {
	has := map[string]bool{}
	for _, s := range sabotages() {
		has[s.id] = true
	}
	for _, c := range verify.Checks() {
		switch reason := elsewhere[c.ID]; {
		case !has[c.ID] && reason == "":
			t.Errorf("%s has no sabotage", c.ID)
		case has[c.ID] && reason != "":
			t.Errorf("%s has one here, and elsewhere says %q", c.ID, reason)
		}
		delete(has, c.ID)
	}
	for id := range has {
		t.Errorf("there is no check %s to sabotage", id)
	}
}

// TestNoOtherBuildCanBeSabotaged: the binary that is shipped has nothing of it.
func TestNoOtherBuildCanBeSabotaged(t *testing.T) {
	const mark = "REDOUBT_SABOTAGE"
	for path, want := range map[string]bool{lab.Redoubt(t): false, lab.Sabotaged(t): true} {
		binary, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(binary), mark); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// outcomes are those of a sound deployment.
func outcomes(t *testing.T, target *verify.Target) map[string]evidence.Outcome {
	t.Helper()
	all := map[string]evidence.Outcome{}
	for _, c := range verify.Run(t.Context(), target, verify.Checks(), verify.Options{}).Checks {
		all[c.ID] = c.Outcome
		if c.Outcome != evidence.Pass {
			t.Logf("from %s, sound: %s %s: %s", target.Vantage, c.ID, c.Outcome, c.Detail)
		}
	}
	return all
}

// deployment is a running one, and how a verification looks at it.
type deployment struct {
	*lab.Deployment
	target *verify.Target
}

// up1 runs a deployment of its own for one sabotage.
func up1(t *testing.T, from evidence.Vantage, env string, args []string) *deployment {
	t.Helper()
	cmd := exec.Command(lab.Redoubt(t))
	if env != "" {
		cmd = exec.Command(lab.Sabotaged(t))
		cmd.Env = append(os.Environ(), "REDOUBT_SABOTAGE="+env)
	}
	d := &deployment{Deployment: lab.UpBy(t, cmd, filepath.Join(t.TempDir(), "state"), args...)}
	d.look(t, from)
	return d
}

// look makes the target as the command line does, but of one host alone: so each
// check is tried from where it belongs.
func (d *deployment) look(t *testing.T, from evidence.Vantage) {
	t.Helper()
	target, err := up.Target(d.Dir)
	if err != nil {
		t.Fatal(err)
	}
	d.target, target.Vantage = target, from
	socket := filepath.Join(d.Dir, "admin.sock")
	target.Cache.PID, target.App.PID = d.PID(), d.PID()
	target.Cache.Listen = d.Gateway
	target.App.Listen, target.App.Bound = d.Sidecar, wordAfter(d.Output(), "sidecar")
	target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(d.Gateway)}
	target.Cache.Audit = func(ctx context.Context) (a engine.Audit, err error) {
		return a, admin.Call(ctx, socket, http.MethodGet, "/audit", &a)
	}
	target.Cache.NewGuest = func(ctx context.Context) (g engine.Guest, err error) {
		return g, admin.Call(ctx, socket, http.MethodPost, "/guest", &g)
	}
	target.Cache.Dismiss = func(ctx context.Context, user string) error {
		return admin.Call(ctx, socket, http.MethodDelete, "/guest/"+user, new(json.RawMessage))
	}
	switch from {
	case evidence.CacheHost:
		target.App = nil
	case evidence.AppHost:
		target.Cache = nil
	case evidence.Outsider:
		target.Cache, target.App = nil, nil
		target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(nobodyThere(t))}
		target.Hosts = hostsAt("127.0.0.9")
	}
}

func wordAfter(text, first string) string {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == first {
			return strings.TrimRight(fields[1], ",")
		}
	}
	return ""
}
