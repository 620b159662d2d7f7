package pki_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

const day = 24 * time.Hour

// TestTheLedgerAndTheListForgetWhatHasEnded: neither grows for ever.
func TestTheLedgerAndTheListForgetWhatHasEnded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		web, db := id(t, "spiffe://clinic/app/web"), id(t, "spiffe://clinic/app/db")
		for range 60 { // weeks
			issue(t, ca, pki.Request{ID: web, Life: 7 * day})
			if revoked, err := ca.Revoke(web); len(revoked) != 1 || err != nil {
				t.Fatalf("%v revoked, %v", revoked, err)
			}
			issue(t, ca, pki.Request{ID: db, Life: 7 * day})
			time.Sleep(7 * day)
		}
		known := serials(t, ca)
		if len(known) > 12 {
			t.Errorf("it knows %d certificates that lived a week each", len(known))
		}
		text, err := ca.Revocations()
		must(t, err)
		if len(text) > 1500 {
			t.Errorf("the list has %d bytes", len(text))
		}
	})
}

// TestAClockThatJumpsAheadForgetsNothing: what seemed to have ended, while the
// clock was weeks ahead, is still known and can be revoked.
func TestAClockThatJumpsAheadForgetsNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		web := id(t, "spiffe://clinic/app/web")
		living := issue(t, ca, pki.Request{ID: web, Life: 7 * day})
		revoked := issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/app/lost"), Life: 7 * day})
		_, err = ca.Revoke(id(t, "spiffe://clinic/app/lost"))
		must(t, err)
		time.Sleep(30 * day)
		issue(t, ca, pki.Request{ID: web}) // the ledger is written with the wrong clock
		if all, err := ca.Revoke(web); len(all) != 2 || err != nil {
			t.Errorf("%v revoked, %v: the first one is forgotten", all, err)
		}
		known := serials(t, ca)
		for _, cert := range []string{pki.Describe(living, time.Now()).Serial, pki.Describe(revoked, time.Now()).Serial} {
			if known[cert] != pki.Revoked {
				t.Errorf("%s is %q", cert, known[cert])
			}
		}
	})
}

// TestAClockFarBehindSignsNothing: synctest's clock begins in 2000, before this
// CA was made.
func TestAClockFarBehindSignsNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Open(dir, nil)
		must(t, err)
		if _, err := ca.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web")}); err == nil || !strings.Contains(err.Error(), "clock says 2000-01-01") {
			t.Errorf("got %v, want it to speak of the clock", err)
		}
	})
}

// TestBothRootsAreGoodDuringARotationAndTheOldOneNotAfter walks through a
// rotation with hosts that renew as they do.
func TestBothRootsAreGoodDuringARotationAndTheOldOneNotAfter(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		web, db := id(t, "spiffe://clinic/app/web"), id(t, "spiffe://clinic/app/db")
		stage := func(want pki.Stage, waiting int) {
			t.Helper()
			r, err := ca.Rotation()
			if err != nil || r.Stage != want || len(r.Waiting) != waiting {
				t.Errorf("%+v, %v; want %s with %d waiting", r, err, want, waiting)
			}
		}
		old := issue(t, ca, pki.Request{ID: web, Life: 7 * day})
		issue(t, ca, pki.Request{ID: db, Life: 7 * day}) // a host that is switched off
		stage(pki.Resting, 0)
		must(t, ca.StartRotation(pki.Options{Key: pki.Ed25519}))
		stage(pki.Started, 2)
		if err := ca.SwitchRoot(false); err == nil || !strings.Contains(err.Error(), "2 hosts") {
			t.Errorf("switched: %v", err)
		}
		time.Sleep(4 * day)
		middle := issue(t, ca, pki.Request{ID: web, Life: 7 * day})
		stage(pki.Started, 1)
		time.Sleep(4 * day) // the host that is off has no certificate any more
		stage(pki.Started, 0)
		must(t, ca.SwitchRoot(false))
		stage(pki.Switched, 1)
		young := issue(t, ca, pki.Request{ID: web, Life: 7 * day})
		stage(pki.Switched, 0)
		both := ca.Roots()
		for name, cert := range map[string]bool{"middle": under(middle, both...) == nil, "young": under(young, both...) == nil} {
			if !cert {
				t.Errorf("%s is refused during the rotation", name)
			}
		}
		if under(old, both...) == nil { // it has ended
			t.Error("an ended certificate is good")
		}
		must(t, ca.FinishRotation(false))
		stage(pki.Resting, 0)
		if under(middle, ca.Roots()...) == nil {
			t.Error("a certificate of the old root is good after the rotation")
		}
		if err := under(young, ca.Roots()...); err != nil {
			t.Errorf("one of the new root isn't: %v", err)
		}
		again, err := pki.Open(dir, nil)
		must(t, err)
		if err := under(issue(t, again, pki.Request{ID: web}), ca.Roots()...); err != nil {
			t.Errorf("a new process signs with another root: %v", err)
		}
	})
}
