package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxCertFile bounds what is read as certificates: one of ours has 900 bytes.
const maxCertFile = 1 << 20

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY" // PKCS #8, RFC 5958
)

// Read reads the certificates of a PEM file, in its order; there is at least
// one. Text around them is passed over, as RFC 7468 §2 allows, and so is the
// private key in a host's tls.pem.
func Read(path string) ([]*x509.Certificate, error) {
	data, err := statedir.ReadFile(path, maxCertFile, "certificate file")
	if err != nil {
		return nil, err
	}
	certs, err := parseCerts(data, keyBlock)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return certs, nil
}

// parseCerts reads certificates, and passes over blocks of one other type.
func parseCerts(data []byte, spared string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type == spared {
			continue
		}
		if block.Type != certBlock {
			return nil, fmt.Errorf("holds a PEM block %q where only certificates belong", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("not a certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("holds no certificate in PEM form")
	}
	return certs, nil
}

// EncodeCertificates writes certificates in PEM, in their order.
func EncodeCertificates(certs ...*x509.Certificate) (text []byte) {
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw})...)
	}
	return text
}

// ParseKey reads what EncodeKey writes.
func ParseKey(text []byte) (crypto.Signer, error) {
	keys, err := openKeys(text, nil)
	if err != nil {
		return nil, err
	}
	return keys[0].key, nil
}

// parseKey passes no error of a parser on: some repeat what they read.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("holds a private key that can't be read")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("holds a private key that can't sign")
	}
	return signer, nil
}

// EncodeKey writes a private key in PEM (PKCS #8): a secret.
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}
