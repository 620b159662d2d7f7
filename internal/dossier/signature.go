package dossier

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// What a report's signature is for: a host signs what it has found, a person what
// a host without a certificate has found.
const (
	reportPurpose      = "report/1"
	attestationPurpose = "attestation/1"
)

// Sign signs a report with the certificate and key of the host that made it.
func Sign(r *evidence.Report, host *tls.Certificate) error {
	key, ok := host.PrivateKey.(crypto.Signer)
	if !ok {
		return errors.New("the host's key can't sign")
	}
	r.Signature = &evidence.Signature{At: r.Finished, Certificate: host.Certificate[0]}
	text, err := r.Signed()
	if err == nil {
		r.Signature.Value, err = pki.SignDocumentAs(key, reportPurpose, text)
	}
	return err
}

// Attest signs a report of a host that has no certificate, such as an outsider, with the
// CA's key: a person says that this is what the host found. It refuses the report of a
// host that can sign for itself.
func Attest(e Evidence, ca *pki.CA, by string, now time.Time) (*evidence.Report, error) {
	issued, err := ca.Issued()
	if err != nil {
		return nil, err
	}
	r := *e.Report
	switch {
	case r.Deployment != ca.Deployment():
		return nil, e.refuse("it is of deployment %s, the CA of %s", r.Deployment, ca.Deployment())
	case r.Signature != nil:
		return nil, e.refuse("it is signed already")
	case hasCertificate(issued, &r):
		return nil, e.refuse("%s", signsItself(&r))
	}
	r.Signature = &evidence.Signature{At: now.UTC().Truncate(time.Second), By: by}
	text, err := r.Signed()
	if err == nil {
		r.Signature.Value, err = ca.SignDocument(attestationPurpose, text)
	}
	return &r, err
}

func (e Evidence) refuse(format string, args ...any) error {
	return fmt.Errorf("%s: %s", e.Name, fmt.Sprintf(format, args...))
}

func signsItself(r *evidence.Report) string {
	return fmt.Sprintf("%s has a certificate of this CA, and its report isn't signed with it: run redoubt verify --json there again, as root, which signs it", r.Host)
}

// signerOf is whose certificate signs a report: the application host's on a machine that
// is both. An outsider has none.
func signerOf(r *evidence.Report) (identity.ID, error) {
	switch r.Vantage {
	case evidence.CacheHost:
		return identity.New(r.Deployment, identity.Gateway, r.Host)
	case evidence.AppHost, evidence.OneMachine:
		return identity.New(r.Deployment, identity.App, r.Host)
	}
	return identity.ID{}, fmt.Errorf("a report that was made from %s has no certificate to sign with", r.Vantage)
}

func hasCertificate(issued []pki.Issued, r *evidence.Report) bool {
	id, err := signerOf(r)
	for _, i := range issued {
		if err == nil && i.Identity == id {
			return true
		}
	}
	return false
}

// trust is what a report is held against.
type trust struct {
	deployment string
	version    string // of this redoubt, whose checks are known
	others     bool   // a report of another version is taken by its word for what its checks are
	now        time.Time
	roots      []*x509.Certificate                // nil: there is no CA to believe
	standing   func(*x509.Certificate) error      // why a certificate that a root signed is worth nothing
	signs      func(*evidence.Report) (must bool) // whether the report's host has a certificate of its own
}

// examine says who answers for a report: "" is nobody. An error says why it is no
// evidence at all.
func (t *trust) examine(e Evidence) (by string, err error) {
	r := e.Report
	again, err := r.Encode()
	switch {
	case err != nil:
		return "", err
	case r.Deployment != t.deployment:
		return "", e.refuse("it is of the deployment %q, not of %q", r.Deployment, t.deployment)
	case !t.others && r.Version != t.version:
		return "", e.refuse("it was made by redoubt %s, and this is %s, whose checks may differ: run redoubt verify on %s with this one", r.Version, t.version, r.Host)
	case r.Version == t.version && r.Set != verify.Set(r.Vantage):
		return "", e.refuse("it doesn't hold every check that redoubt %s makes from %s, and no other: it was cut, or made by another build", r.Version, r.Vantage)
	case r.Finished.Before(r.Started) || r.Started.After(t.now.Add(pki.ClockSkew)):
		return "", e.refuse("it was made from %s to %s, and now it is %s: look at the clocks", stamp(r.Started), stamp(r.Finished), stamp(t.now))
	case t.now.Sub(r.Started) > evidenceLife:
		return "", e.refuse("it is of %s: evidence counts for %d days; run redoubt verify again", r.Started.Format(time.DateOnly), evidenceLife/(24*time.Hour))
	case !bytes.Equal(again, e.Text):
		return "", e.refuse("it is not as redoubt verify wrote it: another program wrote it anew, or something was put in")
	case t.roots == nil:
		return "", nil
	case r.Signature == nil && t.signs(r):
		return "", e.refuse("%s", signsItself(r))
	case r.Signature == nil:
		return "", nil
	}
	if by, err = t.signature(r); err != nil {
		return "", e.refuse("%v", err)
	}
	return by, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (t *trust) signature(r *evidence.Report) (by string, err error) {
	text, err := r.Signed()
	if err != nil {
		return "", err
	}
	s := r.Signature
	if s.By != "" {
		if t.signs(r) {
			return "", errors.New(signsItself(r))
		}
		if _, err := pki.VerifyDocument(t.roots, attestationPurpose, text, s.Value); err != nil {
			return "", fmt.Errorf("attested by %q: %w", s.By, err)
		}
		return fmt.Sprintf("attested by %s, %s", s.By, s.At.UTC().Format(time.DateOnly)), nil
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return "", fmt.Errorf("the certificate in its signature can't be read: %w", err)
	}
	if err := t.certificate(cert, r); err != nil {
		return "", fmt.Errorf("the certificate that signed it: %w", err)
	}
	if err := pki.VerifyDocumentOf(cert, reportPurpose, text, s.Value); err != nil {
		return "", err
	}
	return "signed by " + r.Host, nil
}

// certificate says why the host's certificate doesn't answer for its report.
func (t *trust) certificate(cert *x509.Certificate, r *evidence.Report) error {
	roots := x509.NewCertPool()
	for _, root := range t.roots {
		roots.AddCert(root)
	}
	for _, at := range []time.Time{r.Started, r.Finished} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			return fmt.Errorf("at %s: %w", stamp(at), err)
		}
	}
	want, err := signerOf(r)
	if err != nil {
		return err
	}
	if got := pki.Describe(cert, t.now).Identity; got != want {
		return fmt.Errorf("it is of %s, the report of %s", got, want)
	}
	return t.standing(cert)
}

// Authenticate looks whether somebody answers for each report, as far as the CA's roots and
// its list of revoked certificates tell (pki.CA.Revocations; nil: there is none at hand).
// version is of this redoubt.
func Authenticate(reports []Evidence, roots []*x509.Certificate, deployment, version string, revoked []byte, now time.Time) error {
	t := ofRoots(roots, deployment, version, revoked, now)
	if revoked == nil {
		t.standing = func(*x509.Certificate) error { return nil }
	}
	for _, e := range reports {
		switch by, err := t.examine(e); {
		case err != nil:
			return err
		case by == "":
			return e.refuse("nobody has signed it: run redoubt verify --json on %s again, as root, or let a person answer for it (redoubt dossier attest)", e.Report.Host)
		}
	}
	return nil
}

// ofRoots is what a report is held against where the roots and the list of revoked
// certificates are all that is at hand: which hosts have certificates isn't known.
func ofRoots(roots []*x509.Certificate, deployment, version string, revoked []byte, now time.Time) *trust {
	return &trust{
		deployment: deployment, version: version, others: true, now: now, roots: roots,
		signs: func(*evidence.Report) bool { return false },
		standing: func(cert *x509.Certificate) error {
			switch listed, err := pki.Listed(revoked, roots, cert); {
			case err != nil:
				return fmt.Errorf("the list of revoked certificates: %w", err)
			case listed:
				return errors.New("it was revoked")
			}
			return nil
		},
	}
}

// ofCA is what a report is held against where the CA lies: its ledger says which
// certificates there are, and which were revoked. A certificate that was revoked signs
// nothing any more, whatever the report says of its time: a thief writes any.
func ofCA(ca *pki.CA, version string, now time.Time) (*trust, error) {
	issued, err := ca.Issued()
	if err != nil {
		return nil, err
	}
	return &trust{
		deployment: ca.Deployment(), version: version, now: now, roots: ca.Roots(),
		signs: func(r *evidence.Report) bool { return hasCertificate(issued, r) },
		standing: func(cert *x509.Certificate) error {
			serial := pki.Describe(cert, now).Serial
			for _, i := range issued {
				if i.Serial == serial && i.Revoked != nil {
					return fmt.Errorf("it was revoked on %s", stamp(*i.Revoked))
				}
				if i.Serial == serial {
					return nil
				}
			}
			return errors.New("the CA's ledger doesn't know it")
		},
	}, nil
}
