//go:build linux

package sandbox

import (
	"fmt"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRulesetsOfEveryABIAreAccepted asks the kernel. It knows ABI 7 at most
// where these lines were written; a newer one is asked for all it knows.
func TestRulesetsOfEveryABIAreAccepted(t *testing.T) {
	newest, err := landlockABI()
	must(t, err)
	if newest < 6 {
		t.Fatalf("Landlock ABI %d: this kernel can't judge the rulesets up to 6", newest)
	}
	s := Spec{Path: probePath, Args: []string{"probe"}, Dir: t.TempDir(), UID: -1, GID: -1}
	ofPart, err := partGrants(Part{Name: "server", Read: []string{probePath, t.TempDir()}, Write: []string{t.TempDir()}})
	must(t, err)
	for abi := 1; abi <= newest; abi++ {
		for name, allowed := range map[string][]grant{"engine": grants(s), "part": ofPart} {
			t.Run(fmt.Sprint(abi, name), func(t *testing.T) {
				fd, err := newRuleset(abi, allowed)
				must(t, err)
				must(t, unix.Close(fd))
			})
		}
	}
}

func TestRulesetLacksNothingOfItsABI(t *testing.T) {
	// Bits of the three masks by ABI, counted from landlock(7).
	for abi, want := range map[int]struct{ fs, net, scoped uint64 }{
		1: {0x1fff, 0, 0}, 2: {0x3fff, 0, 0}, 3: {0x7fff, 0, 0}, 4: {0x7fff, 3, 0}, 5: {0xffff, 3, 0},
		6: {0xffff, 3, 3}, 7: {0xffff, 3, 3}, 8: {0xffff, 3, 3}, 9: {0x1ffff, 3, 3}, math.MaxInt: {0x1ffff, 3, 3},
	} {
		got := handled(abi)
		if got.Handled_access_fs != want.fs || got.Handled_access_net != want.net || got.Scoped != want.scoped {
			t.Errorf("ABI %d: %+v, want %+v", abi, got, want)
		}
	}
}

// older says what an older ABI lets through in the Landlock column, by the
// first ABI that refuses it.
var older = map[string]int{
	"try_truncate": 3,
	"tcp_connect":  4, "tcp_bind": 4,
	"abstract_connect": 6,
	"signal_other":     6, "signal_thread": 6, "signal_thread_old": 6, "signal_queue": 6,
}

// TestOlderLandlockStillHoldsItsShare runs the attempts as on an older kernel:
// what its ABI knows is refused, and with seccomp nothing changes at all.
func TestOlderLandlockStillHoldsItsShare(t *testing.T) {
	needRoot(t)
	for abi := 1; abi <= 6; abi++ {
		t.Run(fmt.Sprint(abi), func(t *testing.T) {
			a := newArena(t, freeUID)
			found := outcomes(t, confined(t, a.spec(a.attempts()...), layers{Landlock: abi, MDWE: true}))
			compare(t, found, func(e expectation) string {
				if older[e.name] > abi {
					return "yes"
				}
				return e.landlock
			})
			a = newArena(t, freeUID)
			found = outcomes(t, confined(t, a.spec(a.attempts()...), layers{Landlock: abi, MDWE: true, Seccomp: true}))
			compare(t, found, func(e expectation) string { return e.both })
		})
	}
}
