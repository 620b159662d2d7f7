package e2e_test

import (
	"context"
	"encoding/xml"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// verify runs redoubt verify and gives its exit code and what it printed.
func verify(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lab.Redoubt(t), append([]string{"verify"}, args...)...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

func readReport(t *testing.T, path string) *evidence.Report {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := evidence.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func resultOf(t *testing.T, r *evidence.Report, id string) evidence.Result {
	t.Helper()
	for _, c := range r.Checks {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no result of %s", id)
	return evidence.Result{}
}

// differing is a check that two environments differ in. The searches for the canary are
// cut short where much is written meanwhile, and skipped then.
var (
	differing = regexp.MustCompile(`(?m)^ *(RD-\d+) .*: here .*, there .*$`)
	searches  = []string{"RD-401", "RD-405"}
)

// TestVerifyGatesADeployment: what a pipeline relies on. The exit code follows what
// fails, an exception with an end lets it pass, one that has ended doesn't, and two
// environments that differ are told apart.
func TestVerifyGatesADeployment(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	c := d.Connect(t)
	c.Want("+OK\r\n", "SET", "a patient", "of the application's")
	out := t.TempDir()
	file := func(name string) string { return filepath.Join(out, name) }

	code, text := verify(t, "--dir", d.Dir, "--json", file("first.json"), "--junit", file("junit.xml"))
	first := readReport(t, file("first.json"))
	if (code == 0) != (first.Summary.Fail == 0) {
		t.Errorf("exit code %d, and %+v:\n%s", code, first.Summary, text)
	}
	if strings.Contains(text, d.Password()) || strings.Contains(text, "a patient") {
		t.Error("it tells a secret")
	}
	raw, err := os.ReadFile(file("first.json"))
	if err != nil || strings.Contains(string(raw), d.Password()) {
		t.Errorf("the report holds the password, or can't be read: %v", err)
	}
	if info, err := os.Stat(file("first.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the report's mode: %v %v", info.Mode(), err)
	}
	var junit struct {
		Suites []struct {
			Tests int `xml:"tests,attr"`
		} `xml:"testsuite"`
	}
	raw, err = os.ReadFile(file("junit.xml"))
	if err != nil || xml.Unmarshal(raw, &junit) != nil {
		t.Fatalf("junit: %v\n%s", err, raw)
	}
	total := 0
	for _, s := range junit.Suites {
		total += s.Tests
	}
	if total != len(first.Checks) {
		t.Errorf("junit counts %d tests, the report has %d", total, len(first.Checks))
	}
	c.Want("$20\r\nof the application's\r\n", "GET", "a patient") // nothing of it was touched
	c.Want("*0\r\n", "KEYS", "redoubt:verify:*")

	code, text = verify(t, "--dir", d.Dir, "--compare", file("first.json"))
	differ := differing.FindAllStringSubmatch(text, -1)
	for _, d := range differ {
		if !slices.Contains(searches, d[1]) {
			t.Errorf("compared with itself: %d %s", code, d[0])
		}
	}
	if len(differ) == 0 && !strings.Contains(text, "the same in outcomes and settings") {
		t.Errorf("compared with itself: %d %s", code, text)
	}
	d.Stop()

	other := lab.Up(t, "--uses", "locks")
	code, text = verify(t, "--dir", other.Dir, "--compare", file("first.json"))
	for _, want := range []string{"RD-501 maxmemory-policy: here noeviction, there allkeys-lru", "RD-506 scripting: here open by policy, there closed"} {
		if code != 1 || !strings.Contains(text, want) {
			t.Errorf("%d, no %q in\n%s", code, want, text)
		}
	}
	other.Stop()

	// Without the process there is nothing to ask: that is skipped and said, and fails
	// nothing.
	_, text = verify(t, "--dir", d.Dir, "--json", file("stopped.json"))
	if r := resultOf(t, readReport(t, file("stopped.json")), "RD-501"); r.Outcome != evidence.Skip || !strings.Contains(r.Detail, "not running") {
		t.Errorf("%+v\n%s", r, text)
	}
}

// TestAnAcceptedRiskEnds, and a misspelt one is an error that says where.
func TestAnAcceptedRiskEnds(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	hosts := filepath.Join(t.TempDir(), "deployment.yaml")
	report := filepath.Join(t.TempDir(), "report.json")
	write := func(exceptions string) {
		t.Helper()
		text := "deployment: local\ngateways: [{name: cache, address: 10.77.0.2}]\napps: [{name: app, address: 10.77.0.3}]\nbastions: [10.77.0.9]\nexceptions: " + exceptions + "\n"
		if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for exceptions, want := range map[string]string{
		"[{check: RD-999, owner: a, reason: b, until: 2099-01-01}]": "there is no check \"RD-999\"",
		"[{check: RD-501, reason: b, until: 2099-01-01}]":           "deployment.yaml:5: exceptions[0].owner is missing",
		"[{check: RD-501, owner: a, reason: b, until: tomorrow}]":   "deployment.yaml:5: exceptions[0].until",
	} {
		write(exceptions)
		if code, text := verify(t, "--dir", d.Dir, "--deployment", hosts); code != 2 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", exceptions, code, text)
		}
	}
	write("[{check: RD-501, owner: the platform team, reason: to see, until: 2020-01-01}]")
	code, text := verify(t, "--dir", d.Dir, "--deployment", hosts, "--json", report)
	if r := resultOf(t, readReport(t, report), "RD-601"); code != 1 || r.Outcome != evidence.Fail || !strings.Contains(r.Detail, "RD-501 ended on 2020-01-01") {
		t.Errorf("%d %+v\n%s", code, r, text)
	}
}

// look is a verification on one of several hosts.
func (g *guarded) look(t *testing.T, host string, args ...string) *evidence.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), host+".json")
	cmd := g.hosts[host].Command(append([]string{lab.Redoubt(t), "verify", "--deployment", g.deployment, "--json", path}, args...)...)
	out, _ := lab.Run(t, cmd)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v\n%s", host, err, out)
	}
	return readReport(t, path)
}

// ofTheMachine are the checks that judge what all hosts of a test share.
var ofTheMachine = []string{"RD-121", "RD-122", "RD-123", "RD-124", "RD-125", "RD-126", "RD-214", "RD-441", "RD-442", "RD-443", "RD-444", "RD-445", "RD-446", "RD-447", "RD-620", "RD-621"}

// failing are the checks that fail, but for those that are about the machine which all
// these hosts share.
func failing(r *evidence.Report) (ids []string) {
	for _, c := range r.Checks {
		if c.Outcome == evidence.Fail && !slices.Contains(ofTheMachine, c.ID) {
			ids = append(ids, c.ID+": "+c.Detail)
		}
	}
	return ids
}

// TestVerifyFromEveryHost: the cache host and an application host, each behind its
// packet filter; then a rule is taken away, a file edited, the filter
// unloaded.
func TestVerifyFromEveryHost(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.guard("cache-1")
	g.guard("web-1")
	s := siteOn(t, g.net, g.hosts["cache-1"], g.hosts["web-1"], "")
	s.ownSockets()
	s.gateway()
	s.sidecar(s.web)
	cache := []string{"--config", s.path("cache-1", "gateway.yaml")}
	web := []string{"--config", s.path("web-1", "sidecar.yaml"), "--env", s.path("secret", "app.env")}

	for host, want := range map[string]struct {
		args   []string
		passes []string
	}{
		"cache-1": {cache, []string{"RD-101", "RD-102", "RD-120", "RD-133", "RD-201", "RD-205", "RD-302", "RD-401", "RD-418", "RD-501", "RD-503", "RD-507"}},
		"web-1":   {web, []string{"RD-102", "RD-120", "RD-206", "RD-210", "RD-212", "RD-303", "RD-403", "RD-504", "RD-507"}},
	} {
		r := g.look(t, host, want.args...)
		if (r.Signature == nil) != (host == "outsider") || (r.Number == 0) != (host == "outsider") {
			t.Errorf("%s: number %d, signature %v", host, r.Number, r.Signature)
		}
		if bad := failing(r); len(bad) > 0 {
			t.Errorf("%s: %v", host, bad)
		}
		for _, id := range want.passes {
			if c := resultOf(t, r, id); c.Outcome != evidence.Pass {
				t.Errorf("%s: %s %s: %s", host, id, c.Outcome, c.Detail)
			}
		}
	}

	alter := func(host string, args ...string) {
		t.Helper()
		if out, code := lab.Run(t, g.hosts[host].Command(args...)); code != 0 {
			t.Fatalf("%v: %s", args, out)
		}
	}
	only := func(host, id, detail string, args ...string) {
		t.Helper()
		if bad := failing(g.look(t, host, args...)); len(bad) != 1 || !strings.HasPrefix(bad[0], id) || !strings.Contains(bad[0], detail) {
			t.Errorf("%s: %v, want %s alone", host, bad, id)
		}
	}
	alter("cache-1", "nft", "add element inet redoubt bastions4 { 10.77.0.66 }")
	only("cache-1", "RD-120", "elements", cache...)
	g.guard("cache-1")

	// Others make an outsider look like an application host, and a program on the
	// interface could.
	alter("cache-1", "nft", "table ip other { chain c { type filter hook prerouting priority -400; ip saddr 10.77.0.66 ip saddr set 10.77.0.3; }; chain d { type nat hook prerouting priority dstnat; tcp dport 8080 redirect to 6379; }; }")
	only("cache-1", "RD-133", "ip saddr set 10.77.0.3", cache...)
	alter("cache-1", "nft", "delete chain ip other c")
	if c := resultOf(t, g.look(t, "cache-1", cache...), "RD-133"); c.Outcome != evidence.Pass || !strings.Contains(c.Evidence, "redirect to :6379") {
		t.Errorf("%s %s\n%s", c.Outcome, c.Detail, c.Evidence)
	}
	alter("cache-1", "nft", "delete table ip other")
	// What comes from lo is the host's own, for any packet filter.
	alter("cache-1", "nft", "table netdev other { chain c { type filter hook ingress device eth0 priority 0; tcp dport 8080 ether daddr set 00:00:00:00:00:00 fwd to lo; }; }")
	only("cache-1", "RD-133", `fwd to "lo"`, cache...)
	alter("cache-1", "nft", "delete table netdev other")
	alter("cache-1", "tc", "qdisc", "add", "dev", "eth0", "clsact")
	alter("cache-1", "tc", "filter", "add", "dev", "eth0", "ingress", "bpf", "da", "bytecode", "1,6 0 0 4294967295")
	only("cache-1", "RD-133", "eth0: tc, ingress: bpf", cache...)
	alter("cache-1", "tc", "qdisc", "del", "dev", "eth0", "clsact")

	// The gateway runs elsewhere than where the filter is loaded, as in a container.
	rules, _ := lab.Run(t, exec.Command(lab.Redoubt(t), "render", "nftables", "--deployment", g.deployment, "--host", "cache-1"))
	load := g.hosts["outsider"].Command("nft", "-f", "-")
	load.Stdin = strings.NewReader(rules)
	if out, code := lab.Run(t, load); code != 0 {
		t.Fatal(out)
	}
	if c := resultOf(t, g.look(t, "outsider", cache...), "RD-120"); c.Outcome != evidence.Fail || !strings.Contains(c.Detail, "another network namespace") {
		t.Errorf("%s %s\n%s", c.Outcome, c.Detail, c.Evidence)
	}
	alter("outsider", "nft", "delete table inet redoubt")

	file := s.path("cache-1", "gateway.yaml")
	text := read(t, file)
	s.write("gateway.yaml", s.path("cache-1"), text+"limits: {connections: 17}\n")
	only("cache-1", "RD-507", "changed since", cache...)
	s.write("gateway.yaml", s.path("cache-1"), "# said otherwise, but the same\n"+text)
	if bad := failing(g.look(t, "cache-1", cache...)); len(bad) > 0 {
		t.Errorf("a comment is no change: %v", bad)
	}
	copied := s.path("cache-1", "copy.yaml")
	s.write("copy.yaml", s.path("cache-1"), text)
	only("cache-1", "RD-507", "was started with "+file, "--config", copied)

	alter("cache-1", "nft", "delete table inet redoubt")
	only("cache-1", "RD-120", "no table", cache...)
	only("outsider", "RD-140", "10.77.0.2:6379 can be reached", "--outside")
}

// TestDriftShowsWithinAMinute, in redoubt status, as a metric and in the log, without
// anybody asking for a verification; and that it is mended shows too.
func TestDriftShowsWithinAMinute(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	const within1 = time.Minute
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.Dir, "admin.sock"))
	}, DisableKeepAlives: true}}
	metrics := func() string {
		response, err := client.Get("http://redoubt/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	within(t, within1, "the first round of checks", func() bool { return strings.Contains(metrics(), "redoubt_checks_passed") })
	if code, out := status(t, d.Dir); code != 0 || !strings.Contains(out, "checks") {
		t.Errorf("a sound deployment: %d\n%s", code, out)
	}
	if err := os.Chmod(filepath.Join(d.Dir, "app.env"), 0o644); err != nil {
		t.Fatal(err)
	}
	var code int
	var out string
	within(t, within1, "the drift in status", func() bool {
		code, out = status(t, d.Dir)
		return code == 1 && strings.Contains(out, "RD-208 fails")
	})
	if m := metrics(); !strings.Contains(m, `redoubt_check_failing{check="RD-208"} 1`) {
		t.Errorf("no metric says so:\n%s", m)
	}
	within(t, within1, "the log to say so", func() bool {
		log := d.Output()
		return strings.Contains(log, `"a check fails"`) && strings.Contains(log, `"check":"RD-208"`)
	})
	if err := os.Chmod(filepath.Join(d.Dir, "app.env"), 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, within1, "the end of it", func() bool { code, _ = status(t, d.Dir); return code == 0 })
	if m := metrics(); strings.Contains(m, "redoubt_check_failing{") {
		t.Errorf("a metric stays:\n%s", m)
	}
}

// TestRootMayLookAtAUsersDeployment: it sees more than the user does, says what the
// user's deployment lacks, and leaves every file the user's.
func TestRootMayLookAtAUsersDeployment(t *testing.T) {
	t.Parallel()
	const uid = 61234
	home := t.TempDir()
	for dir := home; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	as := []string{"--reuid", strconv.Itoa(uid), "--regid", strconv.Itoa(uid), "--clear-groups", "env", "HOME=" + home, lab.Redoubt(t)}
	d := lab.UpBy(t, exec.Command("setpriv", as...), filepath.Join(home, "state"))

	report := filepath.Join(home, "user.json")
	if out, code := lab.Run(t, exec.Command("setpriv", append(as, "verify", "--dir", d.Dir, "--json", report)...)); code != 0 {
		t.Errorf("the user: %d\n%s", code, out)
	}
	if c := resultOf(t, readReport(t, report), "RD-411"); c.Outcome != evidence.Skip || !strings.Contains(c.Detail, "root") {
		t.Errorf("%+v", c)
	}
	report = filepath.Join(t.TempDir(), "root.json")
	verify(t, "--dir", d.Dir, "--json", report)
	r := readReport(t, report)
	for id, want := range map[string]evidence.Outcome{"RD-411": evidence.Pass, "RD-413": evidence.Fail, "RD-203": evidence.Skip} {
		if c := resultOf(t, r, id); c.Outcome != want {
			t.Errorf("%s: %s, %s; want %s", id, c.Outcome, c.Detail, want)
		}
	}
	err := filepath.WalkDir(d.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s is the user's no more", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
