package sabotage_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// asFiltered has this binary become another one under a filter of system calls that
// refuses nothing: what a unit's SystemCallFilter= is to what it starts.
const asFiltered = "REDOUBT_TEST_FILTERED"

func underFilter(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, asFiltered+"="+cmd.Path)
	cmd.Path = "/proc/self/exe"
}

func beFiltered() {
	path := os.Getenv(asFiltered)
	if path == "" {
		return
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &allow}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		panic(errno)
	}
	environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, asFiltered+"=") })
	panic(syscall.Exec(path, append([]string{path}, os.Args[1:]...), environ))
}

// TestUnderAServicesFilterASoundEnginePasses: it has one more than it inherits.
func TestUnderAServicesFilterASoundEnginePasses(t *testing.T) {
	d := up1(t, sabotage{from: evidence.CacheHost, under: true})
	for _, c := range d.verify(t, sabotage{}).Checks {
		if (c.ID == "RD-411" || c.ID == "RD-418") && c.Outcome != evidence.Pass {
			t.Errorf("%s: %s, %s\n%s", c.ID, c.Outcome, c.Detail, c.Evidence)
		}
	}
}
