//go:build amd64 || arm64

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Ourselves protects the memory of this process, which holds keys and passwords, and
// values on their way. The kernel makes no core dump of it and lets no other process of
// its user attach (PR_SET_DUMPABLE, prctl(2)), and writes none of it to swap
// (mlockall(2)). What it starts inherits neither. It can't be undone.
func Ourselves() error {
	if ourselvesSabotaged() {
		return nil
	}
	var dumpable error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		dumpable = fmt.Errorf("sandbox: not dumpable: %w", err)
	}
	return errors.Join(dumpable, lockMemory())
}

// lockMemory takes all that this process has mapped and will map: a page is locked when
// it is first used, so memory that Go only reserves costs nothing.
func lockMemory() error {
	if err := lockUnlimited(); err != nil {
		return fmt.Errorf("sandbox: the memory of this process may be swapped: %w", err)
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("sandbox: the memory of this process may be swapped: mlockall: %w", err)
	}
	return nil
}

// lockUnlimited says whether memory may be locked without a limit. At one, Go would get
// no more memory some day, and end.
func lockUnlimited() error {
	const none = unix.RLIM_INFINITY
	if unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: none, Max: none}, nil) == nil {
		return nil
	}
	// With a limit of 0 the kernel lets only CAP_IPC_LOCK lock, which has none (mlock(2)).
	// Asking for the capability wouldn't do: within a user namespace it isn't enough.
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, nil, &limit); err != nil {
		return err
	}
	if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: limit.Max}, nil); err != nil {
		return err
	}
	if unix.Mlockall(unix.MCL_CURRENT|unix.MCL_ONFAULT) == nil {
		return nil
	}
	return errors.Join(
		fmt.Errorf("it may lock %d bytes at most (LimitMEMLOCK=infinity in its unit, ulimit -l unlimited)", limit.Max),
		unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &limit, nil))
}

// NoCoreFile has this process, and all that it starts, leave no core dump by the limit
// for its size as well (see limitCore).
func NoCoreFile() error {
	if ourselvesSabotaged() {
		return nil
	}
	if err := limitCore(); err != nil {
		return fmt.Errorf("sandbox: no core dumps: %w", err)
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
