package lockdown

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// GuardCommand is what the process that Apply leaves behind is started with, after
// "redoubt": it calls Guard.
var GuardCommand = []string{"host", "guard"}

// guard starts that process, apart from the session that it must outlive.
func guard(ctx context.Context, until time.Time) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	argv := append([]string{program}, GuardCommand...)
	if withSystemd() {
		// A service of its own: a login session's end may take its processes with it
		// (logind.conf(5), KillUserProcesses=).
		name := fmt.Sprintf("--unit=redoubt-host-guard-%d", until.Unix())
		return command(ctx, "", append([]string{"systemd-run", "--quiet", "--collect", name}, argv...)...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Guard waits until what is pending has been confirmed or its deadline is past, and
// then puts it back. It says whether it did.
func Guard(ctx context.Context) (wentBack bool, err error) {
	for {
		s, err := Known()
		if err != nil || s.Until.IsZero() {
			return false, err
		}
		left := time.Until(s.Until)
		if left <= 0 {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(min(left, time.Second)): // Confirm may come, and another Apply moves the deadline
		}
	}
	r, unlock, err := open()
	if err != nil {
		return false, err
	}
	defer unlock()
	if r == nil || r.Pending == nil || time.Now().Before(r.Pending.Until) {
		return false, nil
	}
	return true, r.goBack(ctx)
}
