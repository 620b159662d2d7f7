package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxCSR bounds what is read as a CSR, which strangers send: one with an RSA key
// of 4096 bits has 1,600 bytes.
const maxCSR = 16 << 10

const csrBlock = "CERTIFICATE REQUEST" // RFC 7468 §7

// NewRequest makes a host's key, and the CSR for it (PEM): all that need leave
// the host. It names nobody, since nothing but its key is believed.
func NewRequest(kind KeyType) (key crypto.Signer, csr []byte, err error) {
	key, err = kind.generate()
	if err != nil {
		return nil, nil, fmt.Errorf("certificate request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate request: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: csrBlock, Bytes: der}), nil
}

// ParseRequest reads a CSR in PEM form, of any maker. Sign checks it.
func ParseRequest(text []byte) (*x509.CertificateRequest, error) {
	if len(text) > maxCSR {
		return nil, fmt.Errorf("certificate request: larger than %d bytes", maxCSR)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != csrBlock && block.Type != "NEW "+csrBlock { // the latter is Microsoft's and OpenSSL's -newhdr
		return nil, errors.New("certificate request: holds no CSR in PEM form (PKCS #10)")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return csr, nil
}

// NewLeaf joins a key that was made on this host with the certificate that was
// signed for it, and the roots that came with it. It refuses what doesn't belong
// together.
func NewLeaf(key crypto.Signer, cert *x509.Certificate, roots []*x509.Certificate) (*Leaf, error) {
	if !samePublic(key.Public(), cert.PublicKey) {
		return nil, errors.New("the certificate is not for this host's key")
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		if !root.IsCA || !root.BasicConstraintsValid {
			return nil, fmt.Errorf("the certificate of %q is not a CA's", root.Subject)
		}
		pool.AddCert(root)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, fmt.Errorf("the certificate does not stand under the CA that came with it: %w", err)
	}
	return &Leaf{cert, key, roots}, nil
}
