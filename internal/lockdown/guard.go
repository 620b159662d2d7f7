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

// guard has that process started, apart from the session that it must outlive.
func guard(ctx context.Context, p *pending) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	argv := append([]string{program}, GuardCommand...)
	if withSystemd() {
		// A timer: until the deadline there is no process that could be killed, and one
		// that is killed later is started again. A login session's end takes it with it no
		// more than its other services (logind.conf(5), KillUserProcesses=).
		return command(ctx, "", append([]string{"systemd-run", "--quiet", "--collect",
			fmt.Sprintf("--unit=redoubt-host-guard-%d", p.Deadline.Milliseconds()),
			fmt.Sprintf("--on-active=%dms", p.left().Milliseconds()), "--timer-property=AccuracySec=100ms",
			"--property=Restart=on-failure", "--property=RestartSec=1s", "--property=StartLimitIntervalSec=0", "--property=OOMScoreAdjust=-900"}, argv...)...)
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
		if s.Left == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(min(s.Left, time.Second)): // Confirm may come, and another Apply moves the deadline
		}
	}
	r, unlock, err := open()
	if err != nil {
		return false, err
	}
	defer unlock()
	if r == nil || r.Pending == nil || r.Pending.left() > 0 {
		return false, nil
	}
	return true, r.goBack(ctx)
}
