package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestMain makes this process the parent of whatever its children leave
// behind, so that a grandchild that was forgotten is found.
func TestMain(m *testing.M) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(lab.Main(m))
}

// nothingIsLeft fails when a process or a file of a benchmark outlives it. It
// gives the directory that the benchmark's own is made in.
func nothingIsLeft(t *testing.T) (check func()) {
	t.Helper()
	lab.Redoubt(t) // built before, so that its compiler is no child of the test's
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	return func() {
		t.Helper()
		for _, pid := range children(t) {
			name, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			t.Errorf("process %s is left: %q", pid, name)
		}
		left, err := os.ReadDir(temp)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the temporary directory: %v %v", left, err)
		}
	}
}

// children lists this process's children (proc(5), /proc/PID/stat).
func children(t *testing.T) (pids []string) {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range all {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, entry.Name())
		}
	}
	return pids
}

// TestEveryInstalledPeerAnswersAndNothingIsLeft runs loads of each kind through
// all of them. What isn't installed must be in the report too.
func TestEveryInstalledPeerAnswersAndNothingIsLeft(t *testing.T) {
	check := nothingIsLeft(t)
	loads, err := Named([]string{"p16", "unix", "set64k", "64k", "churn", "open"})
	if err != nil {
		t.Fatal(err)
	}
	var steps []Step
	var report *Report
	for duration := 200 * time.Millisecond; ; duration *= 5 {
		steps = nil
		report, err = Run(t.Context(), Options{
			Self: lab.Redoubt(t), Loads: loads, Duration: duration, Rounds: 1,
			Progress: func(s Step) { steps = append(steps, s) },
		})
		if err == nil || duration > 5*time.Second || !strings.Contains(err.Error(), "not one answer within") {
			break // a busy machine is given longer
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	check()
	if len(report.Peers) != len(peers()) || len(report.Loads) != len(loads) {
		t.Fatalf("%d peers, %d loads in the report", len(report.Peers), len(report.Loads))
	}
	for _, p := range report.Peers {
		t.Logf("%s %s %s", p.Title, p.Version, p.Absent)
		if p.Name == "redoubt" && p.Absent != "" {
			t.Errorf("Redoubt is absent: %s", p.Absent)
		}
	}
	for _, l := range report.Loads {
		want := len(report.present())
		if l.Load.Unix {
			want = 2 // plain and Redoubt
		}
		if len(l.Results) != want {
			t.Errorf("%s: %d results of %d peers", l.Load.Name, len(l.Results), want)
		}
		for _, r := range l.Results {
			if r.Rate <= 0 || r.Ratio <= 0 || r.latencyAt(50) <= 0 {
				t.Errorf("%s, %s: %+v", l.Load.Name, r.Peer, r)
			}
		}
	}
	if last := steps[len(steps)-1]; last.Done != last.Total || len(steps) != last.Total+1 {
		t.Errorf("the last of %d steps: %+v", len(steps), last)
	}
}

func TestWhatIsNotInstalledIsListedAsAbsent(t *testing.T) {
	check := nothingIsLeft(t)
	engine, err := find(peers()[0].program)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSite("", engine)
	if err != nil {
		t.Fatal(err)
	}
	missing := peer{name: "other", title: "another tunnel", program: []string{"no-such-program"}}
	var report Report
	running, err := s.startAll(t.Context(), []peer{peers()[0], missing}, &report)
	if err != nil || len(running) != 1 {
		t.Errorf("%v, %v", running, err)
	}
	if p := report.Peers[1]; p.Absent != "not installed: no no-such-program in PATH" {
		t.Errorf("%+v", p)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	check()
}

// TestAnEngineWithoutTLSIsAbsentNotBroken: an engine that was built without it
// refuses the directive and ends.
func TestAnEngineWithoutTLSIsAbsentNotBroken(t *testing.T) {
	check := nothingIsLeft(t)
	s, err := newSite("", "")
	if err != nil {
		t.Fatal(err)
	}
	script := s.path("redis-server")
	refusal := "#!/bin/sh\necho \"*** FATAL CONFIG FILE ERROR ***\n>>> 'tls-port 1'\nBad directive\" >&2\nexit 1\n"
	if err := os.WriteFile(script, []byte(refusal), 0o700); err != nil {
		t.Fatal(err)
	}
	var absent absentError
	if _, err := startNative(t.Context(), s, script); !errors.As(err, &absent) {
		t.Errorf("%v", err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	check()
}

// TestAPeerThatDiesIsNamed: the figures of the others would be worth nothing
// without the reader knowing.
func TestAPeerThatDiesIsNamed(t *testing.T) {
	check := nothingIsLeft(t)
	engine, err := find(peers()[0].program)
	if err != nil {
		t.Fatal(err)
	}
	for _, load := range []string{"c50", "churn", "open"} {
		s, err := newSite("", engine)
		if err != nil {
			t.Fatal(err)
		}
		candidates, err := s.startAll(t.Context(), chosenPeers([]string{"native"}), &Report{})
		if err != nil || len(candidates) != 2 {
			t.Fatalf("%v, %v", candidates, err)
		}
		victim := s.processes[1]
		r := runner{site: s, candidates: candidates[1:], total: 1, o: Options{Duration: time.Minute, Rounds: 1, Progress: func(Step) {
			time.AfterFunc(100*time.Millisecond, func() { victim.cmd.Process.Kill() })
		}}}
		loads, _ := Named([]string{load})
		_, err = r.load(t.Context(), loads[0])
		want := fmt.Sprintf("native under the load %s: %s with TLS ended by itself: signal: killed", load, "redis-server")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if strings.Contains(fmt.Sprint(err), s.password) {
			t.Error("the error has the password")
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	check()
}

func TestAnInterruptionStopsEverything(t *testing.T) {
	check := nothingIsLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Run(ctx, Options{
		Self: lab.Redoubt(t), Peers: []string{"redoubt"}, Duration: time.Hour, Rounds: 1,
		Progress: func(s Step) {
			if len(children(t)) < 2 {
				t.Error("engine and Redoubt are not running")
			}
			cancel()
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	check()
}

func TestNoSecretIsAnArgument(t *testing.T) {
	check := nothingIsLeft(t)
	s, err := newSite(lab.Redoubt(t), "/usr/bin/redis-server")
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	candidates, err := s.startAll(t.Context(), peers(), &report)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range children(t) {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile("/proc/" + pid + "/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range candidates {
				if strings.Contains(string(text), c.target.password) {
					t.Errorf("%s of process %s has a password", file, pid)
				}
			}
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	check()
}
