package enroll

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/regular"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Identity is what a host got: a certificate for its key, and what to believe.
type Identity struct {
	leaf        *pki.Leaf
	roots       []*x509.Certificate
	revocations []byte
}

// identity takes an answer apart and holds it together with the key.
func (a *answer) identity(key crypto.Signer) (*Identity, error) {
	roots, err := a.believed()
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(a.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the certificate that came can't be read: %w", err)
	}
	leaf, err := pki.NewLeaf(key, cert, roots)
	if err != nil {
		return nil, err
	}
	return &Identity{leaf, roots, a.Revocations}, nil
}

// believed are the answer's roots; an answer that is an error has none.
func (a *answer) believed() ([]*x509.Certificate, error) {
	if a.Error != "" {
		return nil, fmt.Errorf("refused: %q", a.Error)
	}
	var roots []*x509.Certificate
	for _, der := range a.Roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("a CA's certificate that came can't be read: %w", err)
		}
		roots = append(roots, root)
	}
	if len(roots) == 0 {
		return nil, errors.New("no CA came that is to be believed")
	}
	return roots, nil
}

// is refuses a certificate that is somebody else's.
func (i *Identity) is(want identity.ID) error {
	cert := i.leaf.Certificate()
	if len(cert.URIs) != 1 || cert.URIs[0].String() != want.String() {
		return fmt.Errorf("the certificate that came is not that of %s", want)
	}
	return nil
}

// Certificate is what the host got.
func (i *Identity) Certificate() *x509.Certificate { return i.leaf.Certificate() }

// ErrJoined says that a host has an identity already.
var ErrJoined = errors.New("this host has an identity already")

// Vacant says whether a first identity may be written to these files; its error
// wraps ErrJoined and says what to do.
func Vacant(files tunnel.Files) error {
	certs, err := pki.Read(files.Certificate)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w, or something else lies there: %w (to join anew, move it away)", ErrJoined, err)
	}
	return fmt.Errorf("%w: %s in %s, until %s. It renews itself; to become another, or if it has expired or was revoked, move the file away and join with a new token",
		ErrJoined, name(certs[0]), files.Certificate, certs[0].NotAfter.Format("2006-01-02 15:04 MST"))
}

func name(cert *x509.Certificate) string {
	if len(cert.URIs) == 1 {
		return cert.URIs[0].String()
	}
	return cert.Subject.String()
}

// Install writes a first identity; the certificate's file goes last and marks
// the host as joined.
func (i *Identity) Install(files tunnel.Files) error {
	for _, path := range []string{files.Certificate, files.CA, files.CRL} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("write the identity: %w", err)
		}
	}
	if err := Vacant(files); err != nil {
		return err
	}
	return i.write(files, i.roots)
}

// replace takes the place of an identity that is in use. At every moment what is
// on the disk works, so the certificate changes while both its roots, the old
// one and the new, are believed.
func (i *Identity) replace(files tunnel.Files) error {
	old, err := pki.Read(files.CA)
	if err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	both := i.roots
	for _, root := range old {
		if !contains(both, root) {
			both = append(both[:len(both):len(both)], root)
		}
	}
	if err := i.write(files, both); err != nil {
		return err
	}
	return writeTrust(files, i.roots, i.revocations)
}

func (i *Identity) write(files tunnel.Files, roots []*x509.Certificate) error {
	if err := writeTrust(files, roots, i.revocations); err != nil {
		return err
	}
	return i.writeCertificate(files.Certificate)
}

func (i *Identity) writeCertificate(path string) error {
	text, err := i.leaf.PEM()
	if err != nil {
		return fmt.Errorf("write the identity: %w", err)
	}
	return statedir.WriteFileForOwner(path, text, 0o600)
}

// writeTrust writes what is to be believed, and only what has changed. The lists
// go last: one of a root that isn't believed yet, or any longer, is passed over.
func writeTrust(files tunnel.Files, roots []*x509.Certificate, revocations []byte) error {
	var text []byte
	for _, root := range roots {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})...)
	}
	if err := writeChanged(files.CA, text); err != nil {
		return err
	}
	if len(revocations) == 0 {
		return nil
	}
	return writeChanged(files.CRL, revocations)
}

func writeChanged(path string, text []byte) error {
	if old, err := regular.Read(path, int64(len(text))); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return statedir.WriteFileForOwner(path, text, 0o644)
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	for _, c := range certs {
		if c.Equal(cert) {
			return true
		}
	}
	return false
}
