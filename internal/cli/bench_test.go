package cli_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/cli"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) {
	sandbox.Main(enroll.Role(), front.Role())
	os.Exit(lab.Main(m))
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--loads", "c51"}, 2, `no load is called "c51": there are c50,`},
		{[]string{"--peers", "spiped"}, 2, `no peer is called "spiped": there are plain, redoubt,`},
		{[]string{"--rounds", "0"}, 2, "--rounds"},
		{[]string{"--duration", "-1s"}, 2, "--duration"},
		{[]string{"--json", "/nonexistent/b.json"}, 2, "/nonexistent/b.json can't be written"},
		{[]string{"--update", "/nonexistent.md"}, 2, "--update: open /nonexistent.md"},
		{[]string{"--update", "/dev/null"}, 2, "must stand in it"},
		{[]string{"--loads", "c1", "--engine", "/nonexistent/redis-server"}, 1, "/nonexistent/redis-server"},
	} {
		var out, errOut bytes.Buffer
		if code := cli.Main(append([]string{"bench"}, c.args...), nil, &out, &errOut); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		if !strings.Contains(errOut.String(), c.want) || strings.Count(errOut.String(), "redoubt: ") != 1 || out.Len() > 0 {
			t.Errorf("%q: said %q, printed %q", c.args, &errOut, &out)
		}
	}
}

func TestBenchWithoutAnEngineIsTheMachinesFault(t *testing.T) {
	cmd := exec.Command(lab.Redoubt(t), "bench", "--quick")
	cmd.Env = []string{"PATH=/nonexistent"}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "no engine: not installed: no redis-server or valkey-server") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestBenchAsAUserRunsIt: every output at once, from one short run. Not shorter:
// on a machine that compiles meanwhile, a lone connection went 200 ms without
// an answer.
func TestBenchAsAUserRunsIt(t *testing.T) {
	dir := t.TempDir()
	readme := dir + "/README.md"
	if err := os.WriteFile(readme, []byte("before\n<!-- redoubt bench: begin -->\n<!-- redoubt bench: end -->\nafter\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lab.Redoubt(t), "bench", "--loads", "c1", "--peers", "redoubt", "--duration", "1s", "--rounds", "1",
		"--json", dir+"/b.json", "--html", dir+"/b.html", "--update", readme)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &errOut)
	}
	for what, text := range map[string]string{"c1: GET, 1 connection": out.String(), "GET, 1 connection\n": errOut.String(),
		`"name": "c1"`: file(t, dir+"/b.json"), "<svg": file(t, dir+"/b.html"), "| GET, 1 connection |": file(t, readme)} {
		if !strings.Contains(text, what) {
			t.Errorf("%q is not in %q", what, text)
		}
	}
	if text := file(t, readme); !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") {
		t.Errorf("%s", text)
	}
}

func file(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBenchStopsItsProcessesOnCtrlC(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.Command(lab.Redoubt(t), "bench", "--loads", "c1", "--peers", "redoubt", "--duration", "1h", "--rounds", "1")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	p := lab.Start(t, cmd, "GET, 1 connection") // the first run has begun
	p.Signal(syscall.SIGINT)
	if code := p.Wait(); code != 1 || !strings.Contains(p.Output(), "redoubt: interrupted: all that the benchmark had started is stopped") {
		t.Errorf("exit code %d: %s", code, p.Output())
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if out, err := exec.Command("pgrep", "-f", temp).Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
}
