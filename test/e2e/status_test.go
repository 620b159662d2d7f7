package e2e_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// status asks a deployment how it fares.
func status(t *testing.T, dir string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lab.Redoubt(t), "status", "--dir", dir)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// TestStatusTellsWhatIsWrong: all is well, then the engine hangs, then it is
// replaced by another, which is no problem any more but is counted.
func TestStatusTellsWhatIsWrong(t *testing.T) {
	d := lab.Up(t)
	d.Connect(t).Want("+PONG\r\n", "PING")
	code, out := status(t, d.Dir)
	if code != 0 || strings.Contains(out, "PROBLEM") || !strings.Contains(out, "restarts: 0") || !strings.Contains(out, "connections: 1 of 10000") {
		t.Errorf("%d: %s", code, out)
	}
	if strings.Contains(out, d.Password()) {
		t.Error("it tells the password")
	}
	engine := enginesOf(t, d)[0]
	if err := syscall.Kill(engine, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the next engine", func() bool {
		code, out = status(t, d.Dir)
		return strings.Contains(out, "restarts: 1") && code == 0
	})
	if got := d.Stop(); got != 0 {
		t.Errorf("up ended with %d", got)
	}
	if code, out = status(t, d.Dir); code != 1 || !strings.Contains(out, "not running") {
		t.Errorf("%d: %s", code, out)
	}
}

// TestStatusSaysWhoServes, and that nobody does also while no application asks.
func TestStatusSaysWhoServes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	add(t, s.path("web-1", "sidecar.yaml"), "admin: {socket: admin.sock}\n")
	add(t, s.path("cache-1", "gateway.yaml"), "admin: {socket: admin.sock}\n")
	early := s.sidecar(s.web) // no gateway yet
	within(t, time.Minute, "that no gateway serves yet", func() bool { return strings.Contains(early.Output(), "the cache can't be reached yet") })
	early.Stop()
	gateway := s.gateway()
	s.sidecar(s.web)
	ask := func() (string, int) {
		return lab.Run(t, exec.Command(lab.Redoubt(t), "status", "--config", s.path("web-1", "sidecar.yaml")))
	}
	if out, code := ask(); code != 0 || !strings.Contains(out, "gateway cache-1 at 10.77.0.2:6379") {
		t.Errorf("idle: %d\n%s", code, out)
	}
	gateway.Stop()
	within(t, time.Minute, "nobody serves, and nobody has asked for a key", func() bool {
		out, code := ask()
		return code == 1 && strings.Contains(out, "the cache can't be reached: gateway cache-1 at 10.77.0.2:6379: ")
	})
	s.gateway()
	within(t, time.Minute, "it serves again", func() bool {
		out, code := ask()
		return code == 0 && strings.Contains(out, "gateway cache-1 at 10.77.0.2:6379")
	})
	if out, _ := ask(); strings.Contains(out, "differs") {
		t.Errorf("its own configuration is called another: %s", out)
	}
	add(t, s.path("web-1", "sidecar.yaml"), "limits: {connections: 99}\n")
	if out, code := ask(); code != 0 || !strings.Contains(out, "differs      it has read another configuration") {
		t.Errorf("another configuration: %d\n%s", code, out)
	}
}

// TestExplainAsksWhatRuns: a file that was changed since the start is not the policy that
// applications meet.
func TestExplainAsksWhatRuns(t *testing.T) {
	s := newSite(t)
	file := s.path("cache-1", "gateway.yaml")
	add(t, file, "admin: {socket: admin.sock}\n")
	explain := func() string {
		out, _ := lab.Run(t, exec.Command(lab.Redoubt(t), "explain", "--config", file, "EVAL"))
		return out
	}
	if out := explain(); !strings.HasPrefix(out, "Under the policy of "+file+" (uses: cache):") {
		t.Errorf("nothing runs: %s", out)
	}
	s.gateway()
	before := read(t, file)
	if err := os.WriteFile(file, []byte(strings.Replace(before, "engine: {", "engine: {uses: [locks], ", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := explain(); !strings.HasPrefix(out, "Under the policy of the gateway that runs (uses: cache); "+file+" says otherwise (uses: locks)") || !strings.Contains(out, "refused by the engine") {
		t.Errorf("another policy runs: %s", out)
	}
}

// add appends to a file.
func add(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheCacheServesWithoutTheCAsProcess, which is another one soon, and ends with its owner.
func TestTheCacheServesWithoutTheCAsProcess(t *testing.T) {
	d := lab.Up(t)
	c := d.Connect(t)
	c.Want("+OK\r\n", "SET", "k", "v")
	first := signerOf(t, d)
	if first.PID == 0 || first.Restarts != 0 {
		t.Fatalf("%+v", first)
	}
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Want("$1\r\nv\r\n", "GET", "k")
	var next signerFacts
	within(t, time.Minute, "the next process", func() bool {
		next = signerOf(t, d)
		return next.Restarts == 1 && next.PID != 0 && next.PID != first.PID
	})
	d.Connect(t).Want("$1\r\nv\r\n", "GET", "k")
	if code, out := status(t, d.Dir); code != 0 || !strings.Contains(out, "the CA's key, pid") {
		t.Errorf("%d: %s", code, out)
	}
	if got := d.Stop(); got != 0 {
		t.Errorf("up ended with %d", got)
	}
	within(t, time.Minute, "the end of the CA's process with its owner", func() bool { return syscall.Kill(next.PID, 0) != nil })
}

type signerFacts struct{ PID, Restarts int }

func signerOf(t *testing.T, d *lab.Deployment) signerFacts {
	t.Helper()
	out, err := exec.Command(lab.Redoubt(t), "status", "--dir", d.Dir, "--json").Output() // without what it says of a problem
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var all []struct {
		Facts struct{ Signer signerFacts }
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	return all[0].Facts.Signer
}
