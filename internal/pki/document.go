package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// document is what is signed of a text for a purpose: the first line keeps it apart from
// the ledger, and from texts for other purposes.
func document(purpose string, text []byte) []byte {
	return append(fmt.Appendf(nil, "redoubt document %s\n", purpose), text...)
}

// SignDocument signs a text with the root that signs now. The CA must not be locked.
func (ca *CA) SignDocument(purpose string, text []byte) (signature []byte, err error) {
	err = ca.look(func(s *state) error {
		if s.locked {
			return errors.New("the CA's keys are encrypted: their passphrase is needed to sign")
		}
		signature, err = s.signer().sign(document(purpose, text))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", purpose, err)
	}
	return signature, nil
}

// VerifyDocument says which root has signed a text for a purpose.
func VerifyDocument(roots []*x509.Certificate, purpose string, text, signature []byte) (*x509.Certificate, error) {
	for _, cert := range roots {
		if (&root{cert: cert}).verify(document(purpose, text), signature) == nil {
			return cert, nil
		}
	}
	return nil, errors.New("the signature is of none of the CA's roots")
}

// SignDocumentAs signs a text for a purpose with a host's key. It can't be taken for a
// handshake's signature, which begins with 64 spaces (RFC 8446 §4.4.3), nor for a CSR's,
// which begins with an ASN.1 SEQUENCE.
func SignDocumentAs(key crypto.Signer, purpose string, text []byte) ([]byte, error) {
	hash := crypto.SHA256
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		hash = 0 // it hashes itself
	}
	signature, err := crypto.SignMessage(key, rand.Reader, document(purpose, text), hash)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", purpose, err)
	}
	return signature, nil
}

// VerifyDocumentOf says whether the key of this certificate has signed a text for a
// purpose. What the certificate itself is worth is the caller's to ask.
func VerifyDocumentOf(cert *x509.Certificate, purpose string, text, signature []byte) error {
	return VerifyDocumentBy(cert.PublicKey, purpose, text, signature)
}

// VerifyDocumentBy says the same of a key without a certificate.
func VerifyDocumentBy(key crypto.PublicKey, purpose string, text, signature []byte) error {
	var algorithm x509.SignatureAlgorithm
	switch key.(type) {
	case *ecdsa.PublicKey:
		algorithm = x509.ECDSAWithSHA256
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSA
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	}
	if err := (&x509.Certificate{PublicKey: key}).CheckSignature(algorithm, document(purpose, text), signature); err != nil {
		return errors.New("its signature isn't good: it was changed after it was signed, or another key signed it")
	}
	return nil
}

// Listed says whether a certificate is on a list of what was revoked, as Revocations
// writes it, and refuses a list that none of these roots signed.
func Listed(text []byte, roots []*x509.Certificate, cert *x509.Certificate) (bool, error) {
	var list []*root
	for _, r := range roots {
		list = append(list, &root{id: rootID(r), cert: r})
	}
	lists, err := parseCRLs(text, list)
	if err != nil {
		return false, err
	}
	for _, l := range lists {
		for _, e := range l.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) == 0 && string(l.RawIssuer) == string(cert.RawIssuer) {
				return true, nil
			}
		}
	}
	return false, nil
}
