package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Request says what a host's certificate shall be.
type Request struct {
	ID identity.ID
	// DNS and IPs are further names of the host. Redoubt's own ends compare
	// identities and look at neither; applications that speak TLS to the gateway
	// by themselves check them.
	DNS  []string
	IPs  []netip.Addr
	Life time.Duration // 0 is LeafLife; never beyond the CA's own end
	Key  KeyType       // of a key that Issue makes; "" is ECDSA
	// Asks makes a gateway's certificate good for asking instead of serving: with it
	// redoubt verify tries whether the role is looked at.
	Asks bool
}

// Leaf is a host's certificate with its key and the roots that the host shall
// believe.
type Leaf struct {
	cert  *x509.Certificate
	key   crypto.Signer
	roots []*x509.Certificate
}

// Issue makes a key and a certificate for a host, because an administrator says so:
// one that was revoked is admitted again.
func (ca *CA) Issue(r Request) (*Leaf, error) {
	key, err := r.Key.generate()
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", r.ID, err)
	}
	cert, roots, err := ca.certify(key.Public(), r, byHand)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", r.ID, err)
	}
	return &Leaf{cert, key, roots}, nil
}

// Sign makes a certificate for a key that was made elsewhere. Only the public
// key is taken from the CSR, once its signature has proved that who asks has the
// private one; who the host is and what else stands in the certificate says r
// alone. As Issue, it admits.
func (ca *CA) Sign(csr *x509.CertificateRequest, r Request) (*x509.Certificate, error) {
	cert, _, err := ca.sign(csr, r, byHand)
	return cert, err
}

// SignOwn signs as Sign does, for a host whose certificates nobody asks for by hand: one
// that was revoked gets ErrRevoked.
func (ca *CA) SignOwn(csr *x509.CertificateRequest, r Request) (*x509.Certificate, error) {
	cert, _, err := ca.sign(csr, r, onItsOwn)
	return cert, err
}

// Enrol signs as Sign does, for a token, and returns the roots that its host shall
// believe. If the host was revoked since the token was made, the error is
// ErrRevoked; if the token doesn't name the root that signs, ErrReplaced.
func (ca *CA) Enrol(csr *x509.CertificateRequest, r Request, made Moment) (*x509.Certificate, []*x509.Certificate, error) {
	return ca.sign(csr, r, byToken(made))
}

// Renew signs as Sign does, for the host that has shown the certificate old: if
// that is in the ledger as r.ID's, lives, and the host wasn't revoked (ErrRevoked).
func (ca *CA) Renew(csr *x509.CertificateRequest, r Request, old *x509.Certificate) (*x509.Certificate, error) {
	cert, _, err := ca.sign(csr, r, byCertificate(old))
	return cert, err
}

func (ca *CA) sign(csr *x509.CertificateRequest, r Request, why grounds) (*x509.Certificate, []*x509.Certificate, error) {
	if err := fitForHost(csr.PublicKey); err != nil {
		return nil, nil, fmt.Errorf("sign a certificate for %s: %w", r.ID, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, nil, fmt.Errorf("sign a certificate for %s: the CSR is not signed by its own key: %w", r.ID, err)
	}
	cert, roots, err := ca.certify(csr.PublicKey, r, why)
	if err != nil {
		return nil, nil, fmt.Errorf("sign a certificate for %s: %w", r.ID, err)
	}
	return cert, roots, nil
}

// certify gives a certificate out only once the ledger that has it, and what its
// host believes, is on the disk.
func (ca *CA) certify(public crypto.PublicKey, r Request, why grounds) (cert *x509.Certificate, roots []*x509.Certificate, err error) {
	err = ca.change(func(s *state, now time.Time) error {
		signer := s.signer()
		if err := ca.check(&r, signer.cert, now); err != nil {
			return err
		}
		l := s.ledger.clone()
		believed, err := why(s, l, r.ID, now)
		if err != nil {
			return err
		}
		der, err := x509.CreateCertificate(rand.Reader, template(r, signer.cert, now), signer.cert, public, signer.key)
		if err != nil {
			return err
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		e := entry{serial: made.SerialNumber, id: r.ID, issued: now.UTC().Truncate(time.Second), end: made.NotAfter.UTC(), root: signer.id}
		for _, root := range believed {
			e.bundle = append(e.bundle, root.id)
		}
		l.entries = append(l.entries, e)
		if err := ca.writeLedger(s, l); err != nil {
			return err
		}
		cert = made
		for _, root := range believed {
			roots = append(roots, root.cert)
		}
		return nil
	})
	return cert, roots, err
}

// check refuses what must not be signed and fills in the life.
func (ca *CA) check(r *Request, root *x509.Certificate, now time.Time) error {
	if r.ID.IsZero() {
		return errors.New("no identity asked for")
	}
	if d := r.ID.Deployment(); d != ca.deployment {
		return fmt.Errorf("%s is of deployment %q, this CA is of %q", r.ID, d, ca.deployment)
	}
	if now.Before(root.NotBefore) {
		return fmt.Errorf("the CA of %q is not valid before %s, and this machine's clock says %s: set it right", ca.deployment, root.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if !now.Before(root.NotAfter) {
		return fmt.Errorf("the CA of %q expired on %s: make a new one", ca.deployment, root.NotAfter.Format(time.DateOnly))
	}
	if r.Life == 0 {
		r.Life = LeafLife
	}
	if r.Life < 0 || r.Life > MaxLeafLife {
		return fmt.Errorf("a life of %s is not between 0 and %d days", r.Life, MaxLeafLife/(24*time.Hour))
	}
	for _, name := range r.DNS {
		if err := identity.ValidName(name); err != nil {
			return fmt.Errorf("DNS %w", err)
		}
	}
	for _, ip := range r.IPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.Zone() != "" {
			return fmt.Errorf("%q is not an address that a host can be reached at", ip)
		}
	}
	return nil
}

func template(r Request, root *x509.Certificate, now time.Time) *x509.Certificate {
	usage := usageOf(r.ID.Role())
	if r.Asks {
		usage = x509.ExtKeyUsageClientAuth
	}
	end := now.Add(r.Life)
	if end.After(root.NotAfter) {
		end = root.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		// For people who look at it with other tools; no code of ours reads it.
		Subject: pkix.Name{
			Organization:       []string{r.ID.Deployment()},
			OrganizationalUnit: []string{string(r.ID.Role())},
			CommonName:         r.ID.Name(),
		},
		URIs:                  []*url.URL{r.ID.URL()},
		DNSNames:              r.DNS,
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true, // and IsCA false
	}
	for _, ip := range r.IPs {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.Unmap().AsSlice()))
	}
	return template
}

// usageOf is what a role's certificate is good for.
func usageOf(role identity.Role) x509.ExtKeyUsage {
	if role == identity.Gateway {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// Save writes ca.crt and tls.pem, which holds key and certificate (0600), into
// dir, which it makes (0700) when it isn't there. It replaces older ones: key and
// certificate change as one, in whatever moment the machine stops, and the CA is
// there before the first certificate that needs it.
func (l *Leaf) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	text, err := l.PEM()
	if err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	if err := statedir.WriteFile(filepath.Join(dir, caCertFile), EncodeCertificates(l.roots...), 0o644); err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	if err := statedir.WriteFile(filepath.Join(dir, leafFile), text, 0o600); err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	return nil
}

// PEM is what tls.pem holds: the key, then the certificate. It is a secret.
func (l *Leaf) PEM() ([]byte, error) {
	key, err := EncodeKey(l.key)
	if err != nil {
		return nil, err
	}
	return append(key, EncodeCertificates(l.cert)...), nil
}

// Pair is the certificate and its key, for a handshake.
func (l *Leaf) Pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{l.cert.Raw}, PrivateKey: l.key, Leaf: l.cert}
}

// Certificate is the host's certificate; its key stays inside.
func (l *Leaf) Certificate() *x509.Certificate { return l.cert }

// Roots is what the host shall believe.
func (l *Leaf) Roots() []*x509.Certificate { return l.roots }
