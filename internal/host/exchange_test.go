package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryStepToASecretCounts: who can write where the path, any link on the way, or
// what it leads to lies, can exchange the file.
func TestEveryStepToASecretCounts(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"kept", "open", "other"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at("open"), 0o777); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for _, name := range []string{"kept/key", "open/key"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"other/good": "../kept/key", "other/first": at("open/middle"), "open/middle": "../kept/key", "other/bad": "../open/key",
		"other/dir": "../kept", "other/by": "../open/dir", "open/dir": at("kept"), "other/round": "round",
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"kept/key": "", "other/good": "", "other/dir/key": "",
		"open/key": "others can write", "other/bad": "others can write", "other/first": "others can write", "other/by/key": "others can write",
		"other/round": "links",
	} {
		err := Exchangeable(at(path), os.Geteuid())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

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
		if err := RootsAlone(path); (err == nil) != want {
			t.Errorf("%v: %v", mode, err)
		}
	}
}
