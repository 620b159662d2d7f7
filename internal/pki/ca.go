package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// CA is a deployment's certificate authority with its key.
type CA struct {
	deployment string
	cert       *x509.Certificate
	key        crypto.Signer
}

// NewCA makes a self-signed CA for a deployment, in memory. A life of 0 is
// CALife.
func NewCA(deployment string, life time.Duration) (*CA, error) {
	if err := identity.ValidDeployment(deployment); err != nil {
		return nil, fmt.Errorf("new CA: %w", err)
	}
	if life == 0 {
		life = CALife
	}
	if life < 0 {
		return nil, fmt.Errorf("new CA: a life of %s is over before it begins", life)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new CA: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{Organization: []string{deployment}, CommonName: "Redoubt CA"},
		// The trust domain itself (SPIFFE X509-SVID §4.2): LoadCA reads the
		// deployment from here.
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: deployment}},
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // hosts' certificates only, no CA below it
		// A second lock: even a signature by this key makes no identity of another
		// deployment. RFC 5280 §4.2.1.10 wants name constraints critical.
		PermittedURIDomains:         []string{deployment},
		PermittedDNSDomainsCritical: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("new CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("new CA: %w", err)
	}
	return &CA{deployment, cert, key}, nil
}

// LoadCA reads what Save wrote. Where there is no CA yet the error is
// fs.ErrNotExist.
func LoadCA(dir string) (*CA, error) {
	certPath, keyPath := filepath.Join(dir, caCertFile), filepath.Join(dir, caKeyFile)
	certs, err := Read(certPath)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	cert := certs[0]
	deployment, err := deploymentOf(cert)
	if err != nil {
		return nil, fmt.Errorf("load CA: %s: %w", certPath, err)
	}
	key, err := readKey(keyPath)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("load CA: %s is not the key of %s", keyPath, certPath)
	}
	return &CA{deployment, cert, key}, nil
}

// deploymentOf reads the trust domain of a CA certificate of ours.
func deploymentOf(cert *x509.Certificate) (string, error) {
	if !cert.IsCA || !cert.BasicConstraintsValid {
		return "", errors.New("not a CA certificate")
	}
	if len(cert.URIs) != 1 {
		return "", fmt.Errorf("a CA of ours has one URI, spiffe://DEPLOYMENT, this one has %d", len(cert.URIs))
	}
	u := cert.URIs[0]
	if err := identity.ValidDeployment(u.Host); err != nil {
		return "", err
	}
	if want := "spiffe://" + u.Host; u.String() != want {
		return "", fmt.Errorf("its URI %q is not of the form spiffe://DEPLOYMENT", u)
	}
	return u.Host, nil
}

// Save writes ca.crt (0644) and ca.key (0600) into dir, which it makes (0700)
// when it isn't there. The certificate goes last and marks a CA as there: one
// that is there is never overwritten, since all that it signed would be void,
// and a key left alone by a crash is no CA yet.
func (ca *CA) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	certPath := filepath.Join(dir, caCertFile)
	if _, err := os.Lstat(certPath); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save CA: %s: %w: every certificate that it signed would be void (choose another directory)", certPath, fs.ErrExist)
	}
	key, err := encodeKey(ca.key)
	if err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	if err := statedir.WriteFile(filepath.Join(dir, caKeyFile), key, 0o600); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	if err := statedir.WriteFile(certPath, encodeCert(ca.cert), 0o644); err != nil {
		return fmt.Errorf("save CA: %w", err)
	}
	return nil
}

// Deployment is whose CA this is.
func (ca *CA) Deployment() string { return ca.deployment }

// Certificate is the CA's own certificate; its key stays inside.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// newSerial draws 128 random bits: never guessed, never repeated (RFC 5280
// §4.1.2.2 wants it positive and at most 20 octets).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24: the program ends instead
	b[0] |= 1       // not zero, at the price of one bit
	return new(big.Int).SetBytes(b[:])
}
