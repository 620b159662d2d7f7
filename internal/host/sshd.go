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

// sshdWithin bounds sshd's answer about its configuration.
const sshdWithin = 10 * time.Second

// ErrNoSSHD says that this host has no ssh server.
var ErrNoSSHD = errors.New("no sshd is installed")

// SSHD is what sshd would do for a connection, by its own reading of its files, drop-ins
// and Match blocks (sshd(8), -T and -C): each keyword in lower case with its values.
func SSHD(ctx context.Context, user, from string) (settings map[string]string, err error) {
	path, err := findSSHD()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sshdWithin)
	defer cancel()
	var complaint strings.Builder
	cmd := exec.CommandContext(ctx, path, "-T", "-C", fmt.Sprintf("user=%s,host=%s,addr=%s", user, from, from))
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("sshd -T: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	settings = map[string]string{}
	for line := range strings.Lines(string(out)) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if before := settings[keyword]; before != "" {
			value = before + " " + value
		}
		settings[keyword] = value
	}
	return settings, nil
}

func findSSHD() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ErrNoSSHD
}
