package sabotage_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// accessSabotages break who is let in, and who may read what lets in.
func accessSabotages() []sabotage {
	return slices.Concat(doorSabotages(), identitySabotages())
}

func doorSabotages() []sabotage {
	const cache, app = evidence.CacheHost, evidence.AppHost
	by := func(f front) func(*testing.T, *deployment) {
		return func(t *testing.T, d *deployment) { f.inFront(t, d) }
	}
	return []sabotage{
		{id: "RD-201", from: cache, how: "the tunnel takes who shows no certificate", broken: by(front{withoutCertificate: true})},
		{id: "RD-201", from: cache, how: "the tunnel answers who shows no certificate, if not in Redis's words", broken: by(front{withoutCertificate: true, answer: func([]byte) string {
			return "HTTP/1.0 400 Bad Request\r\n\r\n"
		}})},
		{id: "RD-202", from: cache, how: "the tunnel takes certificates of any CA", broken: by(front{anyCA: true})},
		{id: "RD-203", from: cache, how: "the tunnel doesn't look at the end of a certificate", broken: by(front{ended: true})},
		{id: "RD-204", from: cache, how: "the tunnel doesn't look at what was revoked", broken: by(front{revoked: true})},
		{id: "RD-204", from: cache, how: "the tunnel leaves connections up whose certificate is revoked", broken: by(front{lingers: true})},
		{id: "RD-204", from: cache, how: "the tunnel renews certificates that were just revoked", broken: by(front{renews: true})},
		{id: "RD-205", from: cache, how: "the tunnel takes certificates of any role", broken: by(front{anyRole: true})},
		{id: "RD-205", from: cache, how: "the tunnel looks at what a certificate is good for, and not at the role", broken: by(front{anyRoleThatAsks: true})},
		{id: "RD-206", from: app, how: "something behind the tunnel logs in for whoever comes", broken: func(t *testing.T, d *deployment) {
			front{upward: logIn(d.Password())}.inFront(t, d)
		}},
		{id: "RD-207", from: app, how: "every password is taken", broken: by(front{answer: func(request []byte) string {
			if says(request, "AUTH") {
				return "+OK\r\n"
			}
			return ""
		}})},
	}
}

func identitySabotages() []sabotage {
	const cache, app = evidence.CacheHost, evidence.AppHost
	return []sabotage{
		{id: "RD-208", from: app, how: "others can read app.env", broken: func(t *testing.T, d *deployment) {
			if err := os.Chmod(filepath.Join(d.Dir, "app.env"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-208", from: cache, how: "others can write in the directory of a key", broken: func(t *testing.T, d *deployment) {
			if err := os.Chmod(filepath.Join(d.Dir, "gateway"), 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-208", from: app, how: "the sidecar's key is another user's", broken: func(t *testing.T, d *deployment) {
			if err := os.Chown(filepath.Join(d.Dir, "sidecar/tls.pem"), 4242, -1); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-208", from: cache, how: "others can write the digests of the passwords", broken: func(t *testing.T, d *deployment) {
			if err := os.Chmod(d.target.Cache.Trusted[0], 0o666); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-208", from: app, how: "a key is reached by a link through a directory that others can write in", broken: func(t *testing.T, d *deployment) {
			open := filepath.Join(t.TempDir(), "open")
			if err := os.Mkdir(open, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(open, 0o777); err != nil { // whatever the umask
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(d.Dir, "sidecar"), filepath.Join(open, "sidecar")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(open, "sidecar"), filepath.Join(d.Dir, "sidecar")); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-209", from: app, how: "the host's certificate was not renewed and ends in a minute", broken: func(t *testing.T, d *deployment) {
			ending(t, d)
		}},
		{id: "RD-209", from: app, how: "the host has another host's certificate", broken: func(t *testing.T, d *deployment) {
			copied := filepath.Join(t.TempDir(), "tls.pem")
			if err := os.WriteFile(copied, read(t, d.Dir, "gateway/tls.pem"), 0o600); err != nil {
				t.Fatal(err)
			}
			// Found out by file alone: who connects with it is refused besides.
			d.target.Doors = nil
			d.target.App.Certificates.Certificate = copied
		}},
		{id: "RD-209", from: app, how: "the host's certificate is revoked", broken: func(t *testing.T, d *deployment) {
			copied := filepath.Join(t.TempDir(), "ca")
			if err := os.CopyFS(copied, os.DirFS(filepath.Join(d.Dir, "ca"))); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"ca.key", "issued"} { // CopyFS opens them to others
				if err := os.Chmod(filepath.Join(copied, file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			ca, err := pki.Open(copied, nil)
			if err != nil {
				t.Fatal(err)
			}
			id, err := identity.New("local", identity.App, "app")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ca.Revoke(id); err != nil {
				t.Fatal(err)
			}
			d.target.App.Certificates.CRL = filepath.Join(copied, "revoked.crl")
		}},
		{id: "RD-209", from: app, how: "the CA ends in ten days", broken: func(t *testing.T, d *deployment) {
			ca, err := pki.Create(filepath.Join(t.TempDir(), "ca"), "local", pki.Options{Life: 10 * 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			id, err := identity.New("local", identity.App, "app")
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := ca.Issue(pki.Request{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := leaf.Save(dir); err != nil {
				t.Fatal(err)
			}
			d.target.Doors = nil // the gateway is under another CA
			d.target.App.Certificates = tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt")}
		}},
		{id: "RD-210", from: app, how: "another gateway of the deployment answers", broken: func(t *testing.T, d *deployment) {
			other := anotherGateway(t, d)
			front{certificate: &other}.inFront(t, d)
		}},
		{id: "RD-211", from: app, how: "something before the sidecar logs in for whoever comes", broken: func(t *testing.T, d *deployment) {
			d.target.App.Listen = meddler(t, "tcp", d.Sidecar, logIn(d.Password()), nil)
		}},
		{id: "RD-213", from: app, how: "something before the sidecar takes every password", broken: func(t *testing.T, d *deployment) {
			d.target.App.Listen = meddler(t, "tcp", d.Sidecar, nil, func(request []byte) string {
				if says(request, "AUTH") {
					return "+OK\r\n"
				}
				return ""
			})
		}},
		{id: "RD-212", from: app, alone: true, how: "the sidecar listens on every address", args: []string{"--listen", "0.0.0.0:0", "--allow-non-loopback"}},
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func anotherGateway(t *testing.T, d *deployment) tls.Certificate {
	t.Helper()
	ca, err := pki.Open(filepath.Join(d.Dir, "ca"), nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New("local", identity.Gateway, "other")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(pki.Request{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Pair()
}

// ending gives the application host a certificate that lives for a minute more.
func ending(t *testing.T, d *deployment) {
	t.Helper()
	ca, err := pki.Open(filepath.Join(d.Dir, "ca"), nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New("local", identity.App, "app")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(pki.Request{ID: id, Life: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	text, err := leaf.PEM()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tls.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d.target.App.Certificates.Certificate = file
}

// TestAVerificationRevokesNobodyElse: the certificates that it tries are its own, even
// where a host has the name that theirs begin with, and none of them outlives it.
func TestAVerificationRevokesNobodyElse(t *testing.T) {
	d := up1(t, sabotage{from: evidence.CacheHost})
	ca, err := pki.Open(filepath.Join(d.Dir, "ca"), nil)
	if err != nil {
		t.Fatal(err)
	}
	host, err := identity.New("local", identity.App, "redoubt-verify")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue(pki.Request{ID: host}); err != nil {
		t.Fatal(err)
	}
	before := len(issued(t, ca))
	checks := slices.DeleteFunc(verify.Checks(), func(c verify.Check) bool { return c.ID != "RD-203" && c.ID != "RD-204" && c.ID != "RD-205" })
	for _, c := range verify.Run(t.Context(), d.target, checks, verify.Options{}).Checks {
		if c.Outcome != evidence.Pass {
			t.Errorf("%s: %s, %s", c.ID, c.Outcome, c.Detail)
		}
	}
	after := issued(t, ca)
	if len(after) != before+3 {
		t.Errorf("certificates on record: %d, then %d", before, len(after))
	}
	for i, c := range after {
		if want := i < before; (c.Status == pki.Living) != want {
			t.Errorf("%s is %s", c.Identity, c.Status)
		}
	}
}

func issued(t *testing.T, ca *pki.CA) []pki.Issued {
	t.Helper()
	list, err := ca.Issued()
	if err != nil {
		t.Fatal(err)
	}
	return list
}
