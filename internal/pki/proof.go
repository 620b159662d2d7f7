package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Whoever ends the TLS of a host that renews is believed in nothing: what the host asks
// for proves itself (docs/decisions/0200). So it doesn't matter who passes it on.

// renewalPurpose names the version, too: a signature for one is none for another.
const renewalPurpose = "renewal/2"

// Renewal is how a host asks for its next certificate. It is signed by the key of the
// present one, over that certificate (and with it the deployment and the host's name),
// the request, and what the CA has asked it to sign, which makes it good once.
type Renewal struct {
	Certificate []byte `json:"certificate"` // the present one, DER
	CSR         []byte `json:"csr"`         // PKCS #10, DER; only its key counts
	Challenge   []byte `json:"challenge"`   // from the CA
	Proof       []byte `json:"proof"`
}

// NewRenewal asks with the host's present certificate and its key.
func NewRenewal(present *x509.Certificate, key crypto.Signer, csr, challenge []byte) (*Renewal, error) {
	r := &Renewal{Certificate: present.Raw, CSR: csr, Challenge: challenge}
	var err error
	if r.Proof, err = SignDocumentAs(key, renewalPurpose, r.text()); err != nil {
		return nil, err
	}
	return r, nil
}

// text is what is signed: a line for each part.
func (r *Renewal) text() []byte {
	return fmt.Appendf(nil, "%x\n%x\n%x\n", sha256.Sum256(r.Certificate), sha256.Sum256(r.CSR), sha256.Sum256(r.Challenge))
}

// Asked is a request for a renewal that has proved itself.
type Asked struct {
	ID      identity.ID              // who asks, by the ledger
	Present *x509.Certificate        // by what
	CSR     *x509.CertificateRequest // for which key
}

// Examine says who asks for a renewal: whose the certificate is that was shown says
// Holder, and that who shows it has its key, and that of the certificate that is wanted,
// the signatures. Whether the challenge was made for this is for the caller to ask.
func (ca *CA) Examine(r *Renewal) (Asked, error) {
	present, err := x509.ParseCertificate(r.Certificate)
	if err != nil {
		return Asked{}, fmt.Errorf("%w: the certificate that it shows can't be read", ErrUnproved)
	}
	id, err := ca.Holder(present) // before its key is used: a stranger's could be dear
	if err != nil {
		return Asked{}, err
	}
	if VerifyDocumentOf(present, renewalPurpose, r.text(), r.Proof) != nil {
		return Asked{}, fmt.Errorf("%w: it is not signed by the key of the certificate of %s that it shows", ErrUnproved, id)
	}
	csr, err := CheckRequest(r.CSR)
	if err != nil {
		return Asked{}, err
	}
	return Asked{id, present, csr}, nil
}

// ErrUnproved says that a renewal was asked for by somebody who has not the key of the
// certificate that was shown.
var ErrUnproved = errors.New("the request for a renewal doesn't prove itself")

// ErrRequest says that a CSR can't be signed, whoever sends it.
var ErrRequest = errors.New("the certificate request is not one that can be signed (an ECDSA P-256, Ed25519 or RSA key, and a signature by it)")

// CheckRequest reads a CSR (DER) that came from elsewhere; its error is ErrRequest.
func CheckRequest(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || fitForHost(csr.PublicKey) != nil || csr.CheckSignature() != nil {
		return nil, ErrRequest
	}
	return csr, nil
}
