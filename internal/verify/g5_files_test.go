package verify

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestAStickyFileIsWrittenByAll: the bit protects what is in a directory, and nothing
// of a file.
func TestAStickyFileIsWrittenByAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis-server")
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]bool{0o755: true, 0o775: false, 0o777: false, 0o777 | fs.ModeSticky: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := rootsAlone(path); (err == nil) != want {
			t.Errorf("%v: %v", mode, err)
		}
	}
}
