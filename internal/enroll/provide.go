package enroll

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Provide makes a host's identity on the machine of the CA, for a process that is
// about to start there, if there is none or if it is due. One that is somebody
// else's, or can't be read, is left as it is. Further names of the host stay as
// they are when r has none.
func Provide(ca *pki.CA, r pki.Request, files tunnel.Files) error {
	got, first, err := provided(ca, r, files.Certificate)
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
func ProvideCertificate(ca *pki.CA, r pki.Request, path string) error {
	got, _, err := provided(ca, r, path)
	if err != nil || got == nil {
		return err
	}
	return got.writeCertificate(path)
}

// provided is nil when the identity that is there is good, or not ours.
func provided(ca *pki.CA, r pki.Request, path string) (got *Identity, first bool, err error) {
	certs, err := pki.Read(path)
	if first = errors.Is(err, fs.ErrNotExist); err != nil && !first {
		return nil, false, err
	}
	if !first && (name(certs[0]) != r.ID.String() || time.Now().Before(scheduleOf(certs[0], 0).due)) {
		return nil, false, nil
	}
	if !first && len(r.DNS) == 0 && len(r.IPs) == 0 {
		r.DNS, r.IPs = certs[0].DNSNames, addressesOf(certs[0])
	}
	leaf, err := ca.Reissue(r)
	if err != nil {
		return nil, false, err
	}
	revocations, err := ca.Revocations()
	if err != nil {
		return nil, false, err
	}
	return &Identity{leaf, leaf.Roots(), revocations}, first, os.MkdirAll(filepath.Dir(path), 0o700)
}
