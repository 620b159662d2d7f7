//go:build spiffe

package workload_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	api "github.com/redoubt-cache/redoubt/internal/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is a Workload API on a unix socket, by go-spiffe's own definition: what
// it says last goes to all who listen.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	t       *testing.T
	address string
	server  *grpc.Server

	mu      sync.Mutex
	says    *workload.X509SVIDResponse // nil: nothing for this process
	changed chan struct{}
}

func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	for {
		a.mu.Lock()
		says, changed := a.says, a.changed
		a.mu.Unlock()
		if says == nil {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if err := stream.Send(says); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (a *agent) say(r *workload.X509SVIDResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.says = r
	close(a.changed)
	a.changed = make(chan struct{})
}

// listen opens the socket, anew after a close.
func (a *agent) listen() {
	l, err := net.Listen("unix", strings.TrimPrefix(a.address, "unix://"))
	must(a.t, err)
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	a.server = server
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	a.t.Cleanup(func() { server.Stop(); <-served })
}

func startAgent(t *testing.T, says *workload.X509SVIDResponse) *agent {
	t.Helper()
	a := &agent{t: t, address: "unix://" + filepath.Join(t.TempDir(), "api.sock"), says: says, changed: make(chan struct{})}
	a.listen()
	return a
}

// authority signs as an agent's server does.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T, domain string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign("spiffe://"+domain, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	})
	return a
}

func (a *authority) sign(id string, change func(*x509.Certificate)) (*x509.Certificate, crypto.Signer) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	uri, err := url.Parse(id)
	must(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"agent"}}, URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(a.t, err)
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	return cert, key
}

// svid is an identity as the API sends it.
func (a *authority) svid(id string, change func(*x509.Certificate)) *workload.X509SVID {
	a.t.Helper()
	cert, key := a.sign(id, change)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	return &workload.X509SVID{SpiffeId: id, X509Svid: cert.Raw, X509SvidKey: der, Bundle: a.cert.Raw}
}

func says(svids ...*workload.X509SVID) *workload.X509SVIDResponse {
	return &workload.X509SVIDResponse{Svids: svids}
}

var web = mustID("clinic", identity.App, "web-1")

func mustID(deployment string, role identity.Role, name string) identity.ID {
	id, err := identity.New(deployment, role, name)
	if err != nil {
		panic(err)
	}
	return id
}

func TestTheNamedIdentityIsTakenOfSeveral(t *testing.T) {
	ca := newAuthority(t, "clinic")
	a := startAgent(t, says(ca.svid("spiffe://clinic/ns/default/sa/other", nil), ca.svid("spiffe://clinic/app/web-2", nil), ca.svid(web.String(), nil)))
	c, err := api.Load(t.Context(), a.address, web)
	must(t, err)
	if c.ID() != web || time.Until(c.NotAfter()) > time.Hour {
		t.Errorf("%s until %s", c.ID(), c.NotAfter())
	}
}

// TestRulesNameWhatTheAgentNamesOtherwise: a SPIFFE deployment has names of its own.
func TestRulesNameWhatTheAgentNamesOtherwise(t *testing.T) {
	ca := newAuthority(t, "corp.example")
	a := startAgent(t, says(ca.svid("spiffe://corp.example/ns/batch/sa/web-1", nil), ca.svid("spiffe://corp.example/ns/clinic/sa/web-1", nil)))
	rule, err := tunnel.ParseRule("clinic", identity.App, "uri:spiffe://corp.example/ns/clinic/sa/*", "")
	must(t, err)
	c, err := api.Load(t.Context(), a.address, web, rule)
	must(t, err)
	if uri := c.Certificate().URIs[0].Path; c.ID() != web || uri != "/ns/clinic/sa/web-1" {
		t.Errorf("%s by %s", c.ID(), uri)
	}
}

func TestAnAgentThatComesLateIsWaitedFor(t *testing.T) {
	ca := newAuthority(t, "clinic")
	a := startAgent(t, nil) // no registration entry yet
	asked := a.changed
	time.AfterFunc(700*time.Millisecond, func() { a.say(says(ca.svid(web.String(), nil))) })
	c, err := api.Load(t.Context(), a.address, web)
	must(t, err)
	select {
	case <-asked:
	default:
		t.Error("loaded before the agent had it")
	}
	if c.ID() != web {
		t.Error(c.ID())
	}
}

// TestWhatIsWrongIsNotLoaded: each is refused with its reason when the wait ends.
func TestWhatIsWrongIsNotLoaded(t *testing.T) {
	ca, other := newAuthority(t, "clinic"), newAuthority(t, "clinic")
	foreign := ca.svid(web.String(), nil)
	foreign.Bundle = other.cert.Raw
	swapped := ca.svid(web.String(), nil)
	swapped.X509SvidKey = ca.svid(web.String(), nil).X509SvidKey
	for name, c := range map[string]struct {
		says *workload.X509SVIDResponse
		want string
	}{
		"nobody is registered":   {nil, "no identity issued"},
		"another identity":       {says(ca.svid("spiffe://clinic/app/web-2", nil)), "is of spiffe://clinic/app/web-2"},
		"another trust domain":   {says(newAuthority(t, "lab").svid("spiffe://lab/app/web-1", nil)), "is of spiffe://lab/app/web-1"},
		"another CA's signature": {says(foreign), "does not stand under the CAs"},
		"another key":            {says(swapped), "key"},
		"expired":                {says(ca.svid(web.String(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })), "expired"},
		"no client's usage":      {says(ca.svid(web.String(), func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })), "incompatible key usage"},
		"junk":                   {says(&workload.X509SVID{SpiffeId: web.String(), X509Svid: []byte("junk"), X509SvidKey: []byte("SECRET"), Bundle: ca.cert.Raw}), "no identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startAgent(t, c.says)
			var err error
			for wait := time.Second; wait < time.Minute; wait *= 4 { // a busy machine may hear of it later
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				_, err = api.Load(ctx, a.address, web)
				if cancel(); err == nil || strings.Contains(err.Error(), c.want) {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), a.address) || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestNoAgentIsAnErrorThatNamesTheSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := api.Load(ctx, "unix:///nowhere/api.sock", web)
	if err == nil || !strings.Contains(err.Error(), "unix:///nowhere/api.sock") {
		t.Error(err)
	}
}

// record is a log that tells of each line.
type record struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
	return r.text.Write(b)
}

func (r *record) wait(t *testing.T, says string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		r.mu.Lock()
		text, changed := r.text.String(), r.changed
		r.mu.Unlock()
		if strings.Contains(text, says) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no line says %q:\n%s", says, text)
		}
	}
}

func exchanged(t *testing.T, c *tunnel.Credentials, by func()) {
	t.Helper()
	changed := c.Changed()
	by()
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("nothing was exchanged")
	}
}

func TestWatchFollowsTheAgentAndKeepsWhatWorks(t *testing.T) {
	ca := newAuthority(t, "clinic")
	a := startAgent(t, says(ca.svid(web.String(), nil)))
	c, err := api.Load(t.Context(), a.address, web)
	must(t, err)
	log := &record{changed: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	defer func() { stop(); <-done }()

	until := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }
	}
	exchanged(t, c, func() { // for what it says at first, once more
		go func() { defer close(done); api.Watch(ctx, a.address, c, slog.New(slog.NewTextHandler(log, nil))) }()
	})
	exchanged(t, c, func() { a.say(says(ca.svid(web.String(), until(2*time.Hour)))) })
	renewed := c.NotAfter()
	if time.Until(renewed) < 90*time.Minute {
		t.Errorf("until %s", renewed)
	}
	// What could not work, and what is of another host, isn't taken in.
	a.say(says(ca.svid("spiffe://clinic/app/web-2", until(3*time.Hour))))
	log.wait(t, "is of spiffe://clinic/app/web-2")
	a.say(says(ca.svid(web.String(), until(-time.Second))))
	log.wait(t, "expired")
	// An agent that is away, and comes back, with a new CA.
	a.server.Stop()
	log.wait(t, "Unavailable")
	if !c.NotAfter().Equal(renewed) || c.ID() != web {
		t.Errorf("in force: %s until %s", c.ID(), c.NotAfter())
	}
	ca = newAuthority(t, "clinic")
	exchanged(t, c, func() {
		a.say(says(ca.svid(web.String(), until(4*time.Hour))))
		a.listen()
	})
	if time.Until(c.NotAfter()) < 3*time.Hour {
		t.Errorf("until %s", c.NotAfter())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
