package enroll

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// What follows is for the hosts of the process that has the signer (SignerOptions.Own).

// Own is such a host, with its further names.
type Own struct {
	ID  identity.ID
	DNS []string
	IPs []netip.Addr
}

// Provide makes its identity, for a process that is about to start, if there is none or
// if it is due. One that is somebody else's, or can't be read, is left as it is. Further
// names of the host stay as they are when it has none.
func (s *Signer) Provide(host Own, files tunnel.Files) error {
	got, first, err := s.provided(host, files.Certificate)
	switch {
	case err != nil || got == nil:
		return err
	case first:
		return got.write(files, got.roots)
	}
	return got.replace(files)
}

// ProvideCertificate does so for a host that reads the CA's own files for the
// rest.
func (s *Signer) ProvideCertificate(host Own, path string) error {
	got, _, err := s.provided(host, path)
	if err != nil || got == nil {
		return err
	}
	return got.writeCertificate(path)
}

// provided is nil when the identity that is there is good, or not ours.
func (s *Signer) provided(host Own, path string) (got *Identity, first bool, err error) {
	certs, err := pki.Read(path)
	if first = errors.Is(err, fs.ErrNotExist); err != nil && !first {
		return nil, false, err
	}
	if !first && (name(certs[0]) != host.ID.String() || time.Now().Before(scheduleOf(certs[0], 0).due)) {
		return nil, false, nil
	}
	if !first && len(host.DNS) == 0 && len(host.IPs) == 0 {
		host.DNS, host.IPs = certs[0].DNSNames, addressesOf(certs[0])
	}
	if got, err = s.certify(host); err != nil {
		return nil, false, err
	}
	return got, first, os.MkdirAll(filepath.Dir(path), 0o700)
}

// certify makes a key and has it certified.
func (s *Signer) certify(host Own) (*Identity, error) {
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	a, err := s.askForUs(question{Own: &ownRequest{Identity: host.ID.String(), CSR: csr, DNS: host.DNS, IPs: host.IPs}})
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", host.ID, err)
	}
	got, err := a.identity(key)
	if err == nil {
		err = got.is(host.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", host.ID, err)
	}
	return got, nil
}

// Settle has the list of what is revoked made from the ledger, if it is missing or behind.
func (s *Signer) Settle() error {
	_, err := s.askForUs(question{})
	return err
}

// askForUs says why there is no answer as the owner may read it.
func (s *Signer) askForUs(q question) (*answer, error) {
	a, err := s.ask(q)
	if err == nil && a.Error != "" {
		err = errors.New(cmp.Or(a.Cause, a.Error))
	}
	return a, err
}

// rotation is how the replacement of the root stands.
func (s *Signer) rotation() (*rotationNow, error) {
	a, err := s.askForUs(question{Rotation: true})
	switch {
	case err != nil:
		return nil, err
	case a.Rotation == nil:
		return nil, errAway
	}
	return a.Rotation, nil
}
