package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoJournal says that the host's log is kept by something that we don't know.
var ErrNoJournal = errors.New("systemd-journald doesn't run here, and how others keep logs isn't known")

const (
	journalSocket = "/run/systemd/journal/socket"
	journalDir    = "/var/log/journal"
	analyzeWithin = 10 * time.Second
)

// Journal is how systemd-journald keeps the host's log.
type Journal struct {
	Storage   string        // as configured: persistent, auto, volatile, none
	OnDisk    bool          // what is logged outlives a restart
	Retention time.Duration // entries older than this are thrown away; 0: no such rule
	Limit     string        // SystemMaxUse; "": journald's own
	Exposed   string        // a file or directory of it that others may read or change, and why; "": none
}

// ReadJournal asks systemd for journald's configuration as it reads it, drop-ins and all
// (journald.conf(5)), and looks at the files.
func ReadJournal(ctx context.Context) (Journal, error) {
	if _, err := os.Stat(journalSocket); err != nil {
		return Journal{}, ErrNoJournal
	}
	text, err := analyze(ctx, "cat-config", "systemd/journald.conf")
	if err != nil {
		return Journal{}, err
	}
	settings := journalSettings(text)
	j := Journal{Storage: settings["Storage"], Limit: settings["SystemMaxUse"]}
	if j.Storage == "" {
		j.Storage = "auto"
	}
	if retention := settings["MaxRetentionSec"]; retention != "" && retention != "0" {
		span, err := analyze(ctx, "timespan", "--", retention)
		if err != nil {
			return Journal{}, fmt.Errorf("MaxRetentionSec=%s: %w", retention, err)
		}
		if j.Retention, err = microseconds(span); err != nil {
			return Journal{}, err
		}
	}
	info, err := os.Stat(journalDir)
	j.OnDisk = j.Storage == "persistent" || j.Storage == "auto" && err == nil && info.IsDir()
	if err == nil {
		j.Exposed, err = exposed(journalDir)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return j, err
}

func analyze(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, analyzeWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemd-analyze", args...).Output()
	if err != nil {
		return "", fmt.Errorf("systemd-analyze %s: %w", args[0], err)
	}
	return string(out), nil
}

// journalSettings reads the files that cat-config prints one after the other: the last
// assignment counts, and an empty one takes back those before it.
func journalSettings(text string) map[string]string {
	settings := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if key, value, ok := strings.Cut(line, "="); ok && line[0] != '#' && line[0] != ';' {
			settings[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return settings
}

// microseconds reads the line "μs: N" of systemd-analyze timespan.
func microseconds(text string) (time.Duration, error) {
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "μs:"); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return time.Duration(us) * time.Microsecond, err
		}
	}
	return 0, fmt.Errorf("systemd-analyze timespan prints no microseconds: %q", text)
}

// exposed is the first of the journal's files that isn't root's, or that others may read,
// and the first directory that others may write to.
func exposed(dir string) (why string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was rotated away meanwhile
		}
		if err != nil {
			return err
		}
		open := info.Mode().Perm() & 0o006
		if e.IsDir() {
			open = info.Mode().Perm() & 0o002 // that there is a journal is no secret
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case ok && owner.Uid != 0:
			why = fmt.Sprintf("%s belongs to uid %d", path, owner.Uid)
		case open != 0:
			why = fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm())
		default:
			return nil
		}
		return fs.SkipAll
	})
	return why, err
}
