package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ErrUnknownUpdates says that this distribution's way of installing updates by itself
// is none that we know.
var ErrUnknownUpdates = errors.New("this is no system with apt, and how others install updates by themselves isn't known here")

const aptWithin = 10 * time.Second

// UpdatesThemselves says whether security updates are fetched and installed without
// anybody's doing, by apt's own reading of its files, and why (not).
func UpdatesThemselves(ctx context.Context) (yes bool, why string, err error) {
	path, err := exec.LookPath("apt-config")
	if err != nil {
		return false, "", ErrUnknownUpdates
	}
	if _, err := os.Stat("/usr/bin/unattended-upgrade"); err != nil {
		return false, "unattended-upgrades is not installed", nil
	}
	ctx, cancel := context.WithTimeout(ctx, aptWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "dump", "--format", "%f=%v%n", "APT::Periodic").Output()
	if err != nil {
		return false, "", fmt.Errorf("apt-config: %w", err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		settings[key] = value
	}
	// 0 days: never. "always" is a time too (apt.systemd.daily).
	for _, key := range []string{"APT::Periodic::Update-Package-Lists", "APT::Periodic::Unattended-Upgrade"} {
		if v := settings[key]; v == "" || v == "0" {
			return false, fmt.Sprintf("%s is %q", key, v), nil
		}
	}
	if settings["APT::Periodic::Enable"] == "0" {
		return false, "APT::Periodic::Enable is 0", nil
	}
	// The timer is what starts it.
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system"} {
		if to, err := os.Readlink(dir + "/apt-daily-upgrade.timer"); err == nil && to == "/dev/null" {
			return false, "apt-daily-upgrade.timer is masked", nil
		}
	}
	return true, "apt fetches and installs them: Unattended-Upgrade every " + settings["APT::Periodic::Unattended-Upgrade"] + " days", nil
}
