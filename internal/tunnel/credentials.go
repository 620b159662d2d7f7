package tunnel

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxFile bounds what is read as certificates: one of ours has 900 bytes.
const maxFile = 1 << 20

// Files are where a host's identity lies, in PEM.
type Files struct {
	Certificate string // the host's certificate, then its chain if there is one
	Key         string // "": it stands in Certificate, so that the two change as one
	CA          string // every root that is believed
	// CRL holds the lists of revoked certificates, see revocations; "": there are
	// none. A file that isn't there is a list that nobody had to write yet, unless
	// one was in force here before (newest.go).
	CRL string
}

// Secret is the file that the private key is in.
func (f Files) Secret() string {
	if f.Key != "" {
		return f.Key
	}
	return f.Certificate
}

// Credentials are who this host is, and whom it believes, as the files say it
// now. Watch and Reload exchange all of it at once; each handshake takes the
// whole as it is then, and connections that are up don't notice.
type Credentials struct {
	files Files
	rules []Rule
	id    identity.ID // never changes
	state atomic.Pointer[snapshot]

	mu      sync.Mutex    // one reload at a time
	changed chan struct{} // closed at the next exchange; under mu
}

// snapshot is what was loaded together and was verified together.
type snapshot struct {
	pair    tls.Certificate
	rules   []Rule
	id      identity.ID
	roots   []*x509.Certificate
	pool    *x509.CertPool // of roots
	revoked revocations
	lists   []byte // revoked as it was read, PEM
}

// LoadCredentials reads a host's files and refuses what could not work: the
// error names the file and the mend. Without rules a certificate carries an
// identity of ours.
func LoadCredentials(files Files, rules ...Rule) (*Credentials, error) {
	s, err := load(files, rules)
	if err != nil {
		return nil, fmt.Errorf("tunnel credentials: %w", err)
	}
	c := &Credentials{files: files, rules: rules, id: s.id, changed: make(chan struct{})}
	c.state.Store(s)
	return c, nil
}

func load(files Files, rules []Rule) (*snapshot, error) {
	certPEM, keyPEM, err := readPair(files.Certificate, files.Key)
	if err != nil {
		return nil, err
	}
	caPEM, err := statedir.ReadFile(files.CA, maxFile, "certificate file")
	if err != nil {
		return nil, err
	}
	s := &snapshot{rules: rules}
	s.pair, err = parsePair(certPEM, keyPEM)
	clear(keyPEM) // docs/threat-model.md says which copies stay
	if err != nil && files.Key != "" {
		return nil, fmt.Errorf("%s with %s: %w", files.Certificate, files.Key, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", files.Certificate, err)
	}
	if s.id, err = s.identify(s.pair.Leaf); err != nil {
		return nil, fmt.Errorf("%s: %w (redoubt join gets one that is right, or redoubt pki issue; for certificates of another maker see tls.identities)", files.Certificate, err)
	}
	if s.roots, err = parseRoots(caPEM); err != nil {
		return nil, fmt.Errorf("%s: %w", files.CA, err)
	}
	s.pool = poolOf(s.roots)
	if s.revoked, s.lists, err = readRevocations(files.CRL, s.roots); err != nil {
		return nil, err
	}
	if err := s.revoked.notOlder(files, s.roots); err != nil {
		return nil, err
	}
	if err := s.usable(time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", files.Certificate, err)
	}
	if err := s.verifySelf(); err != nil {
		return nil, fmt.Errorf("%s does not stand under the CA in %s: %w", files.Certificate, files.CA, err)
	}
	return s, nil
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
func parseRoots(caPEM []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
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
		roots = append(roots, cert)
	}
	if len(roots) == 0 {
		return nil, errors.New("holds no CA certificate in PEM form")
	}
	return roots, nil
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool
}

// usable says in dates what verification would say in general.
func (s *snapshot) usable(now time.Time) error {
	leaf := s.pair.Leaf
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("the certificate of %s is not valid before %s (is this host's clock right? it says %s)",
			s.id, leaf.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate of %s expired at %s: move it away and join anew (redoubt join), or issue a new one (redoubt pki issue)",
			s.id, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// verifySelf asks about ourselves what the peer will ask, but for revocation:
// that is for the peer to say, and a host that stops for it couldn't tell why.
func (s *snapshot) verifySelf() error {
	chain := []*x509.Certificate{s.pair.Leaf}
	for _, der := range s.pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, cert)
	}
	chains, err := s.verifyChain(chain, usageOf(s.id.Role()))
	if err != nil {
		return err
	}
	return strong(chains)
}

// ID is who this host is.
func (c *Credentials) ID() identity.ID { return c.id }

// NotAfter is when the certificate ends.
func (c *Credentials) NotAfter() time.Time { return c.state.Load().pair.Leaf.NotAfter }

// Certificate is the one that is in use now.
func (c *Credentials) Certificate() *x509.Certificate { return c.state.Load().pair.Leaf }

// Proof is the certificate that is in use now, and its key, for what a host signs itself.
func (c *Credentials) Proof() (*x509.Certificate, crypto.Signer, error) {
	pair := c.state.Load().pair
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, nil, errors.New("tunnel credentials: the host's key can't sign")
	}
	return pair.Leaf, key, nil
}

// HasLists says whether a list of revoked certificates is in force.
func (c *Credentials) HasLists() bool { return len(c.state.Load().revoked) > 0 }

// Roots are the CAs that are believed now.
func (c *Credentials) Roots() []*x509.Certificate { return slices.Clone(c.state.Load().roots) }
