package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// lockPatience is how long one process waits for another that holds the CA's
// directory, which takes milliseconds, or a second where keys are decrypted.
const lockPatience = 10 * time.Second

// maxRootsFile bounds ca.crt; two roots have some 1,500 bytes, of RSA 4,000.
const maxRootsFile = 64 << 10

// state is a CA's directory, read whole.
type state struct {
	roots  []*root // of ca.crt, in its order
	locked bool    // their keys are encrypted and nobody gave the passphrase
	excess bool    // ca.key holds a key of no root of ours
	ledger *ledger

	rootsText, keysText, ledgerText []byte // the files that all this was read from
}

// signer is the root that signs certificates.
func (s *state) signer() *root { return findRoot(s.roots, s.ledger.signer) }

// look shows f the state that is on the disk now.
func (ca *CA) look(f func(*state) error) error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	release, err := ca.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := ca.refresh(); err != nil {
		return err
	}
	return f(ca.state)
}

// view shows f the state that is on the disk now, or the last good one when that
// can't be read.
func (ca *CA) view(f func(*state)) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if release, err := ca.lock(); err == nil {
		defer release()
		_ = ca.refresh() // an error leaves the last good one; who changes something gets to see it
	}
	f(ca.state)
}

// change lets f change what is on the disk now, after what a crash left undone
// has been done.
func (ca *CA) change(f func(s *state, now time.Time) error) error {
	return ca.look(func(s *state) error {
		if s.locked {
			return fmt.Errorf("%s is encrypted: its passphrase is needed", ca.path(caKeyFile))
		}
		if err := ca.settle(s); err != nil {
			return err
		}
		return f(s, time.Now())
	})
}

// lock keeps other processes out until the returned function is called.
func (ca *CA) lock() (release func() error, err error) {
	info, err := os.Stat(ca.dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("others may write in %s (mode %04o), and so make certificates of their own: run chmod 700 %s", ca.dir, info.Mode().Perm(), ca.dir)
	}
	lock, err := statedir.Lock(ca.path(lockFile), lockPatience)
	if errors.Is(err, statedir.ErrInUse) {
		return nil, fmt.Errorf("%s: %w, for %s now", ca.dir, err, lockPatience)
	}
	if err != nil {
		return nil, err
	}
	return lock.Close, nil
}

// refresh reads what has changed on the disk. The files are compared as a whole,
// since a time stamp may be too coarse to tell two writes apart. On an error the
// state stays as it was.
func (ca *CA) refresh() error {
	rootsText, err := statedir.ReadFile(ca.path(caCertFile), maxRootsFile, "file with the CA's roots")
	if err != nil {
		return err
	}
	keysText, err := statedir.ReadSecret(ca.path(caKeyFile))
	if err != nil {
		return err
	}
	ledgerText, err := statedir.ReadFile(ca.path(ledgerFile), maxLedger, "ledger")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: without the ledger of what was issued nothing can be revoked (restore it with the whole directory from a backup, or begin anew: redoubt pki init)", err)
	}
	if err != nil {
		return err
	}
	old := ca.state
	if old != nil && bytes.Equal(rootsText, old.rootsText) && bytes.Equal(keysText, old.keysText) && bytes.Equal(ledgerText, old.ledgerText) {
		return nil
	}
	s := &state{rootsText: rootsText, keysText: keysText, ledgerText: ledgerText}
	deployment, roots, err := parseRoots(rootsText)
	if err == nil && ca.deployment != "" && deployment != ca.deployment {
		err = fmt.Errorf("is of deployment %q now, it was of %q", deployment, ca.deployment)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ca.path(caCertFile), err)
	}
	s.roots = roots
	if old != nil && bytes.Equal(rootsText, old.rootsText) && bytes.Equal(keysText, old.keysText) {
		s.roots, s.locked, s.excess = old.roots, old.locked, old.excess // spares decrypting the keys again
	} else if err := s.takeKeys(keysText, ca.unlock); err != nil {
		return fmt.Errorf("%s: %w", ca.path(caKeyFile), err)
	}
	if s.ledger, err = parseLedger(ledgerText, deployment, roots); err != nil {
		return fmt.Errorf("%s: %w", ca.path(ledgerFile), err)
	}
	ca.state = s
	return nil
}

// takeKeys gives each root its key.
func (s *state) takeKeys(text []byte, unlock Unlock) error {
	keys, err := openKeys(text, unlock)
	if errors.Is(err, errLocked) {
		s.locked = true
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range s.roots {
		i := slices.IndexFunc(keys, func(k sealedKey) bool { return samePublic(k.key.Public(), r.cert.PublicKey) })
		if i < 0 {
			return fmt.Errorf("is not the key of %s in %s", r.cert.Subject, caCertFile)
		}
		r.key, r.sealed = keys[i].key, keys[i].text
	}
	s.excess = len(keys) > len(s.roots)
	return nil
}

// settle does what a crash left undone: the keys and the CRLs follow from ca.crt
// and the ledger.
func (ca *CA) settle(s *state) error {
	if s.excess {
		if err := ca.writeKeys(s); err != nil {
			return err
		}
	}
	good, err := ca.checkCRLs(s)
	if err != nil || good {
		return err
	}
	return ca.writeCRLs(s, s.roots)
}

func (ca *CA) writeRoots(s *state, roots []*root) error {
	text := encodeRoots(roots)
	if err := ca.write(ca.path(caCertFile), text, 0o644); err != nil {
		return err
	}
	s.roots, s.rootsText = roots, text
	return nil
}

// writeKeys writes the keys of the roots that there are, and no other.
func (ca *CA) writeKeys(s *state, more ...*root) error {
	text := sealedKeys(slices.Concat(s.roots, more))
	if err := ca.write(ca.path(caKeyFile), text, 0o600); err != nil {
		return err
	}
	s.keysText, s.excess = text, len(more) > 0
	return nil
}

func sealedKeys(roots []*root) (text []byte) {
	for _, r := range roots {
		text = append(text, r.sealed...)
	}
	return text
}

// ChangePassphrase encrypts the CA's keys under another passphrase. A process
// that has the CA open asks its Unlock for it when it signs next.
func (ca *CA) ChangePassphrase(passphrase []byte) error {
	err := ca.change(func(s *state, _ time.Time) error {
		roots := make([]*root, len(s.roots))
		for i, r := range s.roots {
			sealed, err := sealKey(r.key, passphrase)
			if err != nil {
				return err
			}
			roots[i] = &root{r.id, r.cert, r.key, sealed}
		}
		text := sealedKeys(roots)
		if err := ca.write(ca.path(caKeyFile), text, 0o600); err != nil {
			return err
		}
		s.roots, s.keysText = roots, text
		ca.unlock = func() ([]byte, error) { return passphrase, nil }
		return nil
	})
	if err != nil {
		return fmt.Errorf("change the passphrase: %w", err)
	}
	return nil
}

// writeLedger makes l the ledger, once it is on the disk. What it forgets is in the
// archive before; when the machine stops in between it gets there twice.
func (ca *CA) writeLedger(s *state, l *ledger) error {
	if err := ca.archive(l.forget(time.Now())); err != nil {
		return err
	}
	text, err := l.encode(findRoot(s.roots, l.signer))
	if err != nil {
		return fmt.Errorf("%s: %w", ca.path(ledgerFile), err)
	}
	if err := ca.write(ca.path(ledgerFile), text, 0o600); err != nil {
		return err
	}
	s.ledger, s.ledgerText = l, text
	return nil
}
