package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// host is a running host's part that looks after its identity.
type host struct {
	*tunnel.Credentials
	files tunnel.Files
	log   *lines
	stop  func()
}

// keep runs what a sidecar runs beside its relay.
func keep(t *testing.T, files tunnel.Files, gateways ...*server) *host {
	t.Helper()
	c, err := tunnel.LoadCredentials(files)
	must(t, err)
	d := &tunnel.Dialer{Credentials: c}
	for _, s := range gateways {
		d.Endpoints = append(d.Endpoints, tunnel.Endpoint{Address: s.address, ID: who(t, identity.Gateway, s.name)})
	}
	h := &host{Credentials: c, files: files, log: &lines{changed: make(chan struct{})}}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { (&Renewer{Credentials: c, Files: files, Dialer: d, Log: log}).Run(ctx) })
	h.stop = sync.OnceFunc(func() { cancel(); parts.Wait() })
	t.Cleanup(h.stop)
	return h
}

// renewed waits until the certificate has been exchanged so many times.
func (h *host) renewed(t *testing.T, times int) {
	t.Helper()
	late := time.After(patience)
	for serial := h.Certificate().SerialNumber; times > 0; times-- {
		for h.Certificate().SerialNumber.Cmp(serial) == 0 {
			changed := h.Changed()
			if h.Certificate().SerialNumber.Cmp(serial) != 0 {
				break
			}
			select {
			case <-changed:
			case <-late:
				text, _ := h.log.all()
				t.Fatalf("it doesn't renew:\n%s", text)
			}
		}
		serial = h.Certificate().SerialNumber
	}
}

func TestAHostRenewsAndItsConnectionsStay(t *testing.T) {
	t.Parallel()
	const life = 6 * time.Second
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", life)
	second := h.gateway("cache-2", "127.0.0.1:0", life) // renews itself, too
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	web := keep(t, files, s, second)
	first := web.NotAfter()
	var old []*tls.Conn
	for _, s := range []*server{s, second} {
		conn, err := s.dial(web.Credentials)
		must(t, err)
		defer conn.NetConn().Close()
		must(t, echo(conn))
		old = append(old, conn)
	}
	web.renewed(t, 2)
	if !time.Now().After(first) {
		t.Fatal("the first certificate hasn't ended: the test is broken")
	}
	for i, conn := range old {
		if err := echo(conn); err != nil {
			t.Errorf("the connection to gateway %d: %v", i, err)
		}
		must(t, reaches(t, files, []*server{s, second}[i])) // a new connection, and a restart
	}
	key, err := os.ReadFile(files.Certificate)
	must(t, err)
	web.renewed(t, 1)
	if again, err := os.ReadFile(files.Certificate); err != nil || strings.Split(string(again), "\n")[1] == strings.Split(string(key), "\n")[1] {
		t.Error("a renewed certificate has the old key")
	}
}

func TestARevocationReachesEveryGatewayAndEndsRenewal(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	// cache-2 is another machine: it has no CA and gets the lists over the tunnel.
	away := hostFiles(t)
	h.issue(identity.Gateway, "cache-2", filepath.Dir(away.Certificate), 0)
	second := &server{t: t, name: "cache-2", files: away, log: &lines{changed: make(chan struct{})}}
	second.start("127.0.0.1:0")
	g2 := keep(t, away, s)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	other, err := join(t, h.token("web-2", time.Hour, s))
	must(t, err)
	web := keep(t, files, s)
	must(t, reaches(t, files, second))
	conn, err := second.dial(web.Credentials)
	must(t, err)
	defer conn.NetConn().Close()
	must(t, echo(conn))
	g2.log.await(t, "", 1)

	bound := lab.Promised(t, 4*time.Second)
	began := time.Now()
	if revoked, err := h.ca.Revoke(who(t, identity.App, "web-1")); err != nil || len(revoked) != 1 {
		t.Fatal(revoked, err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("read of a connection that should end")
	}
	if took, most := time.Since(began), bound(); took > most {
		t.Errorf("cut at a gateway without the CA after %s, more than %s", took, most)
	}
	for _, s := range []*server{s, second} {
		if reaches(t, files, s) == nil {
			t.Errorf("%s lets it in", s.name)
		}
		must(t, reaches(t, other, s))
	}
	k := &Renewer{Credentials: web.Credentials, Files: files, Dialer: &tunnel.Dialer{Credentials: web.Credentials, Endpoints: []tunnel.Endpoint{{Address: s.address, ID: who(t, identity.Gateway, "cache-1")}}}}
	if err := k.renew(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("renewal: %v", err)
	}
}

// TestTheRootIsReplacedUnderLiveConnections walks the rotation; each step waits
// only for hosts that run.
func TestTheRootIsReplacedUnderLiveConnections(t *testing.T) {
	t.Parallel()
	const life = 6 * time.Second
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", life)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	web := keep(t, files, s)
	conn, err := s.dial(web.Credentials)
	must(t, err)
	defer conn.NetConn().Close()
	must(t, echo(conn))
	old := h.ca.Certificate()
	must(t, h.ca.StartRotation(pki.Options{}))
	// Connections that came with the old root stay until that is dropped, and end
	// then: whoever may have had its key is out.
	step := func(what string, do func(force bool) error) {
		t.Helper()
		late := time.Now().Add(patience)
		for {
			err := do(false)
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), "would be cut off") || time.Now().After(late) {
				text, _ := web.log.all()
				t.Fatalf("%s: %v\n%s", what, err, text)
			}
			pause(t.Context(), 50*time.Millisecond)
			must(t, echo(conn))
			must(t, reaches(t, files, s))
		}
	}
	step("switch", h.ca.SwitchRoot)
	step("finish", h.ca.FinishRotation)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("read of a connection that should end")
	}
	s.log.await(t, "the CA of spiffe://clinic/app/web-1 is believed no longer", 1)
	web.log.await(t, "other CAs are believed", 2)
	roots := web.Roots()
	if len(roots) != 1 || roots[0].Equal(old) || sha256.Sum256(roots[0].Raw) != h.root() {
		t.Errorf("it believes %d roots", len(roots))
	}
	must(t, reaches(t, files, s))
}

// TestOtherRootsAloneAreNotTakenIn: a gateway's certificate was stolen, and its
// thief answers with a CA of his own.
func TestOtherRootsAloneAreNotTakenIn(t *testing.T) {
	t.Parallel()
	h, rogue := newCAHost(t), newCAHost(t)
	files := hostFiles(t)
	h.issue(identity.App, "web-1", filepath.Dir(files.Certificate), 10*time.Second)
	thief := &thief{t: t, signs: rogue.ca, roots: rogue.ca.Roots(), id: who(t, identity.App, "web-1")}
	web := keep(t, files, thief.gateway(h, "cache-1"))
	web.log.await(t, "could not be renewed", 1)
	if text, _ := web.log.all(); !strings.Contains(text, "not of a CA that is believed here") {
		t.Error(text)
	}
	if roots := web.Roots(); len(roots) != 1 || sha256.Sum256(roots[0].Raw) != h.root() {
		t.Error("it believes the thief's CA")
	}
	c, err := tunnel.LoadCredentials(files)
	must(t, err)
	if roots := c.Roots(); len(roots) != 1 || sha256.Sum256(roots[0].Raw) != h.root() {
		t.Error("the thief's CA is on the disk")
	}
}

// TestWhoPassesARenewalOnAddsNoRoot: what the thief answers with is a certificate of the
// true CA.
func TestWhoPassesARenewalOnAddsNoRoot(t *testing.T) {
	h, rogue := newCAHost(t), newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	c, err := tunnel.LoadCredentials(files)
	must(t, err)
	th := &thief{t: t, through: dialer(t, c, s), roots: append(h.ca.Roots(), rogue.ca.Roots()...)}
	k := &Renewer{Credentials: c, Files: files, Dialer: dialer(t, c, th.gateway(h, "cache-2"))}
	before := *c.Certificate()
	if err := k.renew(t.Context()); err == nil || !strings.Contains(err.Error(), "has signed for") {
		t.Errorf("%v", err)
	}
	th.roots = rogue.ca.Roots()
	if err := k.renew(t.Context()); err == nil {
		t.Error("his root alone is taken in")
	}
	roots, err := pki.Read(files.CA)
	must(t, err)
	if len(roots) != 1 || !roots[0].Equal(h.ca.Certificate()) || len(c.Roots()) != 1 || !c.Certificate().Equal(&before) {
		t.Errorf("it believes %d roots", len(roots))
	}
	th.roots = h.ca.Roots()
	must(t, k.renew(t.Context())) // the way itself works
}

func dialer(t *testing.T, c *tunnel.Credentials, s *server) *tunnel.Dialer {
	t.Helper()
	return &tunnel.Dialer{Credentials: c, Endpoints: []tunnel.Endpoint{{Address: s.address, ID: who(t, identity.Gateway, s.name)}}}
}

func TestTheGatewayBeingAwayIsSurvived(t *testing.T) {
	t.Parallel()
	const life = 6 * time.Second
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", life)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	web := keep(t, files, s)
	s.stop()
	web.log.await(t, "could not be renewed", 1)
	h.gateway("cache-1", s.address, life)
	web.renewed(t, 1)
}

// TestAHostCannotFillTheLedger: it was taken over, and asks for certificates as
// fast as it can.
func TestAHostCannotFillTheLedger(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	files, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	other, err := join(t, h.token("web-2", time.Hour, s))
	must(t, err)
	renew := func(files tunnel.Files) error {
		c, err := tunnel.LoadCredentials(files)
		must(t, err)
		k := &Renewer{Credentials: c, Files: files, Dialer: dialer(t, c, s)}
		return k.renew(t.Context())
	}
	for range renewalsEach {
		must(t, renew(files))
	}
	for range 3 {
		if err := renew(files); err == nil || !strings.Contains(err.Error(), "too often") {
			t.Errorf("%v", err)
		}
	}
	must(t, renew(other))
	issued, err := h.ca.Issued()
	must(t, err)
	if n := len(issued); n != 1+2+renewalsEach+1 { // the gateway's, two joins, the renewals
		t.Errorf("%d certificates in the ledger", n)
	}
	var r renewals
	now := time.Now()
	for i := range 2 * renewalsEach {
		if err := r.allow(who(t, identity.App, "web-1"), time.Duration(i), now, pki.LeafLife); (err == nil) != (i < renewalsEach) {
			t.Errorf("renewal %d: %v", i, err)
		}
	}
	if err := r.allow(who(t, identity.App, "web-1"), time.Hour, now.Add(pki.LeafLife/3), pki.LeafLife); err != nil {
		t.Errorf("it is refused for ever: %v", err)
	}
}
