package tunnel_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestLoadedCredentialsKnowWhoTheyAre(t *testing.T) {
	d := deploy(t, "clinic")
	c := d.credentials(identity.App, "web")
	if c.ID() != d.id(identity.App, "web") {
		t.Errorf("it is %s", c.ID())
	}
	if left := time.Until(c.NotAfter()); left < pki.LeafLife-time.Hour || left > pki.LeafLife {
		t.Errorf("it lives %s", left)
	}
}

// write puts a key and its certificate where load looks for them.
func write(t *testing.T, dir string, cert tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	for _, der := range cert.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	must(t, os.WriteFile(filepath.Join(dir, "tls.pem"), text, 0o600))
}

// split makes two files of tls.pem, as other makers of certificates have them.
func split(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "tls.pem"))
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "tls.pem")))
	key, cert, ok := strings.Cut(string(text), "-----BEGIN CERTIFICATE-----")
	if !ok {
		t.Fatal("tls.pem doesn't hold a key and then a certificate")
	}
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	must(t, os.WriteFile(certFile, []byte("-----BEGIN CERTIFICATE-----"+cert), 0o644))
	must(t, os.WriteFile(keyFile, []byte(key), 0o600))
	return certFile, keyFile
}

func TestKeyAndCertificateMayBeFilesOfTheirOwn(t *testing.T) {
	d := deploy(t, "clinic")
	dir := d.host(identity.App, "web")
	certFile, keyFile := split(t, dir)
	caFile := filepath.Join(dir, "ca.crt")
	c, err := tunnel.LoadCredentials(tunnel.Files{Certificate: certFile, Key: keyFile, CA: caFile})
	if err != nil || c.ID() != d.id(identity.App, "web") {
		t.Fatalf("%v", err)
	}
	otherKey := filepath.Join(d.host(identity.App, "web"), "tls.pem")
	for _, c := range []struct {
		name, cert, key string
		says            []string
	}{
		{"no key", certFile, filepath.Join(dir, "none.key"), []string{"none.key", "no such file"}},
		{"another key", certFile, otherKey, []string{certFile + " with " + otherKey, "not the key of this certificate"}},
		{"the certificate as the key", certFile, certFile, []string{"chmod 600"}},
	} {
		_, err := tunnel.LoadCredentials(tunnel.Files{Certificate: c.cert, Key: c.key, CA: caFile})
		for _, want := range c.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to say %q", c.name, err, want)
			}
		}
	}
	must(t, os.Chmod(certFile, 0o600))
	if _, err := tunnel.LoadCredentials(tunnel.Files{Certificate: certFile, CA: caFile}); err == nil || !strings.Contains(err.Error(), "no private key") {
		t.Errorf("no key where it belongs: %v", err)
	}
}

func TestLoadCredentialsRefusesAndSaysWhatToMend(t *testing.T) {
	d := deploy(t, "clinic")
	web := "spiffe://clinic/app/web"
	file := func(name string, change func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) { must(t, change(filepath.Join(dir, name))) }
	}
	mode := func(m os.FileMode) func(string) error { return func(p string) error { return os.Chmod(p, m) } }
	text := func(s string) func(string) error {
		return func(p string) error { return os.WriteFile(p, []byte(s), 0o600) }
	}
	forged := func(uris []string, change func(*x509.Certificate)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, dir, d.forge(uris, change)) }
	}
	for _, c := range []struct {
		name  string
		file  string // that the error must name
		says  string
		spoil func(*testing.T, string)
	}{
		{"no file", "tls.pem", "no such file", file("tls.pem", os.Remove)},
		{"no CA", "ca.crt", "no such file", file("ca.crt", os.Remove)},
		{"a key for the group", "tls.pem", "chmod 600", file("tls.pem", mode(0o640))},
		{"a key for everybody", "tls.pem", "chmod 600", file("tls.pem", mode(0o604))},
		{"an empty file", "tls.pem", "no certificate", file("tls.pem", text(""))},
		{"an empty CA", "ca.crt", "no CA certificate", file("ca.crt", text(""))},
		{"junk as a key", "tls.pem", "can't be read", file("tls.pem", func(p string) error {
			good, err := os.ReadFile(p)
			must(t, err)
			return os.WriteFile(p, append([]byte("-----BEGIN PRIVATE KEY-----\nSECR\n-----END PRIVATE KEY-----\n"), good...), 0o600)
		})},
		{"a key in the CA file", "ca.crt", "PRIVATE KEY", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(d.host(identity.App, "web"), "tls.pem"), filepath.Join(dir, "ca.crt")))
		}},
		{"another host's key", "tls.pem", "not the key of this certificate", func(t *testing.T, dir string) {
			other := d.host(identity.App, "web")
			_, key := split(t, other)
			cert, _ := split(t, dir)
			keyPEM, err := os.ReadFile(key)
			must(t, err)
			certPEM, err := os.ReadFile(cert)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "tls.pem"), append(keyPEM, certPEM...), 0o600))
		}},
		{"another deployment's CA", "ca.crt", "does not stand under", func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(deploy(t, "clinic").host(identity.App, "web"), "ca.crt"), filepath.Join(dir, "ca.crt")))
		}},
		{"a host's certificate as the CA", "ca.crt", "not a CA", func(t *testing.T, dir string) {
			cert, _ := split(t, d.host(identity.App, "web"))
			must(t, os.Rename(cert, filepath.Join(dir, "ca.crt")))
		}},
		{"a file without end", "tls.pem", "larger than", file("tls.pem", func(p string) error {
			return os.WriteFile(p, make([]byte, 1<<20+1), 0o600)
		})},
		{"expired", "tls.pem", "expired at", forged([]string{web}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })},
		{"not yet valid", "tls.pem", "clock", forged([]string{web}, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })},
		{"no identity", "tls.pem", "0 URIs", forged(nil, func(c *x509.Certificate) { c.DNSNames = []string{"web"} })},
		{"two identities", "tls.pem", "2 URIs", forged([]string{web, "spiffe://clinic/app/more"}, nil)},
		{"a usage that no peer would take", "tls.pem", "incompatible key usage", forged([]string{web}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})},
		{"a CA's own certificate", "tls.pem", "is a CA's", forged([]string{web}, func(c *x509.Certificate) { c.IsCA = true })},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := d.host(identity.App, "web")
			c.spoil(t, dir)
			_, err := load(dir)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), filepath.Join(dir, c.file)) {
				t.Errorf("%v, want it to say %q and name %s", err, c.says, c.file)
			}
			if err != nil && strings.Contains(err.Error(), "SECR") {
				t.Errorf("the error repeats the key: %v", err)
			}
		})
	}
}

// TestCertificatesOfAnotherMakerWork: a root and an intermediate, as other CAs
// have them, and without a name constraint, so that the deployment is ours to
// check.
func TestCertificatesOfAnotherMakerWork(t *testing.T) {
	d := deploy(t, "clinic")
	root := sign(t, nil, asCA("root"), nil, nil)
	rootCert, err := x509.ParseCertificate(root.Certificate[0])
	must(t, err)
	middle := sign(t, nil, asCA("middle"), rootCert, root.PrivateKey.(crypto.Signer))
	middleCert, err := x509.ParseCertificate(middle.Certificate[0])
	must(t, err)
	host := func(uri string) *tunnel.Credentials {
		dir := t.TempDir()
		leaf := sign(t, []string{uri}, nil, middleCert, middle.PrivateKey.(crypto.Signer))
		leaf.Certificate = append(leaf.Certificate, middle.Certificate[0])
		write(t, dir, leaf)
		must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate[0]}), 0o644))
		c, err := load(dir)
		must(t, err)
		return c
	}
	gateway, app := host(d.id(identity.Gateway, "cache").String()), host(d.id(identity.App, "web").String())
	if o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID())); o.server != nil || o.client != nil {
		t.Errorf("server %v, client %v", o.server, o.client)
	}
	// Another CA of the same root may well certify another deployment.
	stranger := sign(t, []string{"spiffe://lab/app/web"}, nil, middleCert, middle.PrivateKey.(crypto.Signer))
	stranger.Certificate = append(stranger.Certificate, middle.Certificate[0])
	refused(t, "server", connect(t, gateway.ServerConfig(), anybody(stranger)).server, `deployment must be "clinic"`)
	lab := host("spiffe://lab/gateway/cache")
	server := lab.ServerConfig()
	server.ClientAuth = tls.NoClientCert // it would refuse us before we refuse it
	refused(t, "client", connect(t, server, app.ClientConfig(lab.ID())).client, `deployment must be "clinic"`)
}

func asCA(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		c.Subject.CommonName = name
	}
}

// FuzzLoadCredentials feeds arbitrary files in the place of each of the two.
func FuzzLoadCredentials(f *testing.F) {
	names := [...]string{"tls.pem", "ca.crt"}
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
	dir := f.TempDir()
	if err := leaf.Save(dir); err != nil {
		f.Fatal(err)
	}
	good := map[string][]byte{}
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		good[name] = data
		f.Add(data, i)
		f.Add(data[:len(data)/2], i)
	}
	for _, seed := range []string{"", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"} {
		f.Add([]byte(seed), 0)
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, which int) {
		dir, spoilt := t.TempDir(), names[uint(which)%2]
		for name, content := range good {
			if name == spoilt {
				content = data
			}
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		c, err := load(dir)
		if err == nil && !strings.Contains(string(data), strings.Split(string(good[spoilt]), "\n")[1]) {
			t.Fatalf("%s: taken as %s", spoilt, c.ID())
		}
		if err != nil && (len(err.Error()) > 2000 || !strings.Contains(err.Error(), dir)) {
			t.Fatalf("%s: %v", spoilt, err)
		}
	})
}
