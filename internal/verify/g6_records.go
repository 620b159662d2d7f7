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
	Mend:       "Put the CA's directory back from a backup (docs/certificates.md), and find out who changed it.",
	References: []string{"45 CFR 164.312(b)", "45 CFR 164.312(a)(2)(i)", "NIST SP 800-53r5 SC-17"},
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
		n.Saw("certificates on record: %d, of them revoked: %d; signature good", r.issued, r.revoked)
		return n.Pass("the record is signed, and agrees with the list of revoked certificates")
	},
}

// records are the CA's as this verification found them.
type records struct {
	issued, revoked int
	skip, fault     error
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
	if err != nil {
		return records{fault: fmt.Errorf("the CA's records don't hold: %w", err)}
	}
	issued, err := ca.Issued()
	if err != nil {
		return records{fault: fmt.Errorf("the record of certificates doesn't hold: %w", err)}
	}
	r.issued = len(issued)
	for _, i := range issued {
		if i.Revoked != nil {
			r.revoked++
		}
	}
	if err := ca.CheckRevocations(); err != nil {
		r.fault = fmt.Errorf("the list of revoked certificates doesn't hold: %w", err)
	}
	return r
}
