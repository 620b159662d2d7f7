package pki

import (
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
