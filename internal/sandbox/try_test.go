package sandbox

import (
	"os"
	"testing"
)

// TestATakenEngineIsRefusedEverything: this binary itself, confined, attempts it.
func TestATakenEngineIsRefusedEverything(t *testing.T) {
	uid, gid, isolate := -1, -1, false
	if os.Geteuid() == 0 {
		uid, gid, isolate = 61234, 61234, Probe().Namespaces
	}
	trial, err := Try(t.Context(), uid, gid, isolate)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range trial.Attempts {
		if !a.Refused {
			t.Errorf("%s: %s", a.Name, a.Outcome)
		}
		if os.Geteuid() == 0 && !a.Possible {
			t.Errorf("%s: outside the sandbox it isn't possible either, so that its refusal proves nothing", a.Name)
		}
	}
	if trial.Status["NoNewPrivs"] != "1" || trial.Status["Seccomp"] != "2" {
		t.Errorf("it doesn't tell what the kernel shows of it: %v", trial.Status)
	}
}
