package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// A front is what ends the hosts' TLS. Here it was taken: it asks the CA for whatever it
// likes, knows all that hosts have sent it, and has no key but its own.

// taken is the CA behind such a front.
func (h *cahost) taken() *signer {
	return &signer{ca: h.ca, tokens: h.tokens, log: slog.New(slog.DiscardHandler)}
}

func (s *signer) asks(t *testing.T, q *pki.Renewal) (*answer, error) {
	t.Helper()
	return s.answer(&question{Renewal: q})
}

func csr(t *testing.T) []byte {
	t.Helper()
	_, der, err := newKey()
	must(t, err)
	return der
}

// issued is a host's certificate and key.
func (h *cahost) issued(r pki.Request) tls.Certificate {
	h.t.Helper()
	leaf, err := h.ca.Issue(r)
	must(h.t, err)
	return leaf.Pair()
}

func renewalBy(t *testing.T, host tls.Certificate, csr, challenge []byte) *pki.Renewal {
	t.Helper()
	q, err := pki.NewRenewal(host.Leaf, host.PrivateKey.(*ecdsa.PrivateKey), csr, challenge)
	must(t, err)
	return q
}

func TestATakenFrontRenewsForNobody(t *testing.T) {
	h := newCAHost(t)
	s := h.taken()
	web, db := h.issued(pki.Request{ID: who(t, identity.App, "web-1")}), h.issued(pki.Request{ID: who(t, identity.App, "db-1")})
	own := h.issued(pki.Request{ID: who(t, identity.Gateway, "cache-1")})
	probe := h.issued(pki.Request{ID: who(t, identity.Gateway, "cache-2"), Asks: true})
	passed := renewalBy(t, web, csr(t), s.challenges.new())
	first, err := s.asks(t, passed) // this one it passed on
	must(t, err)
	if len(first.Certificate) == 0 {
		t.Fatal("a host's renewal fails")
	}
	withheld := renewalBy(t, web, csr(t), s.challenges.new())

	changed := s.challenges.new()
	changed[len(changed)-1] ^= 1
	change := func(f func(q *pki.Renewal)) *pki.Renewal {
		q := *withheld
		f(&q)
		return &q
	}
	for what, c := range map[string]struct {
		q    *pki.Renewal
		says error
	}{
		"the same again":          {passed, errStale},
		"for a key of its own":    {change(func(q *pki.Renewal) { q.CSR = csr(t) }), pki.ErrUnproved},
		"as somebody else":        {change(func(q *pki.Renewal) { q.Certificate = db.Leaf.Raw }), pki.ErrUnproved},
		"under a new challenge":   {change(func(q *pki.Renewal) { q.Challenge = s.challenges.new() }), pki.ErrUnproved},
		"no proof":                {change(func(q *pki.Renewal) { q.Proof = nil }), pki.ErrUnproved},
		"no CSR":                  {change(func(q *pki.Renewal) { q.CSR = nil }), pki.ErrUnproved},
		"no certificate":          {change(func(q *pki.Renewal) { q.Certificate = nil }), pki.ErrUnproved},
		"its own word for it":     {renewalBy(t, tls.Certificate{Leaf: web.Leaf, PrivateKey: own.PrivateKey}, csr(t), s.challenges.new()), pki.ErrUnproved},
		"a challenge of its own":  {renewalBy(t, web, csr(t), make([]byte, challengeSize)), errStale},
		"a challenge it changed":  {renewalBy(t, web, csr(t), changed), errStale},
		"another's challenge":     {renewalBy(t, web, csr(t), h.taken().challenges.new()), errStale},
		"a CSR that nobody signs": {renewalBy(t, web, []byte("junk"), s.challenges.new()), pki.ErrRequest},
	} {
		if a, err := s.asks(t, c.q); !errors.Is(err, c.says) || a != nil {
			t.Errorf("%s: %v, want it to say %q", what, err, c.says)
		}
	}
	for what, q := range map[string]*pki.Renewal{
		"no record":                       renewalBy(t, selfSigned(t, who(t, identity.App, "web-1")), csr(t), s.challenges.new()),
		"not good for what its role does": renewalBy(t, probe, csr(t), s.challenges.new()),
	} {
		if _, err := s.asks(t, q); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want it to say %q", err, what)
		}
	}
	// With its own key it is its own host, whoever it says is there.
	a, err := s.asks(t, renewalBy(t, own, csr(t), s.challenges.new()))
	must(t, err)
	if cert, err := x509.ParseCertificate(a.Certificate); err != nil || name(cert) != "spiffe://clinic/gateway/cache-1" {
		t.Errorf("%v, %v", cert, err)
	}
	// Of all that it has tried nothing was counted against web-1.
	for range renewalsEach - 1 {
		_, err := s.asks(t, renewalBy(t, web, csr(t), s.challenges.new()))
		must(t, err)
	}
	if _, err := s.asks(t, withheld); !errors.Is(err, errStale) {
		t.Errorf("one that it kept back, after the host renewed: %v", err)
	}
	issued, err := h.ca.Issued()
	must(t, err)
	if n := len(issued); n != 4+renewalsEach+1 {
		t.Errorf("%d certificates in the ledger", n)
	}
}

// selfSigned has all that a host's certificate has but its CA.
func selfSigned(t *testing.T, id identity.ID) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{id.URL()}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return tls.Certificate{Leaf: cert, PrivateKey: key}
}

// TestARenewalIsNotKeptForLater: during a rotation the ledger would say of a host that it
// believes what it has never heard of.
func TestARenewalIsNotKeptForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newCAHost(t)
		s := h.taken()
		web := h.issued(pki.Request{ID: who(t, identity.App, "web-1")})
		in := renewalBy(t, web, csr(t), s.challenges.new())
		time.Sleep(time.Millisecond)
		withheld := renewalBy(t, web, csr(t), s.challenges.new())
		time.Sleep(challengeLife - time.Millisecond)
		_, err := s.asks(t, in)
		must(t, err)
		time.Sleep(time.Second)
		must(t, h.ca.StartRotation(pki.Options{}))
		if _, err := s.asks(t, withheld); !errors.Is(err, errStale) {
			t.Errorf("%v", err)
		}
		rotation, err := h.ca.Rotation()
		must(t, err)
		if len(rotation.Waiting) != 1 {
			t.Errorf("the rotation waits for %v", rotation.Waiting)
		}
	})
}

func TestATakenFrontEnrolsNobodyElse(t *testing.T) {
	h := newCAHost(t)
	s := h.taken()
	there := &server{name: "cache-1", address: "127.0.0.1:1"}
	source := netip.MustParseAddr("10.77.0.3")
	token, other := h.token("web-1", time.Hour, there), h.token("web-2", time.Hour, there)
	key, der, err := newKey()
	must(t, err)
	seen, err := token.request(der)
	must(t, err)
	for what, q := range map[string]enrollRequest{
		"for a key of its own": {seen.Token, csr(t), seen.Proof},
		"as another host":      {other.ID(), seen.CSR, seen.Proof},
	} {
		if _, _, err := s.redeem(&q, source); !errors.Is(err, errUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What it kept back is good for the host's key, and for one certificate.
	a, _, err := s.redeem(&seen, source)
	must(t, err)
	if _, err := a.identity(key); err != nil {
		t.Errorf("it is not for the host's key: %v", err)
	}
	if again, _, err := s.redeem(&seen, source); err != nil || !bytes.Equal(again.Certificate, a.Certificate) {
		t.Errorf("a second time it is another: %v", err)
	}
	// Whatever it says of where guesses come from, there is a bound in all.
	refused := 0
	for i := range 2 * guessesAll {
		_, _, err := s.redeem(&enrollRequest{other.ID(), der, seen.Proof}, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}))
		if errors.Is(err, errTooMany) {
			refused++
		}
	}
	if refused < guessesAll {
		t.Errorf("only %d of %d guesses were refused unseen", refused, 2*guessesAll)
	}
}

// TestAThiefOfAGatewaysKeyGetsNoToken: the host that joins believes him, and he hears all
// that it says.
func TestAThiefOfAGatewaysKeyGetsNoToken(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	th := &thief{t: t, heard: make(chan enrollRequest, 1)}
	posing := th.gateway(h, "cache-2")
	token := h.token("web-1", time.Hour, posing, s)
	files, err := join(t, token)
	if err == nil || !strings.Contains(err.Error(), "no answer to the token") {
		t.Errorf("%v", err)
	}
	leavesNothing(t, files)
	heard := <-th.heard
	key, own, err := newKey()
	must(t, err)
	heard.CSR = own
	if a, err := enrolment(s, heard); err == nil || !strings.Contains(err.Error(), "not known") {
		_, whose := a.identity(key)
		t.Errorf("%v; a certificate for his key: %v", err, whose)
	}
	token.Gateways = token.Gateways[1:]
	files, err = join(t, token) // it is good still
	must(t, err)
	must(t, reaches(t, files, s))
}

// TestAReleaseBeforeIsToldThatItIsNotServed, and not taken for somebody who relays.
func TestAReleaseBeforeIsToldThatItIsNotServed(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	web := h.issued(pki.Request{ID: who(t, identity.App, "web-1")})
	for _, protocol := range []string{"redoubt-enroll/1", "redoubt-renew/1"} {
		d := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, Certificates: []tls.Certificate{web}}}
		conn, err := d.DialContext(context.Background(), "tcp", s.address)
		if err == nil {
			conn.Close()
		}
		if !tunnel.NotServed(err) {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}
