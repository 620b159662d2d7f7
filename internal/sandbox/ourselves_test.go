//go:build linux

package sandbox

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const oursVariable = "REDOUBT_SANDBOX_TEST_OURSELVES"

// TestNothingOfOurMemoryCanBeSwapped asks the kernel to move pages out (MADV_PAGEOUT),
// which it refuses for locked memory alone: those from before and those from after.
func TestNothingOfOurMemoryCanBeSwapped(t *testing.T) {
	if kind := os.Getenv(oursVariable); kind != "" {
		swapOut(t, kind)
		return
	}
	locks := []uintptr{unix.CAP_IPC_LOCK}
	for name, who := range map[string]syscall.SysProcAttr{
		"root":                     {},
		"a user with CAP_IPC_LOCK": {Credential: &syscall.Credential{Uid: 61235, Gid: 61235}, AmbientCaps: locks},
	} {
		for _, kind := range []string{"locked", "ordinary"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				if out, err := ours(kind, who, "TestNothingOfOurMemoryCanBeSwapped"); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// ours runs a test of this binary in a process of its own.
func ours(kind string, who syscall.SysProcAttr, test string) ([]byte, error) {
	child := exec.Command("/proc/self/exe", "-test.run=^"+test+"$")
	child.Env = append(os.Environ(), oursVariable+"="+kind)
	child.SysProcAttr = &who
	return child.CombinedOutput()
}

// swapOut is the child's part.
func swapOut(t *testing.T, kind string) {
	early := pages(t)
	want := error(nil)
	if kind == "locked" {
		if err := Ourselves(); err != nil {
			t.Fatal(err)
		}
		want = unix.EINVAL
	}
	late := pages(t)
	for name, memory := range map[string][]byte{"early": early, "late": late} {
		if err := unix.Madvise(memory, unix.MADV_PAGEOUT); err != want {
			t.Errorf("%s: the kernel says %v, not %v", name, err, want)
		}
	}
}

func pages(t *testing.T) []byte {
	memory, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	return memory
}

// TestWhoMayNotLockMemoryIsTold, and goes on: at a limit nothing is locked.
func TestWhoMayNotLockMemoryIsTold(t *testing.T) {
	if os.Getenv(oursVariable) == "refused" {
		if err := unix.Prlimit(0, unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 4 << 20, Max: 4 << 20}, nil); err != nil {
			t.Fatal(err)
		}
		if err := Ourselves(); err == nil || !strings.Contains(err.Error(), "LimitMEMLOCK=infinity") {
			t.Errorf("it is told %v", err)
		}
		grown := make([]byte, 64<<20) // beyond the limit
		for i := range grown {
			grown[i] = 1
		}
		return
	}
	who := syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61235, Gid: 61235}}
	if out, err := ours("refused", who, "TestWhoMayNotLockMemoryIsTold"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWhereNoCoreFileIsAllowedAllStarts: hosts that were locked down say "hard core 0" to
// everybody who logs in (limits.conf(5)), and only CAP_SYS_RESOURCE goes above that.
func TestWhereNoCoreFileIsAllowedAllStarts(t *testing.T) {
	if os.Getenv(oursVariable) == "no core" {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
			t.Fatal(err)
		}
		if err := limitCore(); err != nil {
			t.Error(err)
		}
		return
	}
	who := syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61235, Gid: 61235}}
	if out, err := ours("no core", who, "TestWhereNoCoreFileIsAllowedAllStarts"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
