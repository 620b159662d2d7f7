package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// KeyType is what kind of key is made.
type KeyType string

// The kinds. ECDSA is the default, "" too.
const (
	ECDSA   KeyType = "ecdsa"   // P-256
	RSA     KeyType = "rsa"     // 4096 bits
	Ed25519 KeyType = "ed25519" // FIPS 186-5 §7, but not every other TLS library takes it
)

func (k KeyType) generate() (crypto.Signer, error) {
	switch k {
	case "", ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, 4096)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("key type %q is none of %s, %s, %s", string(k), ECDSA, RSA, Ed25519)
}

// fitForHost says why a public key that was made elsewhere is not certified, or
// nil. Less than 128 bits of strength is refused (SP 800-57 part 1 rev. 5 table
// 2), and what would cost every handshake dearly.
func fitForHost(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= 3072 && bits <= 4096 {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a key of type %s is not certified: make one of ECDSA P-256 or P-384, RSA of 3072 to 4096 bits, or Ed25519", keyType(public))
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
