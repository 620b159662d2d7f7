package regular

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNothingIsWaitedFor: a FIFO, a device, a directory and a socket are refused at once.
func TestNothingIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link": "file", "link-to-fifo": "fifo"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]struct{ followed, itself bool }{
		at("file"): {true, true}, at("link"): {true, false}, at("fifo"): {}, at("link-to-fifo"): {}, dir: {}, "/dev/zero": {}, at("none"): {},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if f, _, err := Open(path); (err == nil) != want.followed {
				t.Errorf("%s: %v", path, err)
			} else if err == nil {
				f.Close()
			}
			if f, _, err := OpenItself(path); (err == nil) != want.itself {
				t.Errorf("%s itself: %v", path, err)
			} else if err == nil {
				f.Close()
			}
		}()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", path)
		}
	}
	if text, err := Read(at("link"), 4); err != nil || string(text) != "text" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := Read(at("file"), 3); err == nil || !strings.Contains(err.Error(), "larger than 3 bytes") {
		t.Error(err)
	}
}
