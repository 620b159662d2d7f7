package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// FuzzIdentityOf reads arbitrary certificates: one of ours, changed in any way,
// is never another identity than its bytes say.
func FuzzIdentityOf(f *testing.F) {
	ca, err := pki.Create(f.TempDir(), "clinic", pki.Options{})
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

// FuzzParseRevocations reads arbitrary lists: what is taken as a list of a CA
// bears that CA's signature, byte for byte.
func FuzzParseRevocations(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, SubjectKeyId: []byte{1},
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(3), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(77), RevocationTime: time.Now()}},
	}, root, key)
	if err != nil {
		f.Fatal(err)
	}
	good := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list})
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lists, err := parseRevocations(text, []*x509.Certificate{root})
		if err != nil {
			return
		}
		if len(lists) != 1 || !lists.has(link{keyOf(root), string(big.NewInt(77).Bytes())}) || lists.count() != 1 {
			t.Fatalf("taken as %v", lists)
		}
	})
}

// FuzzNewest reads arbitrary files of numbers: what is read is what would be written.
func FuzzNewest(f *testing.F) {
	good := revocations{keyID{1}: {number: big.NewInt(5)}, keyID{2}: {number: big.NewInt(70)}}.encodeNewest()
	f.Add(good)
	f.Add([]byte(newestMagic))
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, text []byte) {
		lists, err := parseNewest(text)
		if err == nil && string(lists.encodeNewest()) != string(text) {
			t.Fatalf("%q came back as %q", text, lists.encodeNewest())
		}
	})
}
