package tunnel_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// crl makes a revocation list as the deployment's CA would.
func (d *deployment) crl(number int64, change func(*x509.RevocationList), certs ...*x509.Certificate) []byte {
	d.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, d.ca.Certificate(), d.key())
	must(d.t, err)
	return crlPEM(der)
}

func crlPEM(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}) }

func loadAll(dir string) (*tunnel.Credentials, error) {
	return tunnel.LoadCredentials(tunnel.Files{
		Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl"),
	})
}

func leafIn(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	certs, err := pki.Read(filepath.Join(dir, "tls.pem"))
	must(t, err)
	return certs[0]
}

func save(t *testing.T, data []byte, elem ...string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(elem...), data, 0o600))
}

func TestARevokedHostIsRefusedByBothEnds(t *testing.T) {
	d := deploy(t, "clinic")
	gatewayDir, appDir, otherDir := d.host(identity.Gateway, "cache"), d.host(identity.App, "web"), d.host(identity.App, "other")
	gateway, err := loadAll(gatewayDir)
	must(t, err)
	app, err := loadAll(appDir)
	must(t, err)
	other, err := loadAll(otherDir)
	must(t, err)
	meet := func(a *tunnel.Credentials) outcome {
		return connect(t, gateway.ServerConfig(), a.ClientConfig(gateway.ID()))
	}
	if o := meet(app); o.server != nil || o.client != nil {
		t.Fatal(o.server, o.client)
	}
	list := d.crl(1, nil, leafIn(t, appDir))
	save(t, list, gatewayDir, "revoked.crl")
	must(t, gateway.Reload())
	refused(t, "server", meet(app).server, "the certificate of spiffe://clinic/app/web is revoked")
	if o := meet(other); o.server != nil || o.client != nil {
		t.Errorf("who isn't revoked: %v, %v", o.server, o.client)
	}
	again, err := loadAll(gatewayDir) // a restart
	must(t, err)
	refused(t, "server", connect(t, again.ServerConfig(), app.ClientConfig(gateway.ID())).server, "is revoked")

	save(t, d.crl(2, nil, leafIn(t, gatewayDir)), otherDir, "revoked.crl")
	must(t, other.Reload())
	refused(t, "client", meet(other).client, "the certificate of spiffe://clinic/gateway/cache is revoked")
}

func TestBelievesSaysWhatHasChangedSinceTheHandshake(t *testing.T) {
	d := deploy(t, "clinic")
	gatewayDir, appDir := d.host(identity.Gateway, "cache"), d.host(identity.App, "web")
	gateway, err := loadAll(gatewayDir)
	must(t, err)
	app, err := loadAll(appDir)
	must(t, err)
	o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID()))
	peer, err := gateway.Peer(o.serverState)
	must(t, err)
	must(t, gateway.Believes(peer))

	changed := gateway.Changed()
	save(t, d.crl(1, nil, leafIn(t, appDir)), gatewayDir, "revoked.crl")
	must(t, gateway.Reload())
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	refused(t, "gateway", gateway.Believes(peer), "is revoked")

	// The CA goes: the gateway has a certificate of the next one already.
	next := deploy(t, "clinic")
	must(t, os.Remove(filepath.Join(gatewayDir, "revoked.crl")))
	for _, name := range []string{"tls.pem", "ca.crt"} {
		data, err := os.ReadFile(filepath.Join(next.host(identity.Gateway, "cache"), name))
		must(t, err)
		save(t, data, gatewayDir, name)
	}
	if err := gateway.Reload(); err == nil { // the two came from two calls of host: not a pair
		refused(t, "gateway", gateway.Believes(peer), "believed no longer")
	} else {
		t.Fatal(err)
	}
}

func TestTwoRootsOverlap(t *testing.T) {
	old, next := deploy(t, "clinic"), deploy(t, "clinic")
	both := append(rootPEM(old), rootPEM(next)...)
	host := func(d *deployment, role identity.Role, name string) *tunnel.Credentials {
		dir := d.host(role, name)
		save(t, both, dir, "ca.crt")
		c, err := loadAll(dir)
		must(t, err)
		return c
	}
	for _, g := range []*tunnel.Credentials{host(old, identity.Gateway, "cache"), host(next, identity.Gateway, "cache")} {
		for _, a := range []*tunnel.Credentials{host(old, identity.App, "web"), host(next, identity.App, "web")} {
			if o := connect(t, g.ServerConfig(), a.ClientConfig(g.ID())); o.server != nil || o.client != nil {
				t.Errorf("%v, %v", o.server, o.client)
			}
		}
	}
	// Each root's list speaks of its own certificates: the same serial under the
	// other one is somebody else.
	dir := old.host(identity.Gateway, "cache")
	save(t, both, dir, "ca.crt")
	serial := leafIn(t, old.host(identity.App, "web"))
	save(t, append(old.crl(7, nil), next.crl(3, nil, serial)...), dir, "revoked.crl")
	g, err := loadAll(dir)
	must(t, err)
	mine := old.forge([]string{"spiffe://clinic/app/web"}, func(c *x509.Certificate) { c.SerialNumber = serial.SerialNumber })
	theirs := next.forge([]string{"spiffe://clinic/app/web"}, func(c *x509.Certificate) { c.SerialNumber = serial.SerialNumber })
	if o := connect(t, g.ServerConfig(), anybody(mine)); o.server != nil {
		t.Errorf("%v", o.server)
	}
	refused(t, "server", connect(t, g.ServerConfig(), anybody(theirs)).server, "is revoked")
}

func rootPEM(d *deployment) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.ca.Certificate().Raw})
}

// TestARevokedIntermediateTakesItsHostsAlong: the CA of another maker.
func TestARevokedIntermediateTakesItsHostsAlong(t *testing.T) {
	d := deploy(t, "clinic")
	root := sign(t, nil, func(c *x509.Certificate) {
		asCA("root")(c)
		c.KeyUsage |= x509.KeyUsageCRLSign
	}, nil, nil)
	rootCert, err := x509.ParseCertificate(root.Certificate[0])
	must(t, err)
	middle := sign(t, nil, asCA("middle"), rootCert, root.PrivateKey.(crypto.Signer))
	middleCert, err := x509.ParseCertificate(middle.Certificate[0])
	must(t, err)
	chained := func(uri string) tls.Certificate {
		leaf := sign(t, []string{uri}, nil, middleCert, middle.PrivateKey.(crypto.Signer))
		leaf.Certificate = append(leaf.Certificate, middle.Certificate[0])
		return leaf
	}
	dir := t.TempDir()
	write(t, dir, chained(d.id(identity.Gateway, "cache").String()))
	save(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate[0]}), dir, "ca.crt")
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: middleCert.SerialNumber, RevocationTime: time.Now()}},
	}, rootCert, root.PrivateKey.(crypto.Signer))
	must(t, err)
	save(t, crlPEM(der), dir, "revoked.crl")
	g, err := loadAll(dir)
	must(t, err)
	refused(t, "server", connect(t, g.ServerConfig(), anybody(chained("spiffe://clinic/app/web"))).server, "is revoked")
}

// TestAListThatIsNoGoodChangesNothing offers each to a gateway at its start and
// to one that has a good list, and that list stays in force.
func TestAListThatIsNoGoodChangesNothing(t *testing.T) {
	d, foreign := deploy(t, "clinic"), deploy(t, "clinic")
	app := d.host(identity.App, "web")
	good := d.crl(5, nil, leafIn(t, app))
	block, _ := pem.Decode(good)
	forged := bytes.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name, says string
		list       []byte
		startsWith bool // a gateway may start with it
	}{
		{"an older one", "older one than 5", d.crl(4, nil), true},
		{"none", "has gone", nil, true},
		{"an empty file", "holds no revocation list", []byte{}, false},
		{"junk", "holds no revocation list", []byte("junk"), false},
		{"half of it", "holds no revocation list", good[:len(good)/2], false},
		{"another CA's of the same name", "of a CA that is believed here", foreign.crl(9, nil), false},
		{"a broken signature", "is not signed by that CA", crlPEM(forged), false},
		{"two of one CA", "two lists", append(d.crl(6, nil), d.crl(7, nil)...), false},
		{"a certificate", `"CERTIFICATE"`, rootPEM(d), false},
		{"broken DER", "can't be read", crlPEM([]byte{0x30, 3, 1, 2, 3}), false},
		{"changes only", "critical extension 2.5.29.27", d.crl(6, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}), false},
		{"an indirect entry", "critical extension 2.5.29.29", d.crl(6, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: time.Now(),
				ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}
		}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := d.host(identity.Gateway, "cache")
			path := filepath.Join(dir, "revoked.crl")
			if c.list != nil {
				save(t, c.list, path)
			}
			if _, err := loadAll(dir); (err == nil) != c.startsWith {
				t.Errorf("at the start: %v", err)
			}
			save(t, good, path)
			gateway, err := loadAll(dir)
			must(t, err)
			must(t, os.Remove(path))
			if c.list != nil {
				save(t, c.list, path)
			}
			err = gateway.Reload()
			refused(t, "reload", err, c.says)
			refused(t, "reload", err, path)
			web, err := load(app)
			must(t, err)
			refused(t, "server", connect(t, gateway.ServerConfig(), web.ClientConfig(gateway.ID())).server, "is revoked")
		})
	}
}

// TestARevocationIsTakenInWhateverIsWrongBeside: a gateway that could not renew
// must still cut whom it is told to.
func TestARevocationIsTakenInWhateverIsWrongBeside(t *testing.T) {
	d := deploy(t, "clinic")
	dir, app := d.host(identity.Gateway, "cache"), d.host(identity.App, "web")
	gateway, err := loadAll(dir)
	must(t, err)
	web, err := load(app)
	must(t, err)
	peer, err := gateway.Peer(connect(t, gateway.ServerConfig(), web.ClientConfig(gateway.ID())).serverState)
	must(t, err)
	write(t, dir, d.forge([]string{gateway.ID().String()}, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }))
	save(t, d.crl(1, nil, leafIn(t, app)), dir, "revoked.crl")
	refused(t, "reload", gateway.Reload(), "expired")
	refused(t, "gateway", gateway.Believes(peer), "is revoked")
}

func TestReloadNeverBecomesSomebodyElse(t *testing.T) {
	d := deploy(t, "clinic")
	dir := d.host(identity.Gateway, "cache")
	c, err := loadAll(dir)
	must(t, err)
	data, err := os.ReadFile(filepath.Join(d.host(identity.Gateway, "other"), "tls.pem"))
	must(t, err)
	save(t, data, dir, "tls.pem")
	refused(t, "reload", c.Reload(), "is the certificate of spiffe://clinic/gateway/other, and this is spiffe://clinic/gateway/cache")
}

// lines is a log that tests wait on.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// watchOffset keeps what a test writes apart from the moments at which the
// files are looked at.
const watchOffset = 100 * time.Millisecond

// watched runs f in a bubble of time of its own, with a gateway that watches its
// files: a second's sleep there takes no time.
func watched(t *testing.T, f func(t *testing.T, d *deployment, dir string, c *tunnel.Credentials, log *lines)) {
	synctest.Test(t, func(t *testing.T) {
		d := deploy(t, "clinic")
		dir := filepath.Join(t.TempDir(), "cache")
		leaf, err := d.ca.Issue(pki.Request{ID: d.id(identity.Gateway, "cache"), Life: 4 * time.Hour})
		must(t, err)
		must(t, leaf.Save(dir))
		c, err := loadAll(dir)
		must(t, err)
		log := new(lines)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Watch(ctx, slog.New(slog.NewTextHandler(log, nil))) }()
		time.Sleep(watchOffset)
		f(t, d, dir, c, log)
		stop()
		<-done
	})
}

func TestWatchTakesInWhatChangesWithinASecond(t *testing.T) {
	watched(t, func(t *testing.T, d *deployment, dir string, c *tunnel.Credentials, log *lines) {
		time.Sleep(time.Hour) // so that the next certificate ends later
		ends := c.NotAfter()
		data, err := os.ReadFile(filepath.Join(d.host(identity.Gateway, "cache"), "tls.pem"))
		must(t, err)
		save(t, data, dir, "tls.pem")
		time.Sleep(time.Second)
		if !c.NotAfter().After(ends) || log.count("a new certificate is in use") != 1 {
			t.Errorf("ends %s as before, log: %s", c.NotAfter(), log.text.String())
		}
		save(t, d.crl(1, nil, leafIn(t, dir)), dir, "revoked.crl")
		time.Sleep(time.Second)
		if log.count("the list of revoked certificates has changed") != 1 {
			t.Errorf("log: %s", log.text.String())
		}
	})
}

// TestWatchKeepsTheLastGoodFiles truncates and garbles each file in turn, as a
// full disk or a hand does.
func TestWatchKeepsTheLastGoodFiles(t *testing.T) {
	watched(t, func(t *testing.T, d *deployment, dir string, c *tunnel.Credentials, log *lines) {
		ends := c.NotAfter()
		complaints := 0
		for _, name := range []string{"tls.pem", "ca.crt"} {
			good, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			for _, bad := range [][]byte{nil, good[:len(good)/2], []byte("junk"), bytes.ReplaceAll(good, []byte("A"), []byte("B"))} {
				save(t, bad, dir, name)
				time.Sleep(time.Minute)
				if complaints++; log.count("are not taken in") != complaints {
					t.Errorf("%s: %d complaints of %d: %s", name, log.count("are not taken in"), complaints, log.text.String())
				}
				if !c.NotAfter().Equal(ends) {
					t.Error("another certificate is in use")
				}
				save(t, good, dir, name)
				time.Sleep(time.Second)
			}
		}
	})
}

func TestTheEndOfACertificateIsAnnounced(t *testing.T) {
	watched(t, func(t *testing.T, d *deployment, dir string, c *tunnel.Credentials, log *lines) {
		life := time.Until(c.NotAfter())
		time.Sleep(life * 7 / 10)
		if log.count("ends soon") != 0 {
			t.Error("announced too soon")
		}
		time.Sleep(life * 2 / 10)
		if n := log.count("ends soon"); n != 2 { // a quarter, an eighth
			t.Errorf("%d warnings", n)
		}
		time.Sleep(life/10 + time.Second)
		if n := log.count("ends soon"); n < 5 || n > 25 || log.count("has expired") != 1 {
			t.Errorf("%d warnings, %d of the end itself", n, log.count("has expired"))
		}
	})
}
