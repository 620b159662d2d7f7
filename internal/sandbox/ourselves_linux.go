//go:build amd64 || arm64

package sandbox

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Ourselves protects this process, which holds keys and passwords, and values on
// their way: no core dump, not even through a piped core_pattern (see setLimits), and
// no attaching by processes of the same user. It can't be undone.
func Ourselves() error {
	if ourselvesSabotaged() {
		return nil
	}
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil); err != nil {
		return fmt.Errorf("sandbox: no core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("sandbox: not dumpable: %w", err)
	}
	return nil
}

// runWithin runs a confined command to its end. The thread is held because the
// program dies with the thread that started it.
func runWithin(ctx context.Context, cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	return cmd.Wait()
}
