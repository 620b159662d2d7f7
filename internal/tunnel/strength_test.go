package tunnel_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// TestWeakKeysAreRefused, of a host and of its CA, by the peer and at the host
// itself; the next larger keys of their kind are the control.
func TestWeakKeysAreRefused(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("Go's module makes no weak key in this mode, and takes none")
	}
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache-1")
	rsaKey := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		must(t, err)
		return key
	}
	curve := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		must(t, err)
		return key
	}
	for name, c := range map[string]struct {
		key  crypto.Signer
		says string
	}{
		"RSA 1024": {rsaKey(1024), "1024 bits (RSA), at least 2048"}, "RSA 2048": {rsaKey(2048), ""},
		"P-256": {curve(elliptic.P256()), ""}, "P-384": {curve(elliptic.P384()), ""},
	} {
		template, err := x509.ParseCertificate(d.forge([]string{"spiffe://clinic/app/web-1"}, nil).Certificate[0])
		must(t, err)
		der, err := x509.CreateCertificate(rand.Reader, template, d.ca.Certificate(), c.key.Public(), d.key())
		must(t, err)
		cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.key}
		o := connect(t, gateway.ServerConfig(), anybody(cert))
		if c.says == "" {
			must(t, o.server)
			continue
		}
		refused(t, "gateway, "+name, o.server, c.says)
		dir := d.host(identity.App, "web-1")
		write(t, dir, cert)
		_, err = load(dir)
		refused(t, "the host itself, "+name, err, c.says)
	}
}
