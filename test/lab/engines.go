package lab

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Binary is a real engine of some generation, in an extracted root of the
// Debian release that ships it.
type Binary struct {
	Name    string // as in Engines: "valkey-8.1"
	Product string // "redis" or "valkey"
	Version string // as the binary itself says: "8.1.1"
	Path    string // inside the root: "/usr/bin/valkey-server"
	Root    string // the root as seen from here; "/" for code that InRoot runs
}

// release says where an engine comes from: a suite of Debian's archive.
type release struct {
	engine  string // as in Engines
	product string
	suite   string
	extra   string // a suite on top that has the engine, such as backports
	expired bool   // its release file may be past its date on a mirror; signatures are checked all the same
}

// releases is the whole choice, oldest first. Stable suites keep their
// engine's minor version for good, so it is in the name and checked against
// the binary; forky still moves, so its engines are named "next".
func releases() []release {
	return []release{
		{engine: "redis-6.0", product: "redis", suite: "bullseye"},
		{engine: "redis-7.0", product: "redis", suite: "bookworm"},
		{engine: "valkey-8.0", product: "valkey", suite: "bookworm", extra: "bookworm-backports"},
		{engine: "redis-8.0", product: "redis", suite: "trixie"},
		{engine: "valkey-8.1", product: "valkey", suite: "trixie"},
		{engine: "redis-next", product: "redis", suite: "forky", expired: true},
		{engine: "valkey-next", product: "valkey", suite: "forky", expired: true},
	}
}

// TooOld is the engine that is there to be refused: Redoubt wants 7.0 or later.
const TooOld = "redis-6.0"

// Engines lists what can be had, oldest first.
func Engines() []string {
	var names []string
	for _, r := range releases() {
		names = append(names, r.engine)
	}
	return names
}

// Engine finds the named engine, building its root first where the cache has
// none. What can't be had fails the test.
func Engine(t testing.TB, name string) Binary {
	t.Helper()
	r := releaseOf(t, name)
	return r.open(t, buildRoot(t, r))
}

func releaseOf(t testing.TB, name string) release {
	t.Helper()
	for _, r := range releases() {
		if r.engine == name {
			return r
		}
	}
	t.Fatalf("lab: no engine %q; there are %s", name, strings.Join(Engines(), ", "))
	return release{}
}

// open asks the binary in a root for its version, and checks that it is the
// generation that the name promises.
func (r release) open(t testing.TB, root string) Binary {
	t.Helper()
	b := Binary{Name: r.engine, Product: r.product, Path: "/usr/bin/" + r.product + "-server", Root: root}

	cmd := exec.CommandContext(t.Context(), b.Path, "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("lab: %s in %s: %v\n%s", b.Path, root, err, out)
	}
	found := regexp.MustCompile(`\bv=(\d+\.\d+\.\d+)\b`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("lab: %s does not tell its version: %q", filepath.Join(root, b.Path), out)
	}
	b.Version = string(found[1])

	generation := strings.TrimPrefix(r.engine, r.product+"-")
	if generation != "next" && !strings.HasPrefix(b.Version, generation+".") {
		t.Fatalf("lab: %s turned out to be %s %s; releases() in this file needs a look", r.engine, r.product, b.Version)
	}
	return b
}
