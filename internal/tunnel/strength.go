package tunnel

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

// The least sizes of keys that have 112 bits of strength (NIST SP 800-57 part 1
// rev. 5, table 2). crypto/x509 takes RSA keys of 1024 bits; our own CA makes
// none, but one that is brought along may have.
const (
	leastRSA   = 2048
	leastCurve = 256 // 224 would do; no curve between is in use
)

// strong says whether one of the chains has no weak key in it, or names the
// first that is.
func strong(chains [][]*x509.Certificate) (err error) {
	for _, chain := range chains {
		if err = strongChain(chain); err == nil {
			return nil
		}
	}
	return err
}

func strongChain(chain []*x509.Certificate) error {
	for _, cert := range chain {
		kind, bits, least := "RSA", 0, leastRSA
		switch key := cert.PublicKey.(type) {
		case *rsa.PublicKey:
			bits = key.N.BitLen()
		case *ecdsa.PublicKey:
			kind, bits, least = "elliptic curve", key.Curve.Params().BitSize, leastCurve
		default: // Ed25519, which has one size; crypto/x509 verifies no other kind
			continue
		}
		if bits < least {
			return fmt.Errorf("the certificate of %q has a key of %d bits (%s), at least %d are needed", cert.Subject, bits, kind, least)
		}
	}
	return nil
}
