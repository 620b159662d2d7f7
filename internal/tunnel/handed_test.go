package tunnel_test

import (
	"crypto"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// handed is what an agent would hand over for a host of the deployment.
func (d *deployment) handed(uri string, change func(*x509.Certificate)) tunnel.Handed {
	d.t.Helper()
	pair := d.forge([]string{uri}, change)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	must(d.t, err)
	return tunnel.Handed{Chain: []*x509.Certificate{leaf}, Key: pair.PrivateKey.(crypto.Signer), Roots: []*x509.Certificate{d.ca.Certificate()}}
}

const webURI = "spiffe://clinic/app/web"

func TestHandedCredentialsServeLikeFiles(t *testing.T) {
	d := deploy(t, "clinic")
	gateway, err := tunnel.HandedCredentials(d.handed("spiffe://clinic/gateway/cache", nil))
	must(t, err)
	app, err := tunnel.HandedCredentials(d.handed(webURI, nil))
	must(t, err)
	if o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID())); o.server != nil || o.client != nil {
		t.Errorf("server %v, client %v", o.server, o.client)
	}
	must(t, app.Reload()) // there is nothing to read
	until, changed := app.NotAfter(), app.Changed()
	must(t, app.Replace(d.handed(webURI, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Hour) })))
	if !app.NotAfter().After(until) {
		t.Error("the old certificate is in force")
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID())); o.server != nil || o.client != nil {
		t.Errorf("server %v, client %v", o.server, o.client)
	}
}

func TestHandedCredentialsThatCantWorkAreRefused(t *testing.T) {
	d, other := deploy(t, "clinic"), deploy(t, "clinic")
	good := d.handed(webURI, nil)
	app, err := tunnel.HandedCredentials(good)
	must(t, err)
	with := func(change func(*tunnel.Handed)) tunnel.Handed { h := d.handed(webURI, nil); change(&h); return h }
	for name, c := range map[string]struct {
		handed tunnel.Handed
		says   string
	}{
		"nothing":                {tunnel.Handed{}, "missing"},
		"no key":                 {with(func(h *tunnel.Handed) { h.Key = nil }), "missing"},
		"no roots":               {with(func(h *tunnel.Handed) { h.Roots = nil }), "missing"},
		"another key":            {with(func(h *tunnel.Handed) { h.Key = good.Key }), "not the key"},
		"another CA":             {with(func(h *tunnel.Handed) { h.Roots = []*x509.Certificate{other.ca.Certificate()} }), "does not stand under"},
		"a host among the roots": {with(func(h *tunnel.Handed) { h.Roots = append(h.Roots, h.Chain[0]) }), "not a CA's"},
		"a CA as the host":       {d.handed(webURI, func(c *x509.Certificate) { c.IsCA = true }), "is a CA's"},
		"expired":                {d.handed(webURI, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "expired"},
		"a usage no peer takes":  {d.handed(webURI, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "incompatible key usage"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tunnel.HandedCredentials(c.handed); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if err := app.Replace(c.handed); err == nil || !app.Certificate().Equal(good.Chain[0]) {
				t.Errorf("it replaces what works: %v", err)
			}
		})
	}
	another := d.handed(d.id(identity.App, "web-2").String(), nil)
	if err := app.Replace(another); err == nil || !strings.Contains(err.Error(), "restart to become another") {
		t.Errorf("another host's: %v", err)
	}
}
