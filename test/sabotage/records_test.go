package sabotage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

func recordSabotages() []sabotage {
	return []sabotage{
		{id: "RD-601", from: evidence.CacheHost, how: "an exception is past its end", broken: func(t *testing.T, d *deployment) {
			d.target.Exceptions = []evidence.Exception{{Check: "RD-404", Owner: "ops", Reason: "until the new host", Until: "2026-01-31"}}
		}},
		{id: "RD-602", from: evidence.CacheHost, how: "a line of the CA's record is gone", broken: func(t *testing.T, d *deployment) {
			// In a copy: the gateway looks at its own, and would say so.
			copied := filepath.Join(t.TempDir(), "ca")
			if err := os.CopyFS(copied, os.DirFS(filepath.Join(d.Dir, "ca"))); err != nil {
				t.Fatal(err)
			}
			ledger := read(t, copied, "issued")
			cut := append(ledger[:len(ledger)/2:len(ledger)/2], ledger[len(ledger)/2+1:]...)
			if err := os.WriteFile(filepath.Join(copied, "issued"), cut, 0o600); err != nil {
				t.Fatal(err)
			}
			d.target.Cache.CA = copied
		}},
		{id: "RD-602", from: evidence.CacheHost, how: "the list of revoked certificates was removed", broken: func(t *testing.T, d *deployment) {
			// The gateway goes on with what it has; RD-203 and RD-204 make it anew.
			if err := os.Remove(filepath.Join(d.Dir, "ca", "revoked.crl")); err != nil {
				t.Fatal(err)
			}
		}},
	}
}
