package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestExecGivesACommandACacheForAsLongAsItRuns, with the command's own output,
// input and exit code, and leaves nothing.
func TestExecGivesACommandACacheForAsLongAsItRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.gateway()
	redoubt := func(args ...string) *exec.Cmd {
		all := append([]string{lab.Redoubt(t), "exec", "--config", s.path("web-1", "sidecar.yaml"), "--env", s.path("secret", "app.env")}, args...)
		return s.web.Command(all...)
	}
	shell := func(script string) (string, int) {
		return lab.Run(t, redoubt("--", "sh", "-c", script))
	}
	if out, code := shell(`redis-cli --no-auth-warning -u "$REDIS_URL" set k "from $1" && redis-cli --no-auth-warning -u "$REDIS_URL" get k`); code != 0 || out != "OK\nfrom \n" {
		t.Errorf("%d %q", code, out)
	}
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 128 + int(syscall.SIGKILL)} {
		out, code := shell(script)
		if code != want || want == 7 && out != "" {
			t.Errorf("%s: %d %q", script, code, out)
		}
	}
	echo := redoubt("--", "cat")
	echo.Stdin = strings.NewReader("its input")
	if out, code := lab.Run(t, echo); code != 0 || out != "its input" {
		t.Errorf("%d %q", code, out)
	}
	if out, code := lab.Run(t, redoubt("--", "no-such-command")); code != 3 || !strings.Contains(out, "no-such-command") {
		t.Errorf("%d %q", code, out)
	}
	// The sidecar in it has its memory for itself; to the command nothing of that passes.
	if out, code := shell("grep VmLck /proc/$PPID/status /proc/self/status | grep -c ' 0 kB$'"); code != 0 || out != "1\n" {
		t.Errorf("locked are %d %q", code, out)
	}
	// A signal is the command's, which may end in its own way.
	told := lab.Start(t, redoubt("--", "sh", "-c", `trap "echo told; exit 5" TERM; echo started; while :; do sleep 0.1; done`), "started")
	told.Signal(syscall.SIGTERM)
	if code := told.Wait(); code != 5 || !strings.Contains(told.Output(), "told") {
		t.Errorf("%d %s", code, told.Output())
	}
	if left, _ := lab.Run(t, s.web.Command("ss", "-Hltn")); left != "" {
		t.Errorf("somebody still listens: %s", left)
	}
}

// TestWaitEndsWhenTheCacheIsThere: not before, and not for another's password.
func TestWaitEndsWhenTheCacheIsThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	env := s.path("secret", "app.env")
	wait := func(more ...string) *exec.Cmd {
		return s.web.Command(append([]string{lab.Redoubt(t), "wait", "--env", env}, more...)...)
	}
	if out, code := lab.Run(t, wait("--timeout", "300ms")); code != 1 || !strings.Contains(out, "127.0.0.1:6379") {
		t.Errorf("nobody there: %d %s", code, out)
	}
	waiting := wait("--timeout", "30s")
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	s.sidecar(s.web) // which is there, while its cache is not
	if out, code := lab.Run(t, wait("--timeout", "500ms")); code != 1 {
		t.Errorf("no cache: %d %s", code, out)
	}
	s.gateway()
	if err := waiting.Wait(); err != nil {
		t.Errorf("waiting: %v", err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.env")
	if err := os.WriteFile(wrong, []byte("REDIS_URL=redis://:hunter2hunter2@127.0.0.1:6379\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := lab.Run(t, wait("--env", wrong, "--timeout", "3s")); code != 1 || !strings.Contains(out, "WRONGPASS") || strings.Contains(out, "hunter2") {
		t.Errorf("a wrong password: %d %s", code, out)
	}
}
