package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildRoot returns the folder into which the engine's package and what it
// depends on are extracted (no package script runs). Programs run in a throwaway
// copy (see Command).
func buildRoot(t testing.TB, r release) string {
	t.Helper()
	return keptRoot(t, r.name()+"_"+r.pkg(), func(fresh string) {
		mmdebstrap(t, r, debianMirror(t), fresh)
		linkUsr(t, fresh)
	})
}

// keptRoot returns a folder of that name in the user's cache folder. It is built once,
// and never written to again. A lock keeps two builds from running at a time, and the
// finished root appears in one rename, so a build that was cut short leaves nothing
// that looks like one.
func keptRoot(t testing.TB, name string, build func(fresh string)) string {
	t.Helper()
	cache := rootCache(t)
	unlock := lock(t, filepath.Join(cache, "lock"))
	defer unlock()

	root := filepath.Join(cache, name)
	if _, err := os.Stat(root); err == nil {
		return root
	}
	fresh := root + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		t.Fatalf("lab: clearing an unfinished root: %v", err)
	}
	t.Logf("lab: unpacking %s", root)
	begun := time.Now()
	build(fresh)
	if err := os.Rename(fresh, root); err != nil {
		t.Fatalf("lab: keeping the root: %v", err)
	}
	t.Logf("lab: unpacked in %.1f s", time.Since(begun).Seconds())
	return root
}

func (r release) name() string {
	if r.extra != "" {
		return r.extra
	}
	return r.suite
}

func (r release) pkg() string { return r.product + "-server" }

func rootCache(t testing.TB) string {
	t.Helper()
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("lab: no place to keep engines' roots: %v (set HOME or XDG_CACHE_HOME)", err)
	}
	cache := filepath.Join(user, "redoubt-lab")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatalf("lab: %v", err)
	}
	return cache
}

// lock takes the file's lock across processes (go test runs packages side by
// side) and waits for whoever has it. The kernel frees it if we die.
func lock(t testing.TB, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lab: locking %s: %v", path, err)
	}
	return func() { f.Close() }
}

// mmdebstrap unpacks the engine's package and what it depends on.
func mmdebstrap(t testing.TB, r release, mirror, target string) {
	t.Helper()
	args := []string{"--variant=extract", "--include=" + r.pkg()}
	if r.expired {
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	args = append(args, r.suite, target, fmt.Sprintf("deb %s %s main", mirror, r.suite))
	if r.extra != "" {
		args = append(args, fmt.Sprintf("deb %s %s main", mirror, r.extra))
	}
	runMmdebstrap(t, args...)
}

func runMmdebstrap(t testing.TB, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("lab: unpacking a Debian release needs root")
	}
	tool, err := exec.LookPath("mmdebstrap")
	if err != nil {
		t.Fatal("lab: mmdebstrap is missing: apt-get install mmdebstrap")
	}
	if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
		t.Fatalf("lab: mmdebstrap %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// linkUsr makes the links of a merged /usr that the extract variant leaves
// out where all packages of a release ship their files under /usr already.
func linkUsr(t testing.TB, root string) {
	t.Helper()
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if _, err := os.Stat(filepath.Join(root, "usr", name)); err != nil {
			continue
		}
		err := os.Symlink("usr/"+name, filepath.Join(root, name))
		if err != nil && !os.IsExist(err) {
			t.Fatalf("lab: %v", err)
		}
	}
}

// debianMirror asks apt for the archive that this machine itself uses, which
// also serves the other suites. No address is written down here.
func debianMirror(t testing.TB) string {
	t.Helper()
	codename := osRelease(t, "VERSION_CODENAME")
	out, err := exec.CommandContext(t.Context(), "apt-get", "indextargets",
		"--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatalf("lab: apt-get indextargets, which tells where this machine's packages come from: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), codename+" main "); ok {
			return uri
		}
	}
	t.Fatalf("lab: no apt source of this machine serves %s main; the engines' roots are unpacked from there", codename)
	return ""
}

// osRelease reads a field of os-release(5).
func osRelease(t testing.TB, field string) string {
	t.Helper()
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), field+"="); ok {
			return strings.Trim(value, `"`)
		}
	}
	t.Fatalf("lab: /etc/os-release has no %s: a Debian machine is needed", field)
	return ""
}
