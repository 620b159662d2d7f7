package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/trail"
)

var noExceptionHasEnded = Check{
	ID: "RD-601", Goal: evidence.Documented, From: Anywhere, Cheap: true,
	Title:      "No accepted risk is past its end",
	Why:        "An exception that nobody looks at again becomes the rule.",
	Mend:       "Mend what the exception covers and take it out of exceptions; or have its owner accept it anew, with a new date.",
	References: []string{"45 CFR 164.308(a)(1)(ii)(B)", "45 CFR 164.308(a)(8)", "45 CFR 164.316(b)(1)"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		n.Saw("exceptions: %d", len(t.Exceptions))
		for _, e := range t.Exceptions {
			n.Saw("%s until %s, accepted by %s: %s", e.Check, e.Until, e.Owner, e.Reason)
			if ended, err := e.Ended(time.Now()); err != nil || ended {
				return n.Fail("that of %s ended on %s", e.Check, e.Until)
			}
		}
		return n.Pass("each has an owner, a reason and an end that is ahead")
	},
}

var ledgerIsWhole = Check{
	ID: "RD-602", Goal: evidence.Documented, From: OnCache,
	Title:      "The record of issued and revoked certificates is whole, and signed by the CA",
	Why:        "Who was let in, and who was shut out when, is what an incident is judged by; a record that can be edited unseen proves nothing.",
	Mend:       "Put the CA's directory back from a backup (docs/certificates.md), and find out who changed it. An archive that was changed or cut is kept under another name, as evidence: the next one begins anew.",
	References: []string{"45 CFR 164.312(b)", "45 CFR 164.312(a)(2)(i)", "45 CFR 164.316(b)(2)(i)", "NIST SP 800-53r5 AU-11", "NIST SP 800-53r5 SC-17"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		if t.Cache == nil || t.Cache.CA == "" {
			return n.Skip("the CA is not on this host: run redoubt verify where it lies")
		}
		r := t.recordsAsFound()
		if r.skip != nil {
			return n.Skip("the CA's directory can't be read: %v", r.skip)
		}
		if r.fault != nil {
			return n.Fail("%v", r.fault)
		}
		n.Saw("certificates on record: %d, of them revoked: %d; signature good; in the archive: %d lines", r.issued, r.revoked, r.archived)
		return n.Pass("the record is signed, agrees with the list of revoked certificates, and what it has forgotten is in an archive that holds")
	},
}

var logIsWhole = Check{
	ID: "RD-603", Goal: evidence.Documented, From: OnCache,
	Title:      "The log of what administrators did with the CA is whole: no record was changed, and none is missing",
	Why:        "Whoever gives himself access takes his trace out afterwards; a log in which that isn't seen proves nothing.",
	Mend:       "See what is missing (redoubt log --dir the CA's directory), look in the host's journal for it, which has the same records, and find out who changed it. Then keep the directory log under another name, as evidence: the next command begins a new one.",
	References: []string{"45 CFR 164.308(a)(1)(ii)(D)", "45 CFR 164.312(b)", "45 CFR 164.316(b)(2)(i)", "NIST SP 800-53r5 AU-2", "NIST SP 800-53r5 AU-3", "NIST SP 800-53r5 AU-9", "NIST SP 800-53r5 AU-11"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		if t.Cache == nil || t.Cache.CA == "" {
			return n.Skip("the CA is not on this host: run redoubt verify where it lies")
		}
		r := t.recordsAsFound()
		switch {
		case r.skip != nil:
			return n.Skip("the CA's directory can't be read: %v", r.skip)
		case r.logFault != nil:
			return n.Fail("%v", r.logFault)
		}
		n.Saw("records: %d, from number %d to %d, whose SHA-256 is %s", r.log.Records, r.log.First, r.log.Last, r.log.Hash)
		for _, fault := range r.log.Faults {
			n.Saw("%s", fault)
		}
		switch {
		case len(r.log.Faults) > 0:
			return n.Fail("%s", r.log.Faults[0])
		case r.log.Records == 0:
			return n.Fail("there is no record, not even of the command that made the CA: the log was removed, or was never kept")
		}
		return n.Pass("each record follows from the one before, up to the newest that was noted")
	},
}

// records are the CA's as this verification found them.
type records struct {
	issued, revoked int
	archived        uint64
	skip, fault     error

	log      *trail.Chain // of what administrators did
	logFault error
}

// recordsAsFound looks at them once, and before anything is written: each certificate
// that a check has issued or revoked makes the CA catch up with what was amiss.
func (t *Target) recordsAsFound() records {
	if !t.found.asked {
		t.found = memo[records]{asked: true, value: lookAtRecords(t.Cache.CA)}
	}
	return t.found.value
}

func lookAtRecords(dir string) (r records) {
	ca, err := pki.Open(dir, nil)
	if errors.Is(err, pki.ErrNoCA) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return records{skip: err}
	}
	r.log, r.logFault = trail.Beside(dir).Read(func(*trail.Record, []byte) error { return nil })
	if err != nil {
		r.fault = fmt.Errorf("the CA's records don't hold: %w", err)
		return r
	}
	issued, err := ca.Issued()
	if err != nil {
		r.fault = fmt.Errorf("the record of certificates doesn't hold: %w", err)
		return r
	}
	r.issued = len(issued)
	for _, i := range issued {
		if i.Revoked != nil {
			r.revoked++
		}
	}
	archive, err := ca.Archived(func(pki.Issued) error { return nil })
	switch {
	case err != nil:
		r.fault = fmt.Errorf("what the record has forgotten can't be read: %w", err)
	case len(archive.Faults) > 0:
		r.fault = fmt.Errorf("the archive of what the record has forgotten was changed or cut: %s", archive.Faults[0])
	default:
		r.archived = archive.Records
	}
	if err := ca.CheckRevocations(); err != nil {
		r.fault = fmt.Errorf("the list of revoked certificates doesn't hold: %w", err)
	}
	return r
}
