package tunnel

import (
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// FuzzIdentityOf reads arbitrary certificates: one of ours, changed in any way,
// is never another identity than its bytes say.
func FuzzIdentityOf(f *testing.F) {
	ca, err := pki.NewCA("clinic", 0)
	if err != nil {
		f.Fatal(err)
	}
	id, err := identity.New("clinic", identity.App, "web")
	if err != nil {
		f.Fatal(err)
	}
	leaf, err := ca.Issue(pki.Request{ID: id})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(leaf.Certificate().Raw)
	f.Add(ca.Certificate().Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if roots, err := parseRoots(text); (roots == nil) == (err == nil) {
			t.Fatalf("roots %v, %v", roots, err)
		}
		if _, err := parsePair(text, nil); err == nil {
			t.Fatal("a certificate without a key is a pair")
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		got, err := identityOf(cert)
		if err != nil {
			return
		}
		if cert.IsCA || len(cert.URIs) != 1 || cert.URIs[0].String() != got.String() {
			t.Fatalf("read as %s, crypto/x509 says %v, CA %v", got, cert.URIs, cert.IsCA)
		}
	})
}
