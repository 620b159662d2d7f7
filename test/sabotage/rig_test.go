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
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	network "github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
	"github.com/redoubt-cache/redoubt/internal/verify"
	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) {
	sandbox.Main(network.Role()) // of RD-418 and RD-423, which start this very binary in the sandbox
	beFiltered()
	haveOwnNetwork()
	flag.Parse()
	flag.Set("test.parallel", "8") // they wait for certificates to end, most of the time
	os.Exit(lab.Main(m))
}

// haveOwnNetwork starts this program again in a network of its own: checks see all that
// listens on a host, and other packages' tests listen as well.
func haveOwnNetwork() {
	const has = "REDOUBT_TEST_OWN_NETWORK"
	if os.Getenv(has) != "" {
		return
	}
	runtime.LockOSThread() // what is started from here is in that network
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = exec.Command("ip", "link", "set", "lo", "up").Run()
	}
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), has+"=1"))
	}
	panic(err)
}

// A sabotage breaks what one check claims.
type sabotage struct {
	id   string
	from evidence.Vantage
	how  string // what is broken, for docs/sabotage.md

	env    string                      // what the binary with the tag sabotage is told; "": the usual binary
	under  bool                        // a filter of system calls, as its unit makes one
	args   []string                    // of redoubt up
	extra  []string                    // of its environment
	holds  func(t *testing.T) *os.File // what it finds open at its start, and its children inherit
	within string                      // what the verifying binary with the tag sabotage is told: it runs as a command
	alone  bool                        // no other runs beside it, since others' verifications would see it
	also   []string                    // what must fail with it, since the sabotage needs more than one thing broken
	over   []instead                   // files of the kernel that the verification reads otherwise
	broken func(t *testing.T, d *deployment)
}

// instead is another text of a file of the kernel's or of /etc, which is mounted over
// it where the verification looks, and nowhere else.
type instead struct {
	path  func(d *deployment) string
	from  string                     // what is replaced in it; "": all of it
	to    string                     // by what
	toOf  func(d *deployment) string // or by this
	mode  os.FileMode                // 0: 0444
	files map[string]string          // or the path is a directory, and these are further files in it
	links map[string]string          // and links
}

// elsewhere are the checks whose sabotage is another test's.
var elsewhere = map[string]string{
	"RD-120": "test/e2e, TestVerifyFromEveryHost: it needs a host with a packet filter",
	"RD-126": "test/hosts, TestSystemdRunsTheRolesInTheirSandboxes: it needs a host whose updates can be turned off",
	"RD-127": "test/hosts, TestSystemdRunsTheRolesInTheirSandboxes: it needs a host that redoubt host was used on",
	"RD-131": "test/hosts, TestSSHIsServedWhereTheFilterLooks: it needs a host whose sshd can be moved",
	"RD-132": "test/hosts, TestTheFilterComesBack: it needs a host that redoubt host was used on",
	"RD-133": "test/e2e, TestVerifyFromEveryHost: it needs a host with a packet filter",
	"RD-215": "test/e2e, TestAForwarderIsFound: it needs a host whose network is its own",
	"RD-447": "internal/verify, TestDisks: a machine has one kind of disk",
	"RD-621": "test/hosts, TestSystemdRunsTheRolesInTheirSandboxes: it needs a host with a journal",
	"RD-620": "TestTheClocksStateIsSeen: the kernel has one clock for all",
	"RD-507": "test/e2e, TestVerifyFromEveryHost: it needs a gateway with a configuration file",
}

func sabotages() []sabotage {
	return slices.Concat(environmentSabotages(), accessSabotages(), flightSabotages(), restSabotages(), hostSabotages(), changeSabotages(), recordSabotages())
}

// TestEveryCheckFindsItsSabotageAndNoOther is the point of it all: with each check's first
// sabotage, and with the tag slow with the others.
func TestEveryCheckFindsItsSabotageAndNoOther(t *testing.T) {
	lab.Sabotaged(t)
	layOut(t)
	sound := map[evidence.Vantage]map[string]evidence.Outcome{}
	for _, v := range []evidence.Vantage{evidence.CacheHost, evidence.AppHost, evidence.Outsider, evidence.OneMachine} {
		sound[v] = outcomes(t, up1(t, sabotage{from: v}).verify(t, sabotage{}), v)
	}
	tried := map[string]bool{}
	for _, s := range sabotages() {
		first := !tried[s.id]
		tried[s.id] = true
		if first == further {
			continue
		}
		t.Run(s.id+" "+s.how, func(t *testing.T) {
			if !s.alone {
				t.Parallel()
			}
			if got := sound[s.from][s.id]; got != evidence.Pass {
				t.Fatalf("on the sound deployment it doesn't pass, but: %q", got)
			}
			d := up1(t, s)
			if s.broken != nil {
				s.broken(t, d)
			}
			for _, c := range d.verify(t, s).Checks {
				failed, expected := c.Outcome == evidence.Fail, c.ID == s.id || slices.Contains(s.also, c.ID)
				switch before := sound[s.from][c.ID] == evidence.Fail; {
				case expected && !failed:
					t.Errorf("%s doesn't find it: %s, %s\n%s", c.ID, c.Outcome, c.Detail, c.Evidence)
				case !expected && failed && !before:
					t.Errorf("%s fails as well: %s\n%s", c.ID, c.Detail, c.Evidence)
				case !expected && before && !failed:
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

var update = flag.Bool("update", false, "write docs/sabotage.md anew")

// TestThePageOfSabotagesIsTrue: docs/sabotage.md says how each check was seen to fail.
func TestThePageOfSabotagesIsTrue(t *testing.T) {
	const path = "../../docs/sabotage.md"
	var b strings.Builder
	b.WriteString(pageHead)
	for _, c := range verify.Checks() {
		for _, s := range sabotages() {
			if s.id != c.ID {
				continue
			}
			also := strings.Join(s.also, ", ")
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.ID, c.Title, s.from, s.how, also)
		}
		if reason := elsewhere[c.ID]; reason != "" {
			fmt.Fprintf(&b, "| %s | %s | | %s | |\n", c.ID, c.Title, reason)
		}
	}
	b.WriteString(mutantsExplained())
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(path)
	if err != nil || string(page) != b.String() {
		t.Fatalf("docs/sabotage.md isn't what the sabotages say (%v): go test ./test/sabotage -run Page -update", err)
	}
}

const pageHead = `# How each check was seen to fail

Printed from the sabotages (` + "`test/sabotage`" + `); a test keeps it true. On a sound deployment every check here passes; then one thing is broken, all checks run again, and exactly that check fails more, together with those in the last column, which the same sabotage can't leave whole.

| check | claims | seen from | broken | fails with it |
|---|---|---|---|---|
`

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
func outcomes(t *testing.T, r *evidence.Report, from evidence.Vantage) map[string]evidence.Outcome {
	t.Helper()
	all := map[string]evidence.Outcome{}
	for _, c := range r.Checks {
		all[c.ID] = c.Outcome
		if c.Outcome != evidence.Pass {
			t.Logf("from %s, sound: %s %s: %s", from, c.ID, c.Outcome, c.Detail)
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
func up1(t *testing.T, s sabotage) *deployment {
	t.Helper()
	cmd := exec.Command(lab.Redoubt(t))
	cmd.Env = append(os.Environ(), s.extra...)
	if s.env != "" {
		cmd.Path, cmd.Args[0] = lab.Sabotaged(t), lab.Sabotaged(t)
		cmd.Env = append(cmd.Env, "REDOUBT_SABOTAGE="+s.env)
	}
	if s.under {
		underFilter(cmd)
	}
	if s.holds != nil {
		left := s.holds(t)
		defer left.Close()
		cmd.ExtraFiles = slices.Repeat([]*os.File{left}, 8) // the first of them the shim uses itself
	}
	d := &deployment{Deployment: lab.UpBy(t, cmd, filepath.Join(t.TempDir(), "state"), s.args...)}
	d.look(t, s.from)
	return d
}

// verify runs every check as the sabotage has it.
func (d *deployment) verify(t *testing.T, s sabotage) *evidence.Report {
	t.Helper()
	if s.within != "" {
		return d.byCommand(t, s.within)
	}
	var report *evidence.Report
	d.underMounts(t, slices.Concat(soundHost(t), s.over), func() {
		report = verify.Run(t.Context(), d.target, verify.Checks(), verify.Options{})
	})
	return report
}

// byCommand has another binary verify. It sees both hosts; what concerns the other
// one passes.
func (d *deployment) byCommand(t *testing.T, told string) *evidence.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), lab.Sabotaged(t), "verify", "--dir", d.Dir, "--json", path)
	cmd.Env = append(os.Environ(), "REDOUBT_SABOTAGE="+told)
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(path)
	if readErr != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := evidence.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// underMounts does something on a thread with mounts of its own, so that nobody else
// sees what is put over the kernel's files. The thread ends with the goroutine.
func (d *deployment) underMounts(t *testing.T, over []instead, do func()) {
	t.Helper()
	if err := lab.OnThread(func() error {
		err := errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		for i, o := range over {
			if err == nil {
				err = o.mount(d, filepath.Join(filepath.Dir(d.Dir), fmt.Sprintf("over-%d", i)))
			}
		}
		if err == nil {
			do()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func (o instead) mount(d *deployment, scratch string) error {
	path := o.path(d)
	if o.files != nil || o.links != nil {
		return o.mountDir(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if o.toOf != nil {
		o.to = o.toOf(d)
	}
	changed := o.to
	if o.from != "" {
		changed = regexp.MustCompile(o.from).ReplaceAllString(string(text), o.to)
	}
	if changed == string(text) {
		return fmt.Errorf("%s has nothing of %q", path, o.from)
	}
	if err := os.WriteFile(scratch, []byte(changed), cmp.Or(o.mode, 0o444)); err != nil {
		return err
	}
	return unix.Mount(scratch, path, "", unix.MS_BIND, "")
}

// mountDir puts a directory in memory over another one, with copies of its files and
// what is to be there besides.
func (o instead) mountDir(path string) error {
	files := map[string][]byte{}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(path, e.Name())); err == nil {
			files[e.Name()] = text
		}
	}
	for name, text := range o.files {
		files[name] = []byte(text)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(path, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, name), text, 0o444); err != nil {
			return err
		}
	}
	for name, to := range o.links {
		if err := os.Symlink(to, filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
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
	target.Cache.PID, target.App.PID, target.Cache.Front = d.PID(), d.PID(), frontOf(d.PID())
	target.Cache.Listen = d.Gateway
	target.App.Listen, target.App.Bound = d.Sidecar, d.Bound
	target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(d.Gateway)}
	target.Cache.Ask(filepath.Join(d.Dir, statedir.AdminSocket))
	// Here both roles are one process, which listens for both.
	switch from {
	case evidence.CacheHost:
		target.Cache.Metrics, target.App = target.App.Bound, nil
	case evidence.AppHost:
		target.App.Metrics, target.Cache = d.Gateway, nil
	case evidence.Outsider:
		target.Cache, target.App = nil, nil
		target.Hosts, target.Reports = hostsAt("127.0.0.9"), reportsOf("127.0.0.9")
		target.Controls = []string{otherHost(t)}
	}
}

// frontOf is the process that faces the network, by its name among a keeper's children; 0
// if there is none.
func frontOf(keeper int) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", keeper))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			args, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err := strconv.Atoi(child); err == nil && strings.HasPrefix(string(args), "redoubt-front") {
				return pid
			}
		}
	}
	return 0
}
