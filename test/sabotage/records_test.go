package sabotage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/trail"
)

func recordSabotages() []sabotage {
	return []sabotage{
		{id: "RD-601", from: evidence.CacheHost, how: "an exception is past its end", broken: func(t *testing.T, d *deployment) {
			d.target.Exceptions = []evidence.Exception{{Check: "RD-404", Owner: "ops", Reason: "until the new host", Until: "2026-01-31"}}
		}},
		{id: "RD-602", from: evidence.CacheHost, how: "a line of the CA's record is gone", broken: func(t *testing.T, d *deployment) {
			copied := copyCA(t, d)
			ledger := read(t, copied, "issued")
			cut := append(ledger[:len(ledger)/2:len(ledger)/2], ledger[len(ledger)/2+1:]...)
			if err := os.WriteFile(filepath.Join(copied, "issued"), cut, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-602", from: evidence.CacheHost, how: "the list of revoked certificates was removed", broken: func(t *testing.T, d *deployment) {
			// The gateway goes on with what it has; RD-203 and RD-204 make it anew.
			if err := os.Remove(filepath.Join(d.Dir, "ca", "revoked.crl")); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-602", from: evidence.CacheHost, how: "the archive of what the record has forgotten was cut", broken: func(t *testing.T, d *deployment) {
			dir := filepath.Join(d.Dir, "ca", "archive")
			for range 2 {
				if _, err := trail.Open(dir).Append(trail.Record{Ledger: "ban spiffe://local/app/web-1 1 2026-01-01T00:00:00Z -"}); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(dir, "000000000001.jsonl")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-603", from: evidence.CacheHost, how: "the newest record was cut off, and another stands behind it", broken: func(t *testing.T, d *deployment) {
			log := logOf(t, filepath.Join(d.Dir, "ca"), 3)
			lines := bytes.SplitAfter(log.text, []byte("\n"))
			log.write(t, bytes.Join(lines[:2], nil))
			log.append(t)
		}},
		{id: "RD-603", from: evidence.CacheHost, how: "a record was changed", broken: func(t *testing.T, d *deployment) {
			log := logOf(t, filepath.Join(d.Dir, "ca"), 3)
			log.write(t, bytes.Replace(log.text, []byte("web-1"), []byte("web-2"), 1))
		}},
		{id: "RD-603", from: evidence.CacheHost, how: "the log was removed", broken: func(t *testing.T, d *deployment) {
			if err := os.RemoveAll(filepath.Join(d.Dir, "ca", trail.Name)); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// copyCA has the verification look at a copy: the gateway looks at its own, and would
// say so.
func copyCA(t *testing.T, d *deployment) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "ca")
	err := errors.Join(os.CopyFS(copied, os.DirFS(filepath.Join(d.Dir, "ca"))), os.Chmod(filepath.Join(copied, "ca.key"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	d.target.Cache.CA = copied
	return copied
}

// caLog is the log of a CA, all of which is in one file.
type caLog struct {
	log  *trail.Log
	file string
	text []byte
}

// logOf is that of a CA, with so many records more.
func logOf(t *testing.T, ca string, more int) caLog {
	t.Helper()
	l := caLog{log: trail.Beside(ca), file: filepath.Join(ca, trail.Name, "000000000001.jsonl")}
	for range more {
		l.append(t)
	}
	l.text = read(t, filepath.Dir(l.file), filepath.Base(l.file))
	return l
}

func (l caLog) append(t *testing.T) {
	t.Helper()
	if _, err := l.log.Append(trail.Record{Who: trail.Me(), Command: "pki issue", Args: []string{"--name=web-1"}, Outcome: trail.Done}); err != nil {
		t.Fatal(err)
	}
}

func (l caLog) write(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(l.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
