package pki

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// A root is replaced in three steps, so that at no moment a host meets a
// certificate under a root that it doesn't believe:
//
//	start   the next root joins ca.crt; hosts get to believe it as they renew
//	switch  it signs from now on; hosts get certificates under it as they renew
//	finish  the old root leaves ca.crt, and its key is removed
//
// Each step is one file: ca.crt, the ledger, ca.crt. What a host has is what its
// newest certificate came with; a host that is gone is revoked, or waited for
// until its certificate ends.

// Stage is how far a rotation is.
type Stage string

// The stages.
const (
	Resting  Stage = "none"
	Started  Stage = "started"
	Switched Stage = "switched"
)

// Rotation is what "redoubt pki rotate status" prints.
type Rotation struct {
	Stage   Stage         `json:"stage"`
	Roots   []Description `json:"roots"`   // the older first
	Signing string        `json:"signing"` // fingerprint of the one that signs
	// Waiting are the hosts that would be cut off by the next step: after start
	// they don't believe the next root yet, after switch they still have a
	// certificate of the old.
	Waiting []identity.ID `json:"waiting"`
}

// WaitError says that a step would cut hosts off.
type WaitError struct{ Waiting []identity.ID }

func (e *WaitError) Error() string {
	const most = 3
	list := ""
	for _, id := range e.Waiting[:min(most, len(e.Waiting))] {
		list += " " + id.String()
	}
	if len(e.Waiting) > most {
		list += " …"
	}
	return fmt.Sprintf("%d hosts would be cut off, among them%s: wait until they have renewed, revoke those that are gone, or force it", len(e.Waiting), list)
}

// Rotation says how far the rotation is.
func (ca *CA) Rotation() (r Rotation, err error) {
	err = ca.look(func(s *state) error {
		now := time.Now()
		r = Rotation{Stage: s.stage(), Signing: Describe(s.signer().cert, now).Fingerprint, Waiting: s.waiting(now)}
		for _, root := range s.roots {
			r.Roots = append(r.Roots, Describe(root.cert, now))
		}
		return nil
	})
	if err != nil {
		return Rotation{}, fmt.Errorf("rotation: %w", err)
	}
	return r, nil
}

func (s *state) stage() Stage {
	switch {
	case len(s.roots) == 1:
		return Resting
	case s.signer() == s.roots[0]:
		return Started
	}
	return Switched
}

// waiting are the hosts whose newest living certificate isn't ready for the next
// step.
func (s *state) waiting(now time.Time) []identity.ID {
	ids := []identity.ID{} // not null in JSON
	newest := make(map[identity.ID]*entry)
	for i := range s.ledger.entries { // in the order of their issue
		if e := &s.ledger.entries[i]; e.living(now, s.roots) {
			newest[e.id] = e
		}
	}
	for id, e := range newest {
		switch s.stage() {
		case Started:
			if !slices.Contains(e.bundle, s.roots[1].id) {
				ids = append(ids, id)
			}
		case Switched:
			if e.root == s.roots[0].id {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, func(a, b identity.ID) int { return strings.Compare(a.String(), b.String()) })
	return ids
}

// StartRotation makes the next root. The old one goes on signing.
func (ca *CA) StartRotation(o Options) error {
	err := ca.change(func(s *state, now time.Time) error {
		if s.stage() != Resting {
			return fmt.Errorf("one is under way (%s): finish it first", s.stage())
		}
		next, err := newRoot(ca.deployment, o.Key, o.Life)
		if err != nil {
			return err
		}
		if next.sealed, err = ca.seal(s, next); err != nil {
			return err
		}
		if err := ca.writeKeys(s, next); err != nil {
			return err
		}
		roots := append(slices.Clone(s.roots), next)
		if err := ca.writeRoots(s, roots); err != nil {
			return err
		}
		s.excess = false
		return ca.writeCRLs(s, roots)
	})
	if err != nil {
		return fmt.Errorf("start a rotation: %w", err)
	}
	return nil
}

// SwitchRoot lets the next root sign from now on.
func (ca *CA) SwitchRoot(force bool) error {
	err := ca.change(func(s *state, now time.Time) error {
		if s.stage() != Started {
			return errNotStage(Started, s.stage())
		}
		if w := s.waiting(now); len(w) > 0 && !force {
			return &WaitError{w}
		}
		l := s.ledger.clone()
		l.signer = s.roots[1].id
		return ca.writeLedger(s, l)
	})
	if err != nil {
		return fmt.Errorf("switch to the next root: %w", err)
	}
	return nil
}

// FinishRotation drops the old root and its key.
func (ca *CA) FinishRotation(force bool) error {
	err := ca.change(func(s *state, now time.Time) error {
		if s.stage() != Switched {
			return errNotStage(Switched, s.stage())
		}
		if w := s.waiting(now); len(w) > 0 && !force {
			return &WaitError{w}
		}
		roots := s.roots[1:]
		// The CRLs first: a list of a root that ca.crt doesn't hold can't be told
		// from a forged one.
		if err := ca.writeCRLs(s, roots); err != nil {
			return err
		}
		if err := ca.writeRoots(s, roots); err != nil {
			return err
		}
		return ca.writeKeys(s)
	})
	if err != nil {
		return fmt.Errorf("finish the rotation: %w", err)
	}
	return nil
}

func errNotStage(want, is Stage) error {
	if is == Resting {
		return errors.New("none is under way (redoubt pki rotate start)")
	}
	return fmt.Errorf("the rotation is %s, not %s", is, want)
}

// seal encrypts a new key with the passphrase that the others have.
func (ca *CA) seal(s *state, r *root) ([]byte, error) {
	if !bytes.Contains(s.keysText, []byte(encryptedBlock)) {
		return sealKey(r.key, nil)
	}
	passphrase, err := ca.unlock()
	if err != nil {
		return nil, err
	}
	// Its file may have changed since Open; two passphrases would lock us out.
	if _, err := openKeys(s.keysText, func() ([]byte, error) { return passphrase, nil }); err != nil {
		return nil, fmt.Errorf("%s: %w", ca.path(caKeyFile), err)
	}
	return sealKey(r.key, passphrase)
}
