package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// TestMain makes this test binary the command that the scripts run.
func TestMain(m *testing.M) {
	sandbox.Main(enroll.Role(), front.Role())
	testscript.Main(m, map[string]func(){"redoubt": main})
}

// TestScripts runs sessions at the command line, as a user types them.
func TestScripts(t *testing.T) {
	if entries, err := os.ReadDir("testdata/script"); err != nil || len(entries) < 3 {
		t.Fatalf("the scripts are gone: %v, %v", entries, err)
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
