package lab

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandWithin is what a command may take on a busy machine.
const commandWithin = 10 * time.Minute

// Run is a command's output and exit code. One that hangs is ended, with all that it
// started.
func Run(t testing.TB, cmd *exec.Cmd) (out string, code int) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 30 * time.Second // for the rest of what it said
	stop := time.AfterFunc(commandWithin, func() {
		t.Errorf("%s takes longer than %s", strings.Join(cmd.Args, " "), commandWithin)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	})
	defer stop.Stop()
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// Sure is the output of a command that must succeed.
func Sure(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, code := Run(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(cmd.Args, " "), code, out)
	}
	return out
}
