package enroll

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestAThiefOfAGatewaysKeyGetsNoHostToBelieveHisCA: the thief stands under the CA that
// the token names, and answers with that root and one of his own.
func TestAThiefOfAGatewaysKeyGetsNoHostToBelieveHisCA(t *testing.T) {
	h, rogue := newCAHost(t), newCAHost(t)
	both := []*x509.Certificate{h.ca.Certificate(), rogue.ca.Certificate()}
	for name, c := range map[string]struct {
		signs *pki.CA
		roots []*x509.Certificate
		says  string
	}{
		"his certificate, and his root beside the true one": {rogue.ca, both, "a CA that the token does not name"},
		"a true certificate, and his root beside":           {h.ca, both, "a CA that the token does not name"},
		"his certificate, under the true root":              {rogue.ca, both[:1], "does not stand under the CA"},
		"his root alone":                                    {rogue.ca, both[1:], "a CA that the token does not name"},
		"no root":                                           {h.ca, nil, "no CA came"},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&thief{t: t, signs: c.signs, roots: c.roots, id: who(t, identity.App, "web-1")}).gateway(h, "cache-1")
			files, err := join(t, h.token("web-1", time.Hour, s))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			leavesNothing(t, files)
		})
	}
}

// TestDuringARotationATokenCarriesBothRoots: and one of before gets its host the root
// that it names, until the host renews.
func TestDuringARotationATokenCarriesBothRoots(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	before, late := h.token("web-1", time.Hour, s), h.token("web-3", time.Hour, s)
	must(t, h.ca.StartRotation(pki.Options{}))
	during := h.token("web-2", time.Hour, s)
	if len(before.Roots) != 1 || len(during.Roots) != 2 {
		t.Fatalf("%d roots before, %d during", len(before.Roots), len(during.Roots))
	}
	believed := func(files tunnel.Files) int {
		roots, err := pki.Read(files.CA)
		must(t, err)
		return len(roots)
	}
	old, err := join(t, before)
	must(t, err)
	must(t, reaches(t, old, s))
	if n := believed(old); n != 1 {
		t.Errorf("by a token of before it believes %d roots", n)
	}
	rotation, err := h.ca.Rotation()
	must(t, err)
	if web := who(t, identity.App, "web-1"); !slices.Contains(rotation.Waiting, web) {
		t.Errorf("the rotation doesn't wait for it: %v", rotation.Waiting)
	}
	c, err := tunnel.LoadCredentials(old)
	must(t, err)
	k := &Renewer{Credentials: c, Files: old, Dialer: dialer(t, c, s)}
	must(t, k.renew(t.Context()))
	if n := believed(old); n != 2 {
		t.Errorf("when it has renewed it believes %d roots", n)
	}
	must(t, h.ca.SwitchRoot(true))
	for late := time.After(patience); ; { // the gateway comes under the root that signs
		changed := s.ca.Credentials.Changed()
		if s.ca.Credentials.Certificate().CheckSignatureFrom(h.ca.Certificate()) == nil {
			break
		}
		select {
		case <-changed:
		case <-late:
			t.Fatal("the gateway has no certificate of the new root")
		}
	}
	files, err := join(t, during)
	must(t, err)
	must(t, reaches(t, files, s))
	if n := believed(files); n != 2 {
		t.Errorf("by a token of between it believes %d roots", n)
	}
	if _, err := join(t, late); err == nil || !strings.Contains(err.Error(), "the CA has been replaced") {
		t.Errorf("a token whose root signs no longer: %v", err)
	}
	_, text, err := pki.NewRequest(pki.ECDSA)
	must(t, err)
	csr, err := pki.ParseRequest(text)
	must(t, err)
	if _, _, err := h.ca.Enrol(csr, pki.Request{ID: late.Identity}, pki.Moment{Roots: late.Roots}); !errors.Is(err, pki.ErrReplaced) {
		t.Errorf("a gateway that still has its certificate of before: %v", err)
	}
}

// TestAGatewayThatIsRevokedEnrolsNobody, where it hasn't heard: the list that it
// passes on says so.
func TestAGatewayThatIsRevokedEnrolsNobody(t *testing.T) {
	h := newCAHost(t)
	s := (&thief{t: t, signs: h.ca, roots: h.ca.Roots(), id: who(t, identity.App, "web-1")}).gateway(h, "cache-1")
	token := h.token("web-1", time.Hour, s)
	if _, err := h.ca.Revoke(who(t, identity.Gateway, "cache-1")); err != nil {
		t.Fatal(err)
	}
	files, err := join(t, token)
	if err == nil || !strings.Contains(err.Error(), "the gateway's own certificate is revoked") {
		t.Errorf("%v", err)
	}
	leavesNothing(t, files)
}
