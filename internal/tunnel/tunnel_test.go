package tunnel_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deployment is a CA on disk, whose key the tests may misuse.
type deployment struct {
	t    *testing.T
	name string
	dir  string
	ca   *pki.CA
}

func deploy(t *testing.T, name string) *deployment {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.Create(dir, name, pki.Options{})
	must(t, err)
	return &deployment{t, name, dir, ca}
}

func (d *deployment) id(role identity.Role, name string) identity.ID {
	d.t.Helper()
	id, err := identity.New(d.name, role, name)
	must(d.t, err)
	return id
}

// host issues a certificate as the product does and returns its directory.
func (d *deployment) host(role identity.Role, name string) string {
	d.t.Helper()
	leaf, err := d.ca.Issue(pki.Request{ID: d.id(role, name)})
	must(d.t, err)
	dir := filepath.Join(d.t.TempDir(), name)
	must(d.t, leaf.Save(dir))
	return dir
}

func (d *deployment) credentials(role identity.Role, name string) *tunnel.Credentials {
	d.t.Helper()
	c, err := load(d.host(role, name))
	must(d.t, err)
	return c
}

func load(dir string) (*tunnel.Credentials, error) {
	return tunnel.LoadCredentials(tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt")})
}

// forge signs, with the deployment's own key, what pki would never sign.
func (d *deployment) forge(uris []string, change func(*x509.Certificate)) tls.Certificate {
	d.t.Helper()
	return sign(d.t, uris, change, d.ca.Certificate(), d.key())
}

func (d *deployment) key() crypto.Signer {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "ca.key"))
	must(d.t, err)
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(d.t, err)
	return key.(crypto.Signer)
}

// sign makes a certificate with both usages; without an issuer it signs itself.
func sign(t *testing.T, uris []string, change func(*x509.Certificate), issuer *x509.Certificate, issuerKey crypto.Signer) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		must(t, err)
		template.URIs = append(template.URIs, u)
	}
	if change != nil {
		change(template)
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), issuerKey)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// outcome is what both ends saw of one connection on which the client sends a
// byte and the server sends it back.
type outcome struct {
	server, client           error
	serverState, clientState tls.ConnectionState
}

func connect(t *testing.T, server, client *tls.Config) outcome {
	t.Helper()
	l, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := l.Accept()
		if err != nil {
			o.server = err
			return
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(time.Minute))
		conn := tls.Server(raw, server)
		var b [1]byte
		if _, o.server = conn.Read(b[:]); o.server == nil {
			_, o.server = conn.Write(b[:])
		}
		o.serverState = conn.ConnectionState()
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(time.Minute))
	conn := tls.Client(raw, client)
	if _, o.client = conn.Write([]byte{'x'}); o.client == nil {
		_, o.client = conn.Read(make([]byte, 1))
	}
	o.clientState = conn.ConnectionState()
	raw.Close()
	<-done
	return o
}

func TestBothEndsKnowEachOther(t *testing.T) {
	d := deploy(t, "clinic")
	gateway, app := d.credentials(identity.Gateway, "cache"), d.credentials(identity.App, "web")
	o := connect(t, gateway.ServerConfig(), app.ClientConfig(gateway.ID()))
	if o.server != nil || o.client != nil {
		t.Fatalf("server %v, client %v", o.server, o.client)
	}
	for end, c := range map[string]struct {
		us    *tunnel.Credentials
		state tls.ConnectionState
		peer  identity.ID
	}{"server": {gateway, o.serverState, app.ID()}, "client": {app, o.clientState, gateway.ID()}} {
		peer, err := c.us.Peer(c.state)
		if err != nil || peer.ID != c.peer {
			t.Errorf("%s sees %v, %v", end, peer, err)
		}
		if c.state.Version != tls.VersionTLS13 || c.state.CurveID != tls.X25519MLKEM768 || c.state.NegotiatedProtocol != tunnel.Relay {
			t.Errorf("%s: version %x, curve %v, protocol %q", end, c.state.Version, c.state.CurveID, c.state.NegotiatedProtocol)
		}
	}
}

// wrongs are certificates that must not pass, seen from both ends. The URIs are
// given the role that the end at hand wants, so that only the one thing is wrong.
func wrongs(t *testing.T, d *deployment, role identity.Role) map[string]struct {
	cert tls.Certificate
	says string
} {
	other := deploy(t, d.name) // the same names under another key
	right := d.id(role, "host").String()
	wrongRole := map[identity.Role]identity.Role{identity.App: identity.Gateway, identity.Gateway: identity.App}[role]
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	wrongUsage := map[identity.Role]x509.ExtKeyUsage{identity.App: x509.ExtKeyUsageServerAuth, identity.Gateway: x509.ExtKeyUsageClientAuth}[role]
	return map[string]struct {
		cert tls.Certificate
		says string
	}{
		"foreign CA with the same names": {other.forge([]string{right}, nil), "unknown authority"},
		"signed by itself":               {sign(t, []string{right}, nil, nil, nil), "unknown authority"},
		"expired": {d.forge([]string{right}, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		}), "expired"},
		"not yet valid": {d.forge([]string{right}, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		}), "not yet valid"},
		"wrong role":          {d.forge([]string{d.id(wrongRole, "host").String()}, nil), "role"},
		"wrong usage":         {d.forge([]string{right}, usage(wrongUsage)), "incompatible key usage"},
		"no usage fitting":    {d.forge([]string{right}, usage(x509.ExtKeyUsageCodeSigning)), "incompatible key usage"},
		"no URI":              {d.forge(nil, func(c *x509.Certificate) { c.DNSNames = []string{"host"} }), "0 URIs"},
		"two URIs":            {d.forge([]string{right, d.id(role, "more").String()}, nil), "2 URIs"},
		"the same URI twice":  {d.forge([]string{right, right}, nil), "2 URIs"},
		"another deployment":  {d.forge([]string{"spiffe://lab/" + string(role) + "/host"}, nil), "not permitted"},
		"no identity":         {d.forge([]string{"https://" + d.name + "/" + string(role) + "/host"}, nil), "spiffe://"},
		"a longer path":       {d.forge([]string{right + "/more"}, nil), "not of the form"},
		"a query":             {d.forge([]string{right + "?"}, nil), "only a-z"},
		"an escape":           {d.forge([]string{right[:len(right)-1] + "%74"}, nil), "only a-z"},
		"a CA as a host":      {d.forge([]string{right}, func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), "is a CA's"},
		"an empty fragment":   {d.forge([]string{right}, rawSAN(t, right+"#")), "only a-z"},
		"a scheme in capital": {d.forge([]string{right}, rawSAN(t, "SPIFFE"+right[len("spiffe"):])), "does not begin"},
	}
}

func TestGatewayRefusesEveryWrongClient(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	for name, wrong := range wrongs(t, d, identity.App) {
		t.Run(name, func(t *testing.T) {
			o := connect(t, gateway.ServerConfig(), anybody(wrong.cert))
			refused(t, "server", o.server, wrong.says)
			if o.client == nil {
				t.Error("the client got its answer")
			}
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		o := connect(t, gateway.ServerConfig(), &tls.Config{InsecureSkipVerify: true})
		refused(t, "server", o.server, "didn't provide a certificate")
	})
	t.Run("a certificate without its key", func(t *testing.T) {
		stolen := d.forge([]string{"spiffe://clinic/app/web"}, nil)
		stolen.PrivateKey, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		refused(t, "server", connect(t, gateway.ServerConfig(), anybody(stolen)).server, "invalid signature")
	})
}

func TestSidecarRefusesEveryWrongServer(t *testing.T) {
	d := deploy(t, "clinic")
	app := d.credentials(identity.App, "web")
	want := d.id(identity.Gateway, "host")
	cases := wrongs(t, d, identity.Gateway)
	cases["another gateway"] = struct {
		cert tls.Certificate
		says string
	}{d.forge([]string{d.id(identity.Gateway, "other").String()}, nil), "not spiffe://clinic/gateway/host"}
	for name, wrong := range cases {
		t.Run(name, func(t *testing.T) {
			server := &tls.Config{Certificates: []tls.Certificate{wrong.cert}, NextProtos: []string{tunnel.Relay}, ClientAuth: tls.RequestClientCert}
			refused(t, "client", connect(t, server, app.ClientConfig(want)).client, wrong.says)
		})
	}
	right := d.forge([]string{want.String()}, nil)
	t.Run("a server that agrees no protocol", func(t *testing.T) {
		server := &tls.Config{Certificates: []tls.Certificate{right}}
		refused(t, "client", connect(t, server, app.ClientConfig(want)).client, "does not speak redoubt/1")
	})
	t.Run("a certificate without its key", func(t *testing.T) {
		stolen := right
		stolen.PrivateKey, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		server := &tls.Config{Certificates: []tls.Certificate{stolen}, NextProtos: []string{tunnel.Relay}}
		refused(t, "client", connect(t, server, app.ClientConfig(want)).client, "")
	})
	t.Run("the right one, for comparison", func(t *testing.T) {
		server := &tls.Config{Certificates: []tls.Certificate{right}, NextProtos: []string{tunnel.Relay}}
		if o := connect(t, server, app.ClientConfig(want)); o.client != nil {
			t.Error(o.client)
		}
	})
}

func TestOldTLSIsRefused(t *testing.T) {
	d := deploy(t, "clinic")
	gateway, app := d.credentials(identity.Gateway, "host"), d.credentials(identity.App, "web")
	cert := d.forge([]string{"spiffe://clinic/app/web"}, nil)
	says := "unsupported versions"
	if fips140.Enabled() {
		says = "" // a client of ours can't even offer the oldest; gateway's tests have openssl do it
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		client := anybody(cert)
		client.MinVersion, client.MaxVersion = version, version
		refused(t, "server", connect(t, gateway.ServerConfig(), client).server, says)
		server := &tls.Config{
			Certificates: []tls.Certificate{d.forge([]string{gateway.ID().String()}, nil)},
			NextProtos:   []string{tunnel.Relay}, MinVersion: version, MaxVersion: version,
		}
		refused(t, "client", connect(t, server, app.ClientConfig(gateway.ID())).client, "protocol version")
	}
}

func TestOnlyTheThreeKeyExchangesAreTaken(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	for curve, good := range map[tls.CurveID]bool{
		tls.X25519MLKEM768: true, tls.X25519: !fips140.Enabled(), tls.CurveP256: true, tls.CurveP384: false, tls.CurveP521: false,
	} {
		client := anybody(d.forge([]string{"spiffe://clinic/app/web"}, nil))
		client.CurvePreferences = []tls.CurveID{curve}
		o := connect(t, gateway.ServerConfig(), client)
		if (o.client == nil) != good || good && o.clientState.CurveID != curve {
			t.Errorf("%v: %v, agreed on %v", curve, o.client, o.clientState.CurveID)
		}
	}
}

func TestProtocolIsAgreedOrAbsentNeverUnknown(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	for _, c := range []struct {
		offers []string
		agreed string
		good   bool
	}{
		{nil, "", true}, {[]string{"redoubt/1"}, "redoubt/1", true}, {[]string{"h2", "redoubt/1"}, "redoubt/1", true},
		{[]string{"h2", "http/1.1"}, "", false}, {[]string{"redoubt/2"}, "", false}, {[]string{"redoubt-enroll/1"}, "", false},
	} {
		client := anybody(d.forge([]string{"spiffe://clinic/app/web"}, nil))
		client.NextProtos = c.offers
		o := connect(t, gateway.ServerConfig(), client)
		if (o.client == nil) != c.good || o.serverState.NegotiatedProtocol != c.agreed {
			t.Errorf("%q: %v, agreed on %q", c.offers, o.client, o.serverState.NegotiatedProtocol)
		}
	}
}

// TestAResumingClientIsCheckedEachTime offers a session cache, which is all that
// a client needs to do where tickets are on.
func TestAResumingClientIsCheckedEachTime(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	server, err := gateway.ServerConfig().GetConfigForClient(&tls.ClientHelloInfo{})
	must(t, err)
	checks := 0
	check := server.VerifyConnection
	server.VerifyConnection = func(cs tls.ConnectionState) error { checks++; return check(cs) }
	client := anybody(d.forge([]string{"spiffe://clinic/app/web"}, nil))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	client.ServerName = "cache" // the cache's key: each connection here has a port of its own
	for range 3 {
		o := connect(t, server, client)
		if o.client != nil || o.clientState.DidResume || o.serverState.DidResume {
			t.Fatalf("%v, resumed %v %v", o.client, o.clientState.DidResume, o.serverState.DidResume)
		}
	}
	if checks != 3 {
		t.Errorf("%d checks of 3 connections", checks)
	}
	// The lock behind it: with tickets on, the check still runs.
	server.SessionTicketsDisabled = false
	checks = 0
	connect(t, server, client)
	o := connect(t, server, client)
	if !o.clientState.DidResume || checks != 2 {
		t.Errorf("resumed %v, %d checks of 2 connections", o.clientState.DidResume, checks)
	}
}

func TestPeerOfNobodyIsAnError(t *testing.T) {
	c := deploy(t, "clinic").credentials(identity.Gateway, "cache")
	if peer, err := c.Peer(tls.ConnectionState{}); err == nil || !peer.ID.IsZero() {
		t.Errorf("got %v", peer.ID)
	}
	if c.Believes(tunnel.Peer{}) == nil {
		t.Error("nobody is believed")
	}
}

// anybody is a client that believes every server and shows one certificate.
func anybody(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

func refused(t *testing.T, end string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want it to say %q", end, err, says)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
