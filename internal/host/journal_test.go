package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTheJournalsSettingsAreThoseThatCount: systemd itself puts the files together here,
// from a tree of the test's own.
func TestTheJournalsSettingsAreThoseThatCount(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"etc/systemd/journald.conf":                     "[Journal]\n#Storage=none\nStorage=auto\nMaxRetentionSec=1day\nSystemMaxUse=1G\n",
		"usr/lib/systemd/journald.conf.d/20-dist.conf":  "[Journal]\nStorage=volatile\n",
		"etc/systemd/journald.conf.d/30-redoubt.conf":   "[Journal]\nStorage = persistent\nMaxRetentionSec=\n",
		"usr/lib/systemd/journald.conf.d/40-over.conf":  "[Journal]\nStorage=none\n",
		"etc/systemd/journald.conf.d/40-over.conf":      "; taken back\n",
		"etc/systemd/journald.conf.d/50-not-a-conf.bak": "[Journal]\nStorage=none\n",
	} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := analyze(t.Context(), "--root="+root, "cat-config", "systemd/journald.conf")
	if err != nil {
		t.Fatal(err)
	}
	got := journalSettings(text)
	if got["Storage"] != "persistent" || got["MaxRetentionSec"] != "" || got["SystemMaxUse"] != "1G" {
		t.Errorf("%v from\n%s", got, text)
	}
}

func TestSpansAreReadAsSystemdReadsThem(t *testing.T) {
	for span, want := range map[string]time.Duration{"1day": 24 * time.Hour, "2week": 14 * 24 * time.Hour, "90": 90 * time.Second, "1h 30min": 90 * time.Minute} {
		text, err := analyze(t.Context(), "timespan", "--", span)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := microseconds(text); err != nil || got != want {
			t.Errorf("%s: %v %v", span, got, err)
		}
	}
	if _, err := microseconds("nothing"); err == nil {
		t.Error("nothing is read as a span")
	}
}

// TestAnExposedJournalIsFound: what others may read or change, or isn't root's.
func TestAnExposedJournalIsFound(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "m", "system.journal")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		t.Helper()
		why, err := exposed(dir)
		if err != nil {
			t.Fatal(err)
		}
		return why
	}
	if why := look(); why != "" {
		t.Errorf("as it should be: %s", why)
	}
	for _, breach := range []struct {
		path string
		mode os.FileMode
		uid  int
	}{{file, 0o644, 0}, {file, 0o642, 0}, {filepath.Dir(file), 0o777, 0}, {file, 0o640, 4711}} {
		info, err := os.Stat(breach.path)
		if err != nil {
			t.Fatal(err)
		}
		set := func(mode os.FileMode, uid int) {
			t.Helper()
			if err := os.Chown(breach.path, uid, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(breach.path, mode); err != nil {
				t.Fatal(err)
			}
		}
		set(breach.mode, breach.uid)
		if look() == "" {
			t.Errorf("%+v isn't found", breach)
		}
		set(info.Mode().Perm(), 0)
	}
}
