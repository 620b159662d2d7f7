package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxFile bounds what is read as certificates: one of ours has 900 bytes.
const maxFile = 1 << 20

// Credentials are who this host is, and whom it believes.
type Credentials struct {
	pair  tls.Certificate
	roots *x509.CertPool
	id    identity.ID
}

// LoadCredentials reads a host's certificate, its key and the CA, from files in
// PEM, and refuses what could not work: the error names the file and the mend.
// Without a file for the key, the key stands in the certificate's, which is how
// ours are written: the two change as one.
func LoadCredentials(certFile, keyFile, caFile string) (*Credentials, error) {
	c, err := load(certFile, keyFile, caFile)
	if err != nil {
		return nil, fmt.Errorf("tunnel credentials: %w", err)
	}
	return c, nil
}

func load(certFile, keyFile, caFile string) (*Credentials, error) {
	certPEM, keyPEM, err := readPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	caPEM, err := statedir.ReadFile(caFile, maxFile, "certificate file")
	if err != nil {
		return nil, err
	}
	pair, err := parsePair(certPEM, keyPEM)
	if err != nil && keyFile != "" {
		return nil, fmt.Errorf("%s with %s: %w", certFile, keyFile, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	id, err := identityOf(pair.Leaf)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (issue one with: redoubt pki issue)", certFile, err)
	}
	roots, err := parseRoots(caPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", caFile, err)
	}
	c := &Credentials{pair: pair, roots: roots, id: id}
	if err := c.usable(time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	if err := c.verifySelf(); err != nil {
		return nil, fmt.Errorf("%s does not stand under the CA in %s: %w", certFile, caFile, err)
	}
	return c, nil
}

// readPair reads one file once, so that certificate and key are of one writing.
func readPair(certFile, keyFile string) (certPEM, keyPEM []byte, err error) {
	if keyFile == "" {
		both, err := statedir.ReadSecret(certFile)
		return both, both, err
	}
	if certPEM, err = statedir.ReadFile(certFile, maxFile, "certificate file"); err != nil {
		return nil, nil, err
	}
	keyPEM, err = statedir.ReadSecret(keyFile)
	return certPEM, keyPEM, err
}

// parsePair reads certificate and key. What crypto/tls says of a certificate is
// passed on, what it says of a key is not: it may repeat what it read.
func parsePair(certPEM, keyPEM []byte) (tls.Certificate, error) {
	var chain [][]byte
	for rest := certPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			chain = append(chain, block.Bytes)
		}
	}
	if len(chain) == 0 {
		return tls.Certificate{}, errors.New("the certificate file holds no certificate in PEM form")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("the certificate can't be read: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		if !holdsKey(keyPEM) {
			return tls.Certificate{}, errors.New("no private key in PEM form stands where the key belongs (tls.key; without it, the certificate's file)")
		}
		return tls.Certificate{}, errors.New("the key can't be read, or is not the key of this certificate")
	}
	pair.Leaf = leaf
	return pair, nil
}

// holdsKey tells a missing key from a wrong one.
func holdsKey(text []byte) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return true
		}
	}
}

// parseRoots takes CA certificates only: a pool would believe any certificate
// that stands in it.
func parseRoots(caPEM []byte) (*x509.CertPool, error) {
	roots, count := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, caPEM = pem.Decode(caPEM); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a PEM block %q: a CA file holds certificates only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate in it can't be read: %w", err)
		}
		if !cert.IsCA || !cert.BasicConstraintsValid {
			return nil, fmt.Errorf("the certificate of %q in it is not a CA's", cert.Subject)
		}
		roots.AddCert(cert)
		count++
	}
	if count == 0 {
		return nil, errors.New("holds no CA certificate in PEM form")
	}
	return roots, nil
}

// usable says in dates what verification would say in general.
func (c *Credentials) usable(now time.Time) error {
	leaf := c.pair.Leaf
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("the certificate of %s is not valid before %s (is this host's clock right? it says %s)",
			c.id, leaf.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate of %s expired at %s: issue a new one (redoubt pki issue)",
			c.id, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// verifySelf asks about ourselves what the peer will ask.
func (c *Credentials) verifySelf() error {
	usage := x509.ExtKeyUsageClientAuth
	if c.id.Role() == identity.Gateway {
		usage = x509.ExtKeyUsageServerAuth
	}
	chain := []*x509.Certificate{c.pair.Leaf}
	for _, der := range c.pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
	}
	return c.verifyChain(chain, usage)
}

// ID is who this host is.
func (c *Credentials) ID() identity.ID { return c.id }

// NotAfter is when the certificate ends.
func (c *Credentials) NotAfter() time.Time { return c.pair.Leaf.NotAfter }
