package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

func csrPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestNothingOfACSRIsBelievedButItsKey asks for all that a certificate can say.
func TestNothingOfACSRIsBelievedButItsKey(t *testing.T) {
	ca := newCA(t, "clinic")
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	gateway, err := url.Parse("spiffe://clinic/gateway/cache")
	must(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "cache", Organization: []string{"evil"}},
		DNSNames:       []string{"evil.example"},
		EmailAddresses: []string{"root@evil.example"},
		IPAddresses:    []net.IP{{10, 0, 0, 1}},
		URIs:           []*url.URL{gateway},
		ExtraExtensions: []pkix.Extension{
			{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}, // CA:TRUE
			{Id: []int{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 1, 6}},          // keyCertSign, cRLSign
			{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
		},
	}, key)
	must(t, err)
	csr, err := pki.ParseRequest(csrPEM(der))
	must(t, err)
	r := pki.Request{ID: id(t, "spiffe://clinic/app/web")}
	cert, err := ca.Sign(csr, r)
	must(t, err)
	if !key.PublicKey.Equal(cert.PublicKey) {
		t.Error("it isn't for the CSR's key")
	}
	// But for the key and what is drawn anew, it is what Issue would have made.
	model := issue(t, ca, r)
	for _, extension := range cert.Extensions {
		found := false
		for _, of := range model.Extensions {
			found = found || of.Id.Equal(extension.Id) && of.Critical == extension.Critical && bytes.Equal(of.Value, extension.Value)
		}
		if !found {
			t.Errorf("extension %s comes from the CSR", extension.Id)
		}
	}
	if cert.IsCA || cert.Subject.String() != model.Subject.String() || len(cert.Extensions) != len(model.Extensions) {
		t.Errorf("CA %v, %s, %d extensions where %d belong", cert.IsCA, cert.Subject, len(cert.Extensions), len(model.Extensions))
	}
	if known := serials(t, ca); known[pki.Describe(cert, cert.NotBefore).Serial] != pki.Living {
		t.Error("the ledger doesn't know it")
	}
}

// TestACSRProvesThatItsKeyIsThere: nobody gets a certificate for the key of
// somebody else.
func TestACSRProvesThatItsKeyIsThere(t *testing.T) {
	ca := newCA(t, "clinic")
	_, text, err := pki.NewRequest(pki.ECDSA)
	must(t, err)
	block, _ := pem.Decode(text)
	block.Bytes[len(block.Bytes)-1] ^= 1
	csr, err := pki.ParseRequest(pem.EncodeToMemory(block))
	if err == nil {
		_, err = ca.Sign(csr, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	}
	if err == nil || !strings.Contains(err.Error(), "not signed by its own key") {
		t.Errorf("got %v", err)
	}
	if n := len(serials(t, ca)); n != 0 {
		t.Errorf("the ledger has %d certificates", n)
	}
}

func TestKeysThatAreWeakOrDearAreNotCertified(t *testing.T) {
	ca := newCA(t, "clinic")
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		must(t, err)
		notCertified(t, ca, key)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	notCertified(t, ca, key)
}

func notCertified(t *testing.T, ca *pki.CA, key any) {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	csr, err := pki.ParseRequest(csrPEM(der))
	must(t, err)
	if _, err := ca.Sign(csr, pki.Request{ID: id(t, "spiffe://clinic/app/web")}); err == nil || !strings.Contains(err.Error(), "is not certified") {
		t.Errorf("%T: %v", key, err)
	}
}

func TestALeafTakesOnlyWhatBelongsTogether(t *testing.T) {
	ca, other := newCA(t, "clinic"), newCA(t, "clinic")
	key, text, err := pki.NewRequest(pki.ECDSA)
	must(t, err)
	csr, err := pki.ParseRequest(text)
	must(t, err)
	cert, err := ca.Sign(csr, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	must(t, err)
	if _, err := pki.NewLeaf(key, cert, ca.Roots()); err != nil {
		t.Error(err)
	}
	stranger, _, err := pki.NewRequest(pki.ECDSA)
	must(t, err)
	for name, c := range map[string]struct {
		err  func() error
		says string
	}{
		"another key":    {func() error { _, err := pki.NewLeaf(stranger, cert, ca.Roots()); return err }, "not for this host's key"},
		"another CA":     {func() error { _, err := pki.NewLeaf(key, cert, other.Roots()); return err }, "does not stand under"},
		"no CA":          {func() error { _, err := pki.NewLeaf(key, cert, nil); return err }, "does not stand under"},
		"itself as a CA": {func() error { _, err := pki.NewLeaf(key, cert, []*x509.Certificate{cert}); return err }, "not a CA's"},
	} {
		if err := c.err(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseRequest reads what strangers send.
func FuzzParseRequest(f *testing.F) {
	ca, err := pki.Create(f.TempDir(), "clinic", pki.Options{})
	if err != nil {
		f.Fatal(err)
	}
	_, text, err := pki.NewRequest(pki.ECDSA)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		csr, err := pki.ParseRequest(data)
		if err != nil {
			return
		}
		cert, err := ca.Sign(csr, pki.Request{ID: id(t, "spiffe://clinic/app/web"), Life: 1})
		if err != nil {
			return
		}
		if csr.CheckSignature() != nil {
			t.Fatal("a key was certified that never signed")
		}
		if !bytes.Equal(cert.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo) || cert.IsCA || len(cert.URIs) != 1 ||
			cert.URIs[0].String() != "spiffe://clinic/app/web" || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) != 0 {
			t.Fatalf("more than the key was taken: %v", cert.Subject)
		}
	})
}
