package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// root is one of a CA's roots. It has no key while the CA is locked.
type root struct {
	id     string
	cert   *x509.Certificate
	key    crypto.Signer
	sealed []byte // the key as it stands in ca.key
}

// newRoot makes a self-signed CA certificate for a deployment.
func newRoot(deployment string, kind KeyType, life time.Duration) (*root, error) {
	if err := identity.ValidDeployment(deployment); err != nil {
		return nil, err
	}
	if life == 0 {
		life = CALife
	}
	if life < 0 {
		return nil, fmt.Errorf("a life of %s is over before it begins", life)
	}
	key, err := kind.generate()
	if err != nil {
		return nil, err
	}
	now, serial := time.Now(), newSerial()
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two roots of a deployment must differ in name, or those who look for an
		// issuer or its CRL by name find the wrong one (RFC 5280 §6.3.3).
		Subject: pkix.Name{Organization: []string{deployment}, CommonName: "Redoubt CA " + hex.EncodeToString(serial.Bytes()[:4])},
		// The trust domain itself (SPIFFE X509-SVID §4.2): deploymentOf reads it.
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
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &root{id: rootID(cert), cert: cert, key: key}, nil
}

// rootID names a root in the ledger: half of its SHA-256, which nobody can give
// to a second one.
func rootID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:16])
}

// sign makes a signature of ours, as verify checks it. What is signed must not
// be taken for a certificate or CRL: those begin with an ASN.1 SEQUENCE.
func (r *root) sign(text []byte) ([]byte, error) {
	var hash crypto.Hash // none for Ed25519, which hashes itself
	if r.cert.SignatureAlgorithm != x509.PureEd25519 {
		hash = crypto.SHA256
	}
	return crypto.SignMessage(r.key, rand.Reader, text, hash)
}

func (r *root) verify(text, signature []byte) error {
	return r.cert.CheckSignature(r.cert.SignatureAlgorithm, text, signature)
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

// parseRoots reads ca.crt: roots of one deployment, each once.
func parseRoots(text []byte) (deployment string, roots []*root, err error) {
	certs, err := parseCerts(text, "")
	if err != nil {
		return "", nil, err
	}
	if len(certs) > maxRoots {
		return "", nil, fmt.Errorf("holds %d roots: %d are the most during a rotation", len(certs), maxRoots)
	}
	for _, cert := range certs {
		d, err := deploymentOf(cert)
		if err != nil {
			return "", nil, err
		}
		if deployment != "" && d != deployment {
			return "", nil, fmt.Errorf("holds roots of two deployments, %q and %q", deployment, d)
		}
		deployment = d
		r := &root{id: rootID(cert), cert: cert}
		if findRoot(roots, r.id) != nil {
			return "", nil, errors.New("holds a root twice")
		}
		roots = append(roots, r)
	}
	if !bytes.Equal(encodeRoots(roots), text) {
		return "", nil, errors.New("holds more than whole certificates as redoubt writes them")
	}
	return deployment, roots, nil
}

// maxRoots: one, and during a rotation the next one.
const maxRoots = 2

func findRoot(roots []*root, id string) *root {
	for _, r := range roots {
		if r.id == id {
			return r
		}
	}
	return nil
}

func encodeRoots(roots []*root) (text []byte) {
	for _, r := range roots {
		text = append(text, EncodeCertificates(r.cert)...)
	}
	return text
}

// newSerial draws 128 random bits: never guessed, never repeated (RFC 5280
// §4.1.2.2 wants it positive and at most 20 octets).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails since Go 1.24: the program ends instead
	b[0] |= 1       // not zero, at the price of one bit
	return new(big.Int).SetBytes(b[:])
}
