package pki_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// signing is one CA with a host that has asked.
func csrOf(t *testing.T) (csr []byte) {
	t.Helper()
	_, csr, err := pki.NewRequest(pki.ECDSA)
	must(t, err)
	return csr
}

// TestAHostThatWasRevokedGetsNothingUntilItIsAdmitted goes through every way to a
// certificate.
func TestAHostThatWasRevokedGetsNothingUntilItIsAdmitted(t *testing.T) {
	ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{})
	must(t, err)
	web := pki.Request{ID: id(t, "spiffe://clinic/app/web")}
	csr, err := pki.ParseRequest(csrOf(t))
	must(t, err)
	leaf, err := ca.Issue(web)
	must(t, err)
	before, err := ca.Moment()
	must(t, err)
	if _, err := ca.Renew(csr, web, leaf.Certificate()); err != nil {
		t.Fatalf("a living host can't renew: %v", err)
	}
	revoked, err := ca.Revoke(web.ID)
	must(t, err)
	if len(revoked) != 2 || revoked[0].Status != pki.Living {
		t.Errorf("revoked: %+v", revoked)
	}
	after, err := ca.Moment()
	must(t, err)
	closed := func(when string) {
		t.Helper()
		if _, err := ca.Renew(csr, web, leaf.Certificate()); !errors.Is(err, pki.ErrRevoked) {
			t.Errorf("%s: a renewal: %v", when, err)
		}
		if _, _, err := ca.Enrol(csr, web, before); !errors.Is(err, pki.ErrRevoked) {
			t.Errorf("%s: a token of before: %v", when, err)
		}
	}
	closed("revoked")
	if _, err := ca.SignOwn(csr, web); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("the CA's own host provides for it: %v", err)
	}
	if _, _, err := ca.Enrol(csr, web, after); err != nil {
		t.Errorf("a token made since: %v", err)
	}
	closed("admitted again")
	if _, err := ca.SignOwn(csr, web); err != nil {
		t.Errorf("admitted again, and the CA's own host does not provide for it: %v", err)
	}
	_, err = ca.Revoke(web.ID)
	must(t, err)
	if _, _, err := ca.Enrol(csr, web, after); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("revoked again, a token of between: %v", err)
	}
	if _, err := ca.Issue(web); err != nil {
		t.Errorf("by hand: %v", err)
	}
	closed("issued by hand")
}

func TestOnlyACertificateInTheLedgerRenews(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	must(t, os.CopyFS(filepath.Join(copied, "ca"), os.DirFS(dir)))
	must(t, os.Chmod(filepath.Join(copied, "ca"), 0o700))
	must(t, os.Chmod(filepath.Join(copied, "ca", "ca.key"), 0o600))
	twin, err := pki.Open(filepath.Join(copied, "ca"), nil) // a thief's copy of the CA
	must(t, err)
	web, db := pki.Request{ID: id(t, "spiffe://clinic/app/web")}, pki.Request{ID: id(t, "spiffe://clinic/app/db")}
	csr, err := pki.ParseRequest(csrOf(t))
	must(t, err)
	forged, err := twin.Issue(web)
	must(t, err)
	if _, err := ca.Renew(csr, web, forged.Certificate()); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("one that was never issued here: %v", err)
	}
	good, err := ca.Issue(web)
	must(t, err)
	if _, err := ca.Renew(csr, db, good.Certificate()); err == nil {
		t.Error("a host renewed another's")
	}
	issued, err := ca.Issued()
	must(t, err)
	other, err := ca.Issue(web)
	must(t, err)
	revoked, err := ca.RevokeSerial(issued[0].Serial)
	must(t, err)
	if len(revoked) != 1 {
		t.Errorf("%+v", revoked)
	}
	if _, err := ca.Renew(csr, web, good.Certificate()); !errors.Is(err, pki.ErrRevoked) {
		t.Errorf("the one that was revoked: %v", err)
	}
	if _, err := ca.Renew(csr, web, other.Certificate()); err != nil {
		t.Errorf("the other of the same host: %v", err)
	}
	if _, err := ca.RevokeSerial("0011"); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("%v", err)
	}
}

func TestAnEndedCertificateDoesNotRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{})
		must(t, err)
		web := pki.Request{ID: id(t, "spiffe://clinic/app/web"), Life: time.Hour}
		leaf, err := ca.Issue(web)
		must(t, err)
		csr, err := pki.ParseRequest(csrOf(t))
		must(t, err)
		time.Sleep(time.Hour)
		if _, err := ca.Renew(csr, web, leaf.Certificate()); err == nil || !strings.Contains(err.Error(), "ended at") {
			t.Errorf("%v", err)
		}
	})
}

// TestBansAreForgottenWithWhatTheyAreFor: or each verification, which revokes a
// host of its own, would leave a line for ever.
func TestBansAreForgottenWithWhatTheyAreFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		web, other := pki.Request{ID: id(t, "spiffe://clinic/app/web"), Life: time.Hour}, pki.Request{ID: id(t, "spiffe://clinic/app/other")}
		_, err = ca.Issue(web)
		must(t, err)
		_, err = ca.Revoke(web.ID)
		must(t, err)
		bans := func() int {
			text, err := os.ReadFile(filepath.Join(dir, "issued"))
			must(t, err)
			return strings.Count(string(text), "\nban ")
		}
		time.Sleep(29 * 24 * time.Hour)
		_, err = ca.Issue(other)
		must(t, err)
		if n := bans(); n != 1 {
			t.Errorf("after 29 days there are %d bans", n)
		}
		time.Sleep(2 * 24 * time.Hour)
		_, err = ca.Issue(other)
		must(t, err)
		if n := bans(); n != 0 {
			t.Errorf("after 31 days there are %d bans", n)
		}
	})
}

// TestHostsThatDoNotRenewAreNamedInTime: by their newest certificate, while it lives.
func TestHostsThatDoNotRenewAreNamedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{})
		must(t, err)
		late, fresh, lost := id(t, "spiffe://clinic/app/late"), id(t, "spiffe://clinic/app/fresh"), id(t, "spiffe://clinic/app/lost")
		names := func(want ...string) {
			t.Helper()
			list, err := ca.Late()
			must(t, err)
			var got []string
			for _, i := range list {
				got = append(got, i.Identity.Name())
			}
			if !slices.Equal(got, want) {
				t.Errorf("late are %v, want %v", got, want)
			}
		}
		for _, who := range []pki.Request{{ID: late}, {ID: fresh}, {ID: lost}} {
			issue(t, ca, who)
		}
		_, err = ca.Revoke(lost)
		must(t, err)
		time.Sleep(5 * day)
		names()
		issue(t, ca, pki.Request{ID: fresh})
		time.Sleep(day)
		names("late")
		time.Sleep(2 * day)
		names()
	})
}
