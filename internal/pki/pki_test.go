package pki_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

func newCA(t *testing.T, deployment string) *pki.CA {
	t.Helper()
	ca, err := pki.Create(t.TempDir(), deployment, pki.Options{})
	must(t, err)
	return ca
}

func id(t *testing.T, uri string) identity.ID {
	t.Helper()
	id, err := identity.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func issue(t *testing.T, ca *pki.CA, r pki.Request) *x509.Certificate {
	t.Helper()
	leaf, err := ca.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Certificate()
}

func verify(ca, leaf *x509.Certificate, usage x509.ExtKeyUsage) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

// under verifies a certificate against roots, as a peer does, by the clock of now.
func under(leaf *x509.Certificate, roots ...*x509.Certificate) error {
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

func TestAHostsCertificateServesOrAsksNeverBoth(t *testing.T) {
	ca := newCA(t, "clinic")
	gateway := issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/gateway/cache")})
	app := issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		as   x509.ExtKeyUsage
		good bool
	}{
		{"gateway as server", gateway, x509.ExtKeyUsageServerAuth, true},
		{"gateway as client", gateway, x509.ExtKeyUsageClientAuth, false},
		{"app as client", app, x509.ExtKeyUsageClientAuth, true},
		{"app as server", app, x509.ExtKeyUsageServerAuth, false},
	} {
		if err := verify(ca.Certificate(), c.cert, c.as); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestALeafIsExactlyWhatWasAskedFor(t *testing.T) {
	ca := newCA(t, "prod.clinic.example")
	who := id(t, "spiffe://prod.clinic.example/gateway/cache-1")
	before := time.Now()
	c := issue(t, ca, pki.Request{
		ID: who, DNS: []string{"cache-1.internal"},
		IPs: []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("::ffff:10.1.2.4"), netip.MustParseAddr("2001:db8::1")},
	})
	if len(c.URIs) != 1 || c.URIs[0].String() != who.String() {
		t.Errorf("URIs %v", c.URIs)
	}
	if len(c.DNSNames) != 1 || c.DNSNames[0] != "cache-1.internal" || len(c.IPAddresses) != 3 || len(c.IPAddresses[1]) != 4 {
		t.Errorf("names %v %v", c.DNSNames, c.IPAddresses)
	}
	if c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 1 || len(c.UnknownExtKeyUsage) != 0 {
		t.Errorf("CA %v, usage %v %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
	if back := before.Sub(c.NotBefore); back < pki.ClockSkew-time.Second || back > pki.ClockSkew+2*time.Second {
		t.Errorf("reaches back %s", back)
	}
	if life := c.NotAfter.Sub(before); life < pki.LeafLife-2*time.Second || life > pki.LeafLife+time.Minute {
		t.Errorf("lives %s", life)
	}
	again := issue(t, ca, pki.Request{ID: who})
	if again.SerialNumber.Cmp(c.SerialNumber) == 0 || string(again.RawSubjectPublicKeyInfo) == string(c.RawSubjectPublicKeyInfo) {
		t.Error("serial or key repeats")
	}
	if n := c.SerialNumber.BitLen(); n < 120-64 || n > 128 || c.SerialNumber.Sign() != 1 {
		t.Errorf("serial of %d bits", n)
	}
}

func TestIssueRefuses(t *testing.T) {
	ca := newCA(t, "clinic")
	app := id(t, "spiffe://clinic/app/web")
	for _, c := range []struct {
		name, says string
		r          pki.Request
	}{
		{"nobody", "no identity", pki.Request{}},
		{"another deployment", `"lab"`, pki.Request{ID: id(t, "spiffe://lab/app/web")}},
		{"an eternal life", "398 days", pki.Request{ID: app, Life: pki.MaxLeafLife + 1}},
		{"a life backwards", "life", pki.Request{ID: app, Life: -1}},
		{"a wildcard", "DNS", pki.Request{ID: app, DNS: []string{"*.clinic.example"}}},
		{"a broken DNS name", "DNS", pki.Request{ID: app, DNS: []string{"a\x00b"}}},
		{"no address", "address", pki.Request{ID: app, IPs: []netip.Addr{{}}}},
		{"every address", "address", pki.Request{ID: app, IPs: []netip.Addr{netip.IPv4Unspecified()}}},
	} {
		if _, err := ca.Issue(c.r); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", c.name, err, c.says)
		}
	}
}

func TestNoLeafOutlivesItsCA(t *testing.T) {
	ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{Life: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, ca, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	if !leaf.NotAfter.Equal(ca.Certificate().NotAfter) {
		t.Errorf("the leaf ends %s, the CA %s", leaf.NotAfter, ca.Certificate().NotAfter)
	}
}

func TestAnExpiredCASignsNothing(t *testing.T) {
	ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{Life: time.Nanosecond}) // over by the second it is written down to
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web")}); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

func TestACAIsFoundAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	for name, want := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600, "ca.crt": 0o644, "issued": 0o600, "revoked.crl": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v, want %04o", name, info.Mode(), err, want)
		}
	}
	loaded, err := pki.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Deployment() != "clinic" {
		t.Errorf("deployment %q", loaded.Deployment())
	}
	leaf := issue(t, loaded, pki.Request{ID: id(t, "spiffe://clinic/app/web")})
	if err := verify(ca.Certificate(), leaf, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
}

func TestACAIsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	first, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	if _, err := pki.Create(dir, "clinic", pki.Options{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	loaded, err := pki.Open(dir, nil)
	if err != nil || !loaded.Certificate().Equal(first.Certificate()) {
		t.Errorf("the first CA is gone: %v", err)
	}
}

func TestOpenRefusesAndSaysWhatToMend(t *testing.T) {
	for _, c := range []struct {
		name, says string
		spoil      func(t *testing.T, dir string)
	}{
		{"a key that the group can read", "chmod 600", func(t *testing.T, dir string) {
			must(t, os.Chmod(filepath.Join(dir, "ca.key"), 0o640))
		}},
		{"a key that everybody can read", "chmod 600", func(t *testing.T, dir string) {
			must(t, os.Chmod(filepath.Join(dir, "ca.key"), 0o604))
		}},
		{"another CA's key", "not the key of", func(t *testing.T, dir string) {
			other := t.TempDir()
			_, err := pki.Create(other, "clinic", pki.Options{})
			must(t, err)
			must(t, os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key")))
		}},
		{"a host's certificate", "not a CA", func(t *testing.T, dir string) {
			ca, err := pki.Open(dir, nil)
			must(t, err)
			leaf, err := ca.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web")})
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), pemOf(leaf.Certificate()), 0o644))
		}},
		{"no key", "ca.key", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "ca.key"))) }},
		{"an empty key", "private key", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "ca.key"), 0)) }},
		{"half a key", "private key", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "ca.key"), 100)) }},
		{"half a certificate", "certificate", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "ca.crt"), 300)) }},
		{"a device", "not a regular file", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "ca.crt")))
			must(t, os.Symlink("/dev/zero", filepath.Join(dir, "ca.crt")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := pki.Create(dir, "clinic", pki.Options{})
			must(t, err)
			c.spoil(t, dir)
			_, err = pki.Open(dir, nil)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want it to say %q and the file", err, c.says)
			}
		})
	}
}

func TestAHostsDirectoryNeverHoldsTheCAsKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	ca := newCA(t, "clinic")
	for range 2 { // the second replaces the first
		leaf, err := ca.Issue(pki.Request{ID: id(t, "spiffe://clinic/app/web")})
		must(t, err)
		must(t, leaf.Save(dir))
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	got := map[string]os.FileMode{}
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		got[e.Name()] = info.Mode().Perm()
	}
	if len(got) != 2 || got["tls.pem"] != 0o600 || got["ca.crt"] != 0o644 {
		t.Errorf("files %v", got)
	}
}

// TestOpenSSLAgrees asks an implementation that isn't ours, about the name
// constraint too.
func TestOpenSSLAgrees(t *testing.T) {
	dir := t.TempDir()
	ca := newCA(t, "clinic") // one label: a name constraint must work without a dot
	for _, uri := range []string{"spiffe://clinic/gateway/cache", "spiffe://clinic/app/web"} {
		leaf, err := ca.Issue(pki.Request{ID: id(t, uri)})
		must(t, err)
		must(t, leaf.Save(dir))
		purpose := map[identity.Role]string{identity.Gateway: "sslserver", identity.App: "sslclient"}[id(t, uri).Role()]
		out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", purpose,
			"-CAfile", filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.pem")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", uri, err, out)
		}
	}
}

func TestDescribeSaysWhatItIs(t *testing.T) {
	ca := newCA(t, "clinic")
	cert := issue(t, ca, pki.Request{
		ID: id(t, "spiffe://clinic/gateway/cache"), DNS: []string{"cache.internal"},
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Life: 36 * time.Hour,
	})
	d := pki.Describe(cert, time.Now())
	if d.Identity.String() != "spiffe://clinic/gateway/cache" || d.Role != "gateway" || d.CA ||
		d.DaysLeft != 1 || d.KeyType != "ECDSA P-256" || len(d.Fingerprint) != 64 || d.IPs[0] != "10.0.0.1" ||
		d.Subject != "CN=cache,OU=gateway,O=clinic" {
		t.Errorf("%+v", d)
	}
	if d := pki.Describe(cert, cert.NotAfter.Add(time.Hour)); d.DaysLeft != -1 {
		t.Errorf("an hour after its end: %d days left", d.DaysLeft)
	}
	text, err := json.Marshal(pki.Describe(ca.Certificate(), time.Now()))
	if err != nil || !strings.Contains(string(text), `"ca":true,"identity":"","role":"","uris":["spiffe://clinic"],"dns":[],"ips":[]`) {
		t.Errorf("%s, %v", text, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
