package pki_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// TestWhoHadAccessIsKeptForSixYears: what the ledger forgets after a month is in the
// archive, and everything is in one of them.
func TestWhoHadAccessIsKeptForSixYears(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		serials := map[string]bool{}
		archived := func() (n int) {
			t.Helper()
			chain, err := ca.Archived(func(i pki.Issued) error {
				if !serials[i.Serial] {
					t.Errorf("%+v is there twice, or was never issued", i)
				}
				delete(serials, i.Serial)
				n++
				return nil
			})
			must(t, err)
			if len(chain.Faults) > 0 {
				t.Fatal(chain.Faults)
			}
			return n
		}
		const months = 24
		for month := range months {
			issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/app/web"), Life: 7 * day})
			if month%6 == 5 {
				_, err := ca.Revoke(id(t, "spiffe://clinic/app/web"))
				must(t, err)
			}
			issued, err := ca.Issued()
			must(t, err)
			if len(issued) > 3 {
				t.Fatalf("the ledger remembers %d", len(issued))
			}
			for _, i := range issued {
				serials[i.Serial] = true
			}
			time.Sleep(30 * day)
		}
		issued, err := ca.Issued()
		must(t, err)
		if len(serials) != months {
			t.Fatalf("%d were issued", len(serials))
		}
		if n := archived(); n+len(issued) < months || n < months-3 {
			t.Errorf("%d in the archive, %d in the ledger, of %d", n, len(issued), months)
		}
		again, err := pki.Open(dir, nil)
		must(t, err)
		revoked := 0
		_, err = again.Archived(func(i pki.Issued) error {
			if i.Status == pki.Living {
				t.Errorf("%+v lives", i)
			}
			if i.Revoked != nil {
				revoked++
			}
			return nil
		})
		must(t, err)
		if revoked < 3 {
			t.Errorf("%d are known to have been revoked", revoked)
		}
	})
}

// TestWhatCantBeArchivedIsNotForgotten.
func TestWhatCantBeArchivedIsNotForgotten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Create(dir, "clinic", pki.Options{})
		must(t, err)
		web := pki.Request{ID: id(t, "spiffe://clinic/app/web"), Life: 7 * day}
		issue(t, ca, web)
		time.Sleep(60 * day)
		archive := filepath.Join(dir, "archive")
		must(t, os.WriteFile(archive, nil, 0o600)) // where its directory belongs
		if _, err := ca.Issue(web); err == nil {
			t.Error("it went on without its archive")
		}
		if issued, err := ca.Issued(); err != nil || len(issued) != 1 {
			t.Errorf("%v, %v", issued, err)
		}
		must(t, os.Remove(archive))
		issue(t, ca, web)
		if issued, err := ca.Issued(); err != nil || len(issued) != 1 {
			t.Errorf("%v, %v", issued, err)
		}
	})
}
