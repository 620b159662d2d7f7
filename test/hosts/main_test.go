//go:build slow

// Package hosts_test has whole hosts: Debian with systemd, sshd and a packet filter, on
// networks of their own. What a person would do on them is done here, what an attacker
// or an accident would do too, and the hosts are asked what became of it.
package hosts_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// run is a command's output and exit code.
func run(t *testing.T, cmd *exec.Cmd) (out string, code int) {
	t.Helper()
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// sure is a command that must succeed.
func sure(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", strings.Join(cmd.Args, " "), code, out)
	}
	return out
}

// differences is "" if there are none.
func differences(before, now string) string { return udiff.Unified("before", "now", before, now) }
