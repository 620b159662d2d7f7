package lab

import (
	"debug/elf"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// enter makes a throwaway host of an extracted root and runs a program of this
// machine in it. The program's folder is there as /lab, read-only, and is the
// working directory (a test that searches around itself must not find /proc).
// It runs in mount and process namespaces of its own, so nothing of it can be
// seen from outside, and all of it is gone with its first process. Changes go
// to memory (an overlay on tmpfs), so a root serves many tests at once.
// The shell stays as process 1 and reaps what is orphaned; a test that were
// process 1 itself would be a parent that no real host has.
const enter = `
set -eu
root=$1 scratch=$2 program=$3
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
mkdir lab
mount --bind "${program%/*}" lab
mount -o remount,bind,ro lab
status=0
unshare --root=. --wd=/lab "/lab/${program##*/}" "$@" || status=$?
exit "$status"
`

// insideVar tells a test binary that it has been started inside a root, and
// for which engine.
const insideVar = "REDOUBT_LAB_INSIDE"

// Command prepares to run a static binary of this machine on a throwaway host
// of the engine's release: its files, its libraries, the real kernel, this
// machine's network. The program is an absolute path; what lies in its folder
// is at hand in its working directory, /lab. Killing the command kills everything that it started; so
// does the test's end.
func (b Binary) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	requireStatic(t, program)
	host := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, "sh", b.Root, t.TempDir(), program}
	cmd := exec.CommandContext(t.Context(), "unshare", append(host, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=/tmp"}
	return cmd
}

// InRoot runs inside on a host of the engine's release: the test binary is
// started again in the engine's root, comes back to this very call, and calls
// inside there, with the engine at Binary.Path and a loopback of its own. What
// inside reports is reported here. The code around the call runs on both sides, so keep it to
// the choice of the engine.
//
// The binary must be static (CGO_ENABLED=0, hence no race detector): the
// release's C library may be older than the one it was linked with.
func InRoot(t *testing.T, name string, inside func(t *testing.T, b Binary)) {
	t.Helper()
	if os.Getenv(insideVar) == name {
		inside(t, releaseOf(t, name).open(t, "/"))
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	cmd := Engine(t, name).Command(t, exe, "-test.v", "-test.run="+onlyTest(t.Name()))
	cmd.Args = append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}, cmd.Args...)
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

// requireStatic refuses a program that asks for a dynamic linker: it would meet
// the libraries of another release than its own.
func requireStatic(t testing.TB, program string) {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatalf("lab: reading %s: %v", program, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Fatalf("lab: %s is linked dynamically and can't run in another release's root: build it with CGO_ENABLED=0", program)
		}
	}
}
