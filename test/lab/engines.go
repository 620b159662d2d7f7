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

// release says which engines a Debian suite ships, and what to unpack for them.
type release struct {
	suite    string
	extra    string // a suite whose packages come on top, such as backports
	expired  bool   // its release file may be past its date on a mirror; signatures are checked all the same
	packages []string
	engines  map[string]string // name in Engines to product
}

// releases is the whole choice, oldest first. Stable suites keep their
// engine's minor version for good, so it is in the name and checked against
// the binary; forky still moves, so its engines are named "next".
func releases() []release {
	return []release{
		{suite: "bullseye", packages: []string{"redis-server"},
			engines: map[string]string{"redis-6.0": "redis"}},
		{suite: "bookworm", packages: []string{"redis-server"},
			engines: map[string]string{"redis-7.0": "redis"}},
		{suite: "bookworm", extra: "bookworm-backports", packages: []string{"valkey-server"},
			engines: map[string]string{"valkey-8.0": "valkey"}},
		{suite: "trixie", packages: []string{"redis-server", "valkey-server"},
			engines: map[string]string{"redis-8.0": "redis", "valkey-8.1": "valkey"}},
		{suite: "forky", expired: true, packages: []string{"redis-server", "valkey-server"},
			engines: map[string]string{"redis-next": "redis", "valkey-next": "valkey"}},
	}
}

// Engines lists what can be had, oldest first. "redis-6.0" is there to be
// refused: Redoubt wants 7.0 or later.
func Engines() []string {
	return []string{"redis-6.0", "redis-7.0", "valkey-8.0", "redis-8.0", "valkey-8.1", "redis-next", "valkey-next"}
}

// Engine finds the named engine, building its root first where the cache has
// none. What can't be had fails the test.
func Engine(t testing.TB, name string) Binary {
	t.Helper()
	for _, r := range releases() {
		if product, ok := r.engines[name]; ok {
			return open(t, name, product, buildRoot(t, r))
		}
	}
	t.Fatalf("lab: no engine %q; there are %s", name, strings.Join(Engines(), ", "))
	return Binary{}
}

// open asks the binary in a root for its version, and checks that it is the
// generation that the name promises.
func open(t testing.TB, name, product, root string) Binary {
	t.Helper()
	b := Binary{Name: name, Product: product, Path: "/usr/bin/" + product + "-server", Root: root}

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

	generation := strings.TrimPrefix(name, product+"-")
	if generation != "next" && !strings.HasPrefix(b.Version, generation+".") {
		t.Fatalf("lab: %s turned out to be %s %s; releases() in this file needs a look", name, product, b.Version)
	}
	return b
}
