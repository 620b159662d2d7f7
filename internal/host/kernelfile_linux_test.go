package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestWhatTheKernelLacksIsTheKernelsWord: a host without /sys, as in a chroot, was one
// that can't hibernate, has no crash kernel and no huge pages. It needs root.
func TestWhatTheKernelLacksIsTheKernelsWord(t *testing.T) {
	const lacking = "/sys/kernel/redoubt/none"
	if _, known, err := Setting(lacking); known || err != nil {
		t.Fatalf("where /sys is: %v %v", known, err)
	}
	withoutSys(t, func() {
		for _, path := range []string{lacking, "/sys/power/state", "/sys/kernel/kexec_crash_loaded"} {
			if value, known, err := Setting(path); err == nil {
				t.Errorf("%s, without /sys: %q, known: %v", path, value, known)
			}
		}
		if can, why, err := Hibernates(); err == nil {
			t.Errorf("it can hibernate: %v, %s", can, why)
		}
	})
}

// withoutSys does something on a thread that sees no /sys. It ends with the goroutine.
func withoutSys(t *testing.T, do func()) {
	t.Helper()
	if err := lab.OnThread(func() error {
		err := errors.Join(
			unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", "/sys", "tmpfs", 0, ""))
		if err == nil {
			do()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestASwapFileIsJudgedByItsDisk, and not by its name, which may be that of an encrypted
// device (here: of one that is there at all).
func TestASwapFileIsJudgedByItsDisk(t *testing.T) {
	memory, err := os.MkdirTemp("/dev/shm", "redoubt-swap-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(memory)
	for dir, want := range map[string]bool{memory: true, t.TempDir(): onEncrypted(t)} {
		file := filepath.Join(dir, "swapfile")
		if err := os.WriteFile(file, []byte("swap"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := encrypted(file); got != want {
			t.Errorf("%s: %v", file, got)
		}
	}
}

func onEncrypted(t *testing.T) bool {
	t.Helper()
	disk, err := DiskOf(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return disk.Encrypted
}
