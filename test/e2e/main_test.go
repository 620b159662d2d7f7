// Package e2e_test runs the real binary as a user does: one file a promise.
// It needs root, for network namespaces, small file systems and the sandbox's
// own uid, as the Makefile's machine has.
package e2e_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// newPace is that of who asks all the time, to see what fails and not to fill the machine.
func newPace() *time.Ticker { return time.NewTicker(5 * time.Millisecond) }

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "8") // verifications wait, most of the time
	os.Exit(lab.Main(m))
}
