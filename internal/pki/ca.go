package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// CA is a deployment's certificate authority. It may be used from several
// goroutines, and its directory from several processes.
type CA struct {
	dir        string
	deployment string
	unlock     Unlock
	write      writeFunc

	mu    sync.Mutex
	state *state // as it was last read or written
}

// writeFunc is statedir.WriteFileForOwner: a CA may belong to another user than root, whose
// process signs while root's commands write beside it. Tests have one that stops in the middle.
type writeFunc func(path string, data []byte, mode os.FileMode) error

// Options says what a new CA shall be; the zero value is good.
type Options struct {
	Life       time.Duration // of its root; 0 is CALife
	Key        KeyType       // of its root; "" is ECDSA
	Passphrase []byte        // encrypts its keys on the disk; none: they lie there in plain
}

// Create makes a CA for a deployment in dir, which it makes (0700) when it isn't
// there. ca.crt goes last and marks a CA as there: one that is there is never
// overwritten, since all that it signed would be void, and what a crash left
// alone is no CA yet.
func Create(dir, deployment string, o Options) (*CA, error) {
	ca, err := create(dir, deployment, o, statedir.WriteFileForOwner)
	if err != nil {
		return nil, fmt.Errorf("new CA: %w", err)
	}
	return ca, nil
}

func create(dir, deployment string, o Options, write writeFunc) (*CA, error) {
	r, err := newRoot(deployment, o.Key, o.Life)
	if err != nil {
		return nil, err
	}
	if r.sealed, err = sealKey(r.key, o.Passphrase); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca := &CA{dir: dir, deployment: deployment, write: write}
	release, err := ca.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	if _, err := os.Lstat(ca.path(caCertFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: every certificate that it signed would be void (choose another directory)", ca.path(caCertFile), fs.ErrExist)
	}
	if len(o.Passphrase) > 0 {
		passphrase := append([]byte(nil), o.Passphrase...)
		ca.unlock = func() ([]byte, error) { return passphrase, nil }
	}
	s := &state{roots: []*root{r}}
	if err := ca.writeKeys(s); err != nil {
		return nil, err
	}
	if err := ca.writeLedger(s, &ledger{signer: r.id, crl: 1}); err != nil {
		return nil, err
	}
	if err := ca.writeCRLs(s, s.roots); err != nil {
		return nil, err
	}
	if err := ca.writeRoots(s, s.roots); err != nil {
		return nil, err
	}
	ca.state = s
	return ca, nil
}

// ErrNoCA says that there is none in a directory.
var ErrNoCA = errors.New("no CA is there (redoubt pki init makes one)")

// Open reads the CA in dir, or says ErrNoCA. Without unlock a CA whose keys are
// encrypted shows what it has and signs nothing.
func Open(dir string, unlock Unlock) (*CA, error) {
	ca := &CA{dir: dir, unlock: unlock, write: statedir.WriteFileForOwner}
	if _, err := os.Stat(ca.path(caCertFile)); errors.Is(err, fs.ErrNotExist) { // before a lock is made in a wrong directory
		return nil, fmt.Errorf("open the CA: %s: %w", ca.path(caCertFile), ErrNoCA)
	}
	if err := ca.look(func(*state) error { return nil }); err != nil {
		return nil, fmt.Errorf("open the CA: %w", err)
	}
	deployment, err := deploymentOf(ca.state.roots[0].cert)
	if err != nil {
		return nil, fmt.Errorf("open the CA: %s: %w", ca.path(caCertFile), err)
	}
	ca.deployment = deployment
	return ca, nil
}

// Locked tells whether the CA's keys are encrypted and no passphrase opened them.
func (ca *CA) Locked() (locked bool) {
	ca.view(func(s *state) { locked = s.locked })
	return locked
}

// Deployment is whose CA this is.
func (ca *CA) Deployment() string { return ca.deployment }

// Roots is what a host shall believe from now on: during a rotation that is more
// than one. Who hands out a certificate asks after signing it, so that the host
// believes no less than the ledger says.
func (ca *CA) Roots() (certs []*x509.Certificate) {
	ca.view(func(s *state) {
		for _, r := range s.roots {
			certs = append(certs, r.cert)
		}
	})
	return certs
}

// Certificate is the root that signs certificates now; its key stays inside.
func (ca *CA) Certificate() (cert *x509.Certificate) {
	ca.view(func(s *state) { cert = s.signer().cert })
	return cert
}

func (ca *CA) path(name string) string { return filepath.Join(ca.dir, name) }
