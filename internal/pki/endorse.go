package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// A root vouches for the roots beside it, or who has a gateway's key and a host's
// could add a root of his own to what hosts believe: he passes their renewals on, and
// what comes back with them is a certificate of the true CA (see test/model).
//
// What is signed are the SHA-256 of the roots' certificates (DER), in their order.
const endorsementMagic = "redoubt roots 1\n"

func endorsement(roots []*x509.Certificate) []byte {
	text := []byte(endorsementMagic)
	for _, cert := range roots {
		text = fmt.Appendf(text, "%x\n", sha256.Sum256(cert.Raw))
	}
	return text
}

// Endorsed is what Roots is, with a signature by each over all of them. There are no
// signatures where there is but one root: who believes it needs none.
func (ca *CA) Endorsed() (certs []*x509.Certificate, signatures [][]byte, err error) {
	err = ca.look(func(s *state) error {
		for _, r := range s.roots {
			certs = append(certs, r.cert)
		}
		if len(certs) == 1 {
			return nil
		}
		if s.locked {
			return fmt.Errorf("%s is encrypted: its passphrase is needed", ca.path(caKeyFile))
		}
		for _, r := range s.roots {
			signature, err := r.sign(endorsement(certs))
			if err != nil {
				return err
			}
			signatures = append(signatures, signature)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("roots: %w", err)
	}
	return certs, signatures, nil
}

// CheckEndorsed refuses roots of which one isn't believed yet, unless one that is
// signed for all of them, as Endorsed does.
func CheckEndorsed(believed, roots []*x509.Certificate, signatures [][]byte) error {
	news := func(cert *x509.Certificate) bool { return !slices.ContainsFunc(believed, cert.Equal) }
	if !slices.ContainsFunc(roots, news) {
		return nil
	}
	for i, cert := range roots {
		if !news(cert) && i < len(signatures) && (&root{cert: cert}).verify(endorsement(roots), signatures[i]) == nil {
			return nil
		}
	}
	return errors.New("a root came that no root that is believed here has signed for: somebody else may have the gateway's key (redoubt pki revoke --role gateway), or the gateway is of a release that signs for none")
}
