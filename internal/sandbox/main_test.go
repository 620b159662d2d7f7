//go:build linux

package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// roleVariable makes a second copy of the test binary a supervisor that tests
// can kill.
const roleVariable = "REDOUBT_SANDBOX_TEST_SUPERVISES"

func TestMain(m *testing.M) {
	Main(Role{Name: "server", Run: serve})
	if dir := os.Getenv(roleVariable); dir != "" {
		fmt.Fprintln(os.Stderr, supervise(dir))
		os.Exit(1)
	}
	if os.Getenv(oursVariable) != "" {
		os.Exit(m.Run())
	}
	os.Exit(testWithProbe(m))
}

// testWithProbe builds testdata/probe.c where every user can run it.
func testWithProbe(m *testing.M) int {
	dir, err := os.MkdirTemp("", "redoubt-sandbox-probe-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Not position independent: a variable has one address in every process.
	build := exec.Command("gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-no-pie", "-o", filepath.Join(dir, "probe"), "testdata/probe.c")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "build the probe: %v (apt-get install gcc libc6-dev)\n", err)
		return 1
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	probePath = filepath.Join(dir, "probe")
	return m.Run()
}

// supervise starts a confined probe in dir and never stops it.
func supervise(dir string) error {
	runtime.LockOSThread()
	cmd, err := Command(Spec{Path: os.Getenv("PROBE"), Args: []string{"probe", "wait"}, Dir: dir, UID: -1, GID: -1})
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
