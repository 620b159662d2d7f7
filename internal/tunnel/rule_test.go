package tunnel_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// corporate is a CA that knows nothing of Redoubt.
type corporate struct {
	t    *testing.T
	root tls.Certificate
	cert *x509.Certificate
}

func newCorporate(t *testing.T) *corporate {
	t.Helper()
	root := sign(t, nil, asCA("corporate"), nil, nil)
	cert, err := x509.ParseCertificate(root.Certificate[0])
	must(t, err)
	return &corporate{t, root, cert}
}

func (c *corporate) issue(uris, dns []string) tls.Certificate {
	c.t.Helper()
	return sign(c.t, uris, func(x *x509.Certificate) { x.DNSNames = dns }, c.cert, c.root.PrivateKey.(crypto.Signer))
}

func (c *corporate) host(rules []tunnel.Rule, uris, dns []string) (*tunnel.Credentials, error) {
	c.t.Helper()
	dir := c.t.TempDir()
	write(c.t, dir, c.issue(uris, dns))
	save(c.t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root.Certificate[0]}), dir, "ca.crt")
	return tunnel.LoadCredentials(tunnel.Files{Certificate: dir + "/tls.pem", CA: dir + "/ca.crt"}, rules...)
}

func rules(t *testing.T, lines ...string) (list []tunnel.Rule) {
	t.Helper()
	for _, line := range lines {
		f := strings.Fields(line) // role, pattern, name
		r, err := tunnel.ParseRule("clinic", identity.Role(f[0]), f[1], strings.Join(f[2:], ""))
		must(t, err)
		list = append(list, r)
	}
	return list
}

func TestCertificatesAreNamedByRules(t *testing.T) {
	c := newCorporate(t)
	r := rules(t, "gateway dns:cache.clinic.example cache-1", "app dns:*.web.clinic.example", "app uri:spiffe://corp.example/ns/prod/sa/*")
	gateway, err := c.host(r, nil, []string{"cache.clinic.example", "unrelated.example"})
	must(t, err)
	if gateway.ID().String() != "spiffe://clinic/gateway/cache-1" {
		t.Fatal(gateway.ID())
	}
	for _, a := range []struct {
		name      string
		uris, dns []string
		who, says string // one of the two
	}{
		{"a DNS name", nil, []string{"a1.web.clinic.example"}, "spiffe://clinic/app/a1", ""},
		{"a URI", []string{"spiffe://corp.example/ns/prod/sa/billing"}, nil, "spiffe://clinic/app/billing", ""},
		{"two names of one host", []string{"spiffe://corp.example/ns/prod/sa/a1"}, []string{"a1.web.clinic.example"}, "spiffe://clinic/app/a1", ""},
		{"two hosts", nil, []string{"a1.web.clinic.example", "a2.web.clinic.example"}, "", "is that of"},
		{"an application host that is the gateway too", nil, []string{"a1.web.clinic.example", "cache.clinic.example"}, "", "is that of"},
		{"the gateway", nil, []string{"cache.clinic.example"}, "", "role must be"},
		{"a wildcard", nil, []string{"*.web.clinic.example"}, "", "no name that a rule"},
		{"a deeper name", nil, []string{"a.b.web.clinic.example"}, "", "no name that a rule"},
		{"the star empty", nil, []string{".web.clinic.example"}, "", "no name that a rule"},
		{"a longer name", nil, []string{"a1.web.clinic.example.evil.example"}, "", "no name that a rule"},
		{"a name in capitals", nil, []string{"A1.web.clinic.example"}, "", "no name that a rule"},
		{"a deeper path", []string{"spiffe://corp.example/ns/prod/sa/x/y"}, nil, "", "no name that a rule"},
		{"an identity of ours that no rule knows", []string{"spiffe://clinic/app/a1"}, nil, "", "no name that a rule"},
		{"nothing", nil, nil, "", "no name that a rule"},
	} {
		t.Run(a.name, func(t *testing.T) {
			client := anybody(c.issue(a.uris, a.dns))
			o := connect(t, gateway.ServerConfig(), client)
			if a.who == "" {
				refused(t, "server", o.server, a.says)
				return
			}
			if o.server != nil {
				t.Fatal(o.server)
			}
			if peer, err := gateway.Peer(o.serverState); err != nil || peer.ID.String() != a.who {
				t.Errorf("%s, %v", peer.ID, err)
			}
			app, err := c.host(r, a.uris, a.dns)
			must(t, err)
			if o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID())); o.client != nil || o.server != nil {
				t.Errorf("as a sidecar: %v, %v", o.client, o.server)
			}
		})
	}
	// The rules of a host don't make another CA's certificate good.
	other := newCorporate(t)
	refused(t, "server", connect(t, gateway.ServerConfig(), anybody(other.issue(nil, []string{"a1.web.clinic.example"}))).server, "unknown authority")
}

func TestRulesThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []struct{ pattern, name, says string }{
		{"web.clinic.example", "web", "neither dns:NAME nor uri:URI"},
		{"ip:10.0.0.1", "web", "neither"},
		{"dns:", "web", "neither"},
		{"dns:*.*.example", "", "more than one star"},
		{"dns:*.web.example", "web", "stands for the name"},
		{"dns:web.example", "", "a name is needed"},
		{"dns:web.example", "Web", "lower case"},
	} {
		if _, err := tunnel.ParseRule("clinic", identity.App, c.pattern, c.name); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q %q: %v, want it to say %q", c.pattern, c.name, err, c.says)
		}
	}
}
