//go:build slow

package hosts_test

import (
	"os"
	"testing"

	"github.com/aymanbagabas/go-udiff"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// differences is "" if there are none.
func differences(before, now string) string { return udiff.Unified("before", "now", before, now) }
