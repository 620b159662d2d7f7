package lab

import (
	"debug/elf"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// enter makes a throwaway host of an extracted root and runs a program in it.
// It runs in mount and process namespaces of its own, so nothing of it can be
// seen from outside, and all of it is gone with its first process. Changes go
// to memory (an overlay on tmpfs), so a root serves many tests at once.
// The shell stays as process 1 and reaps what is orphaned; a test that were
// process 1 itself would be a parent that no real host has.
const enter = `
set -eu
root=$1 scratch=$2 self=$3
shift 3
mount -t tmpfs -o mode=0755 lab "$scratch"
cd "$scratch"
mkdir upper work host
mount -t overlay -o "lowerdir=$root,upperdir=upper,workdir=work" lab host
cd host
mkdir -p dev proc run tmp
chmod 1777 tmp
mount --rbind /dev dev
mount -t proc proc proc
touch lab.test
mount --bind "$self" lab.test
status=0
chroot . "$@" || status=$?
exit "$status"
`

// self is where a program in the root finds the test binary.
const self = "/lab.test"

// insideVar tells a test binary that it has been started inside a root, and
// for which engine.
const insideVar = "REDOUBT_LAB_INSIDE"

// Command prepares to run a program on a throwaway host of the engine's
// release: its files, its libraries, the real kernel. argv[0] is a path inside.
// Killing the command kills everything that it started; so does the test's end.
func (b Binary) Command(t testing.TB, argv ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, "sh", b.Root, t.TempDir(), exe}
	cmd := exec.CommandContext(t.Context(), "unshare", append(args, argv...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp"}
	return cmd
}

// InRoot runs inside on a host of the engine's release: the test binary is
// started again in the engine's root, comes back to this very call, and calls
// inside there, with the engine at Binary.Path. What inside reports is
// reported here. The code around the call runs on both sides, so keep it to
// the choice of the engine.
//
// The binary must be static (CGO_ENABLED=0, hence no race detector): the
// release's C library may be older than the one it was linked with.
func InRoot(t *testing.T, name string, inside func(t *testing.T, b Binary)) {
	t.Helper()
	if os.Getenv(insideVar) == name {
		inside(t, open(t, name, strings.Split(name, "-")[0], "/"))
		return
	}
	requireStatic(t)
	cmd := Engine(t, name).Command(t, self, "-test.v", "-test.run="+onlyTest(t.Name()))
	cmd.Env = append(cmd.Env, insideVar+"="+name)
	out, err := cmd.CombinedOutput()
	// A pattern that matches no test succeeds too: the test's own verdict counts.
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("inside the root of %s: %v\n%s", name, err, out)
	}
	t.Logf("inside the root of %s:\n%s", name, out)
}

// onlyTest is a -test.run pattern for one test or subtest.
func onlyTest(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

func requireStatic(t testing.TB) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	file, err := elf.Open(exe)
	if err != nil {
		t.Fatalf("lab: reading the test binary: %v", err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Fatal("lab: the test binary is linked dynamically and can't run in another release's root: set CGO_ENABLED=0")
		}
	}
}
