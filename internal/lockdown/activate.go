package lockdown

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/host"
)

// commandWithin bounds each program that is started.
const commandWithin = time.Minute // swapoff may have to read much back

func command(ctx context.Context, input string, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// withSystemd says whether systemd is this host's init (sd_booted(3)).
func withSystemd() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// reloadUnits has systemd read its files again.
func reloadUnits(ctx context.Context) error {
	if !withSystemd() {
		return nil
	}
	return command(ctx, "", "systemctl", "daemon-reload")
}

// active says whether systemd runs a unit.
func active(ctx context.Context, unit string) bool {
	return command(ctx, "", "systemctl", "--quiet", "is-active", unit) == nil
}

// endKeeper stops the service that keeps the packet filter where its unit has gone. It
// doesn't wait: the service may be waiting for the lock that the caller has.
func endKeeper(ctx context.Context) error {
	if _, err := os.Lstat(keeperPath); err == nil || !withSystemd() || !active(ctx, keeperUnit) {
		return nil
	}
	return command(ctx, "", "systemctl", "stop", "--no-block", keeperUnit)
}

const (
	sshdConfig = "/etc/ssh/sshd_config"
	sshdPID    = "/run/sshd.pid"
)

// checkSSHD has sshd read its configuration as it would be with the drop-in, before
// the drop-in lies there: sshd takes the first value of a keyword.
func checkSSHD(ctx context.Context, dropIn string) error {
	f, err := os.CreateTemp("", "redoubt-sshd-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(dropIn + "\nInclude " + sshdConfig + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := privilegeSeparation(); err != nil {
		return err
	}
	return command(ctx, "", sshdProgram(), "-t", "-f", f.Name())
}

// privilegeSeparation makes the directory without which sshd -t ends; Debian's unit
// makes it when sshd starts.
func privilegeSeparation() error {
	if err := os.Mkdir("/run/sshd", 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func sshdProgram() string {
	if path, err := exec.LookPath("sshd"); err == nil {
		return path
	}
	return "/usr/sbin/sshd" // not in everybody's PATH
}

// reloadSSHD has a running sshd read its configuration again. Sessions stay.
func reloadSSHD(ctx context.Context) error {
	text, err := os.ReadFile(sshdPID)
	if err == nil {
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && pid > 1 && strings.HasPrefix(commandOf(pid), "sshd") {
			return syscall.Kill(pid, syscall.SIGHUP)
		}
	}
	if !withSystemd() {
		return nil // none runs
	}
	for _, unit := range []string{"ssh.service", "sshd.service"} {
		if active(ctx, unit) {
			return command(ctx, "", "systemctl", "reload", unit)
		}
	}
	return nil // none runs, or one for each connection
}

func commandOf(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return string(name)
}

// write gives the kernel a setting.
func (s setting) write(value string) error { return os.WriteFile(s.path, []byte(value+"\n"), 0) }

// swapOn is the opposite of swapoff, unless it is on.
func swapOn(ctx context.Context, path string) error {
	swaps, err := host.Swaps()
	if err != nil || slices.ContainsFunc(swaps, func(s host.Swap) bool { return s.Path == path }) {
		return err
	}
	return command(ctx, "", "swapon", path)
}
