package pki

import (
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/trail"
)

// The archive keeps the lines that the ledger has forgotten: who had access, from when
// to when, and who was shut out. The ledger is read and written whole for each change, and
// so it keeps a month; the archive is only ever appended to, and keeps six years. It is
// a chain of hashes (package trail): the CA's key isn't needed to look at it.
const archiveDir = "archive"

func (ca *CA) archive(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	records := make([]trail.Record, len(lines))
	for i, line := range lines {
		records[i].Ledger = line
	}
	if _, err := trail.Open(ca.path(archiveDir)).Append(records...); err != nil {
		return fmt.Errorf("what the ledger forgets can't be archived: %w", err)
	}
	return nil
}

// Archived shows every certificate that the ledger has forgotten, in the order in which
// it did, one after the other, and says whether the archive is whole.
func (ca *CA) Archived(each func(Issued) error) (*trail.Chain, error) {
	roots, now := ca.rootsNow(), time.Now()
	chain, err := trail.Open(ca.path(archiveDir)).Read(func(r *trail.Record, _ []byte) error {
		if !strings.HasPrefix(r.Ledger, "leaf ") {
			return nil
		}
		e, err := parseEntry(r.Ledger)
		if err != nil {
			return fmt.Errorf("record %d of the archive: %w", r.N, err)
		}
		return each(e.shown(now, roots))
	})
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return chain, nil
}

func (ca *CA) rootsNow() (roots []*root) {
	ca.view(func(s *state) { roots = s.roots })
	return roots
}
