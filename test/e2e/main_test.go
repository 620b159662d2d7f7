// Package e2e_test runs the real binary as a user does: one file a promise.
// It needs root, for network namespaces, small file systems and the sandbox's
// own uid, as the Makefile's machine has.
package e2e_test

import (
	"flag"
	"os"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // verifications wait, most of the time
	os.Exit(lab.Main(m))
}
