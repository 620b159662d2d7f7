package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

const crlBlock = "X509 CRL" // RFC 7468 §6

// maxCRLs bounds revoked.crl; a revoked certificate has some 40 bytes in it.
const maxCRLs = 16 << 20

// Revoke bans a host and revokes every certificate of it that hasn't been, which it
// returns. All of it is so once the ledger is on the disk, in one write; the CRLs
// follow from it.
func (ca *CA) Revoke(id identity.ID) (revoked []Issued, err error) {
	revoked, err = ca.revoke(func(e *entry) bool { return e.id == id }, func(l *ledger, now time.Time) error {
		l.ban(id, now)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("revoke %s: %w", id, err)
	}
	return revoked, nil
}

// RevokeSerial revokes one certificate, and leaves its host the others: one whose key
// was copied, or that of a machine which another of the same name has replaced. It
// returns none if that was revoked already.
func (ca *CA) RevokeSerial(serial string) (revoked []Issued, err error) {
	known := false
	revoked, err = ca.revoke(func(e *entry) bool {
		is := serialText(e.serial) == serial
		known = known || is
		return is
	}, func(*ledger, time.Time) error {
		if !known {
			return errors.New("the CA has no record of such a certificate (redoubt pki list)")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("revoke serial %s: %w", serial, err)
	}
	return revoked, nil
}

func (ca *CA) revoke(match func(*entry) bool, note func(l *ledger, now time.Time) error) (revoked []Issued, err error) {
	err = ca.change(func(s *state, now time.Time) error {
		l, at := s.ledger.clone(), now.UTC().Truncate(time.Second)
		for i := range l.entries {
			if e := &l.entries[i]; match(e) && e.revoked.IsZero() {
				revoked = append(revoked, e.shown(now, s.roots))
				e.revoked = at
			}
		}
		l.crl++
		if err := note(l, at); err != nil {
			return err
		}
		if err := ca.writeLedger(s, l); err != nil {
			return err
		}
		return ca.writeCRLs(s, s.roots)
	})
	return revoked, err
}

// Revocations is revoked.crl: one CRL for each root, PEM. Their number rises
// when something is revoked, and what has ended goes. They have no end of their
// own before the root's: a new one appears when there is something new to say,
// from a CA that may be offline for years; who needs them fresh fetches them.
func (ca *CA) Revocations() (text []byte, err error) {
	err = ca.look(func(s *state) error {
		good, err := ca.checkCRLs(s)
		if err == nil && !good {
			if s.locked {
				return fmt.Errorf("%s is older than the ledger, and %s is encrypted: its passphrase is needed", ca.path(crlFile), ca.path(caKeyFile))
			}
			err = ca.settle(s)
		}
		if err != nil {
			return err
		}
		text, err = ca.readCRLs()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	return text, nil
}

// CheckRevocations says how revoked.crl differs from the ledger, and mends nothing.
func (ca *CA) CheckRevocations() error {
	err := ca.look(func(s *state) error {
		good, err := ca.checkCRLs(s)
		if err == nil && !good {
			err = fmt.Errorf("%s is missing, or older than the ledger", ca.path(crlFile))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	return nil
}

func (ca *CA) readCRLs() ([]byte, error) {
	return statedir.ReadFile(ca.path(crlFile), maxCRLs, "list of revoked certificates")
}

// writeCRLs signs the lists of these roots.
func (ca *CA) writeCRLs(s *state, roots []*root) error {
	var text []byte
	for _, r := range roots {
		list := &x509.RevocationList{
			Number:     new(big.Int).SetUint64(s.ledger.crl),
			ThisUpdate: time.Now().Add(-ClockSkew),
			NextUpdate: r.cert.NotAfter,
		}
		for _, e := range s.ledger.entries {
			if !e.revoked.IsZero() && e.root == r.id {
				list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
					x509.RevocationListEntry{SerialNumber: e.serial, RevocationTime: e.revoked})
			}
		}
		der, err := x509.CreateRevocationList(rand.Reader, list, r.cert, r.key)
		if err != nil {
			return fmt.Errorf("%s: %w", ca.path(crlFile), err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: crlBlock, Bytes: der})...)
	}
	return ca.write(ca.path(crlFile), text, 0o644)
}

// checkCRLs tells whether revoked.crl says what the ledger does. One that is
// missing or older doesn't, as after a crash; one that we can't have written is
// an error.
func (ca *CA) checkCRLs(s *state) (good bool, err error) {
	text, err := ca.readCRLs()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lists, err := parseCRLs(text, s.roots)
	if err == nil {
		good, err = s.ledger.agrees(lists, s.roots)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w (look who changed it; when it is removed, it is made anew from the ledger)", ca.path(crlFile), err)
	}
	return good, nil
}

// agrees holds the lists against the ledger.
func (l *ledger) agrees(lists map[string]*x509.RevocationList, roots []*root) (bool, error) {
	number := new(big.Int).SetUint64(l.crl)
	listed := make(map[string]bool)
	for id, list := range lists {
		switch list.Number.Cmp(number) {
		case 1:
			return false, errors.New("it is newer than the ledger, which seems to come from an old backup")
		case -1:
			return false, nil
		}
		for _, e := range list.RevokedCertificateEntries {
			listed[id+serialText(e.SerialNumber)] = true
		}
	}
	for _, e := range l.entries {
		if !e.revoked.IsZero() && lists[e.root] != nil && !listed[e.root+serialText(e.serial)] {
			return false, errors.New("it doesn't list what the ledger says was revoked: the two seem to come from different backups")
		}
	}
	return len(lists) == len(roots), nil
}

// parseCRLs reads lists that these roots signed, at most one each.
func parseCRLs(text []byte, roots []*root) (map[string]*x509.RevocationList, error) {
	lists := make(map[string]*x509.RevocationList)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != crlBlock {
			return nil, fmt.Errorf("holds a PEM block %q where only CRLs belong", block.Type)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("not a CRL: %w", err)
		}
		signer := signerOf(list, roots)
		if signer == nil || list.Number == nil {
			return nil, errors.New("holds a CRL that none of this CA's roots signed")
		}
		if lists[signer.id] != nil {
			return nil, errors.New("holds two CRLs of one root")
		}
		lists[signer.id] = list
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("holds something that is not a whole CRL")
	}
	return lists, nil
}

func signerOf(list *x509.RevocationList, roots []*root) *root {
	for _, r := range roots {
		if list.CheckSignatureFrom(r.cert) == nil {
			return r
		}
	}
	return nil
}
