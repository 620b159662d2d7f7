//go:build amd64 || arm64

package sandbox

import (
	"os"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestProbeAgreesWithTheShim: what Probe calls available must really be given.
// That seccomp, Landlock and MDWE then hold is what the matrix shows.
func TestProbeAgreesWithTheShim(t *testing.T) {
	needRoot(t)
	r := Probe()
	if missing := r.Missing(); len(missing) > 0 {
		t.Fatalf("this machine can't judge the sandbox, it lacks %q", missing)
	}
	s := Spec{Path: probePath, Args: []string{"probe", "nothing"}, Dir: t.TempDir(), UID: -1, GID: -1, Isolate: r.Namespaces}
	if output, err := confined(t, s, allLayers()).CombinedOutput(); err != nil {
		t.Errorf("with all that %s promises: %v, %s", r, err, output)
	}
}

// TestProbeSaysWhenNamespacesCanNotBeHad runs Probe on a thread without
// CAP_SYS_ADMIN, as an ordinary user would.
func TestProbeSaysWhenNamespacesCanNotBeHad(t *testing.T) {
	needRoot(t)
	var r Report
	if err := lab.OnThread(func() error { // the thread is spoilt
		if err := dropCapabilities(); err != nil {
			return err
		}
		r = Probe()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if r.Namespaces || !r.Seccomp || r.Landlock == 0 {
		t.Errorf("without capabilities: %s; want seccomp and Landlock but no namespaces", r)
	}
	if os.Geteuid() != 0 || !Probe().Namespaces {
		t.Error("with capabilities: no namespaces; want them")
	}
}
