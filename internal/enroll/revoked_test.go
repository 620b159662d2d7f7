package enroll

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestARevokedHostNeverRenewsItselfBackIn: a thief holds connections for renewal
// open, and asks at the very moment of his revocation, which gateways hear of up to
// a quarter of a second later.
func TestARevokedHostNeverRenewsItselfBackIn(t *testing.T) {
	for _, c := range []struct{ gateways, tries int }{{1, 8}, {2, 8}} {
		t.Run(fmt.Sprintf("%d gateways", c.gateways), func(t *testing.T) {
			h := newCAHost(t)
			var gateways []*server
			for i := range c.gateways {
				gateways = append(gateways, h.gateway(fmt.Sprintf("cache-%d", i+1), "127.0.0.1:0", 0))
			}
			back := 0
			for try := range c.tries {
				name := fmt.Sprintf("web-%d", try)
				files, err := join(t, h.token(name, time.Hour, gateways[0]))
				must(t, err)
				credentials, err := tunnel.LoadCredentials(files)
				must(t, err)
				var asks []func() error
				for _, s := range gateways {
					asks = append(asks, s.renewal(t, credentials))
				}
				if _, err := h.ca.Revoke(who(t, identity.App, name)); err != nil {
					t.Fatal(err)
				}
				for _, ask := range asks {
					if ask() == nil {
						back++
					}
				}
			}
			if back > 0 {
				t.Errorf("%d of %d came back", back, c.tries*c.gateways)
			}
		})
	}
}

// renewal dials for one, and returns what asks for a certificate on that
// connection.
func (s *server) renewal(t *testing.T, c *tunnel.Credentials) func() error {
	t.Helper()
	d := tunnel.Dialer{Credentials: c, Endpoints: []tunnel.Endpoint{{Address: s.address, ID: who(t, identity.Gateway, s.name)}}}
	conn, err := d.DialRenew(t.Context())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	given, err := ask(t.Context(), conn, renewRequest{Challenge: true}, patience)
	if err != nil {
		t.Fatalf("before the revocation: %v", err)
	}
	return func() error {
		key, csr, err := newKey()
		must(t, err)
		cert, own, err := c.Proof()
		must(t, err)
		q, err := pki.NewRenewal(cert, own, csr, given.Challenge)
		must(t, err)
		a, err := ask(t.Context(), conn, renewRequest{Renewal: q}, patience)
		if err != nil {
			return err
		}
		_, err = a.identity(key)
		return err
	}
}

// TestARevocationVoidsTheTokensOfBefore: whoever has the host may have a token for
// it too.
func TestARevocationVoidsTheTokensOfBefore(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	_, err := join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	open := h.token("web-1", time.Hour, s)
	if _, err := h.ca.Revoke(who(t, identity.App, "web-1")); err != nil {
		t.Fatal(err)
	}
	files, err := join(t, open)
	if err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a token of before the revocation: %v", err)
	}
	leavesNothing(t, files)
	files, err = join(t, h.token("web-1", time.Hour, s))
	must(t, err)
	must(t, reaches(t, files, s))
	if _, err := join(t, open); err == nil {
		t.Error("the old token is good again, since the host was admitted by another")
	}
}

// TestOfAJoinAndARevocationAtOnceTheRevocationWins: a join may be anywhere between
// the look at its token and the signature.
func TestOfAJoinAndARevocationAtOnceTheRevocationWins(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	for try := range 12 {
		id := who(t, identity.App, fmt.Sprintf("web-%d", try))
		token := h.token(id.Name(), time.Hour, s)
		var both sync.WaitGroup
		both.Go(func() { _, _ = Join(t.Context(), token) }) // either may be first
		both.Go(func() {
			if _, err := h.tokens.Revoke(h.ca, id); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		issued, err := h.ca.Issued()
		must(t, err)
		for _, i := range issued {
			if i.Identity == id && i.Status == pki.Living {
				t.Errorf("try %d: it is in, though it was revoked", try)
			}
		}
		if tokens, err := h.tokens.Of(id); err != nil || len(tokens) > 0 && tokens[0].State != Used {
			t.Errorf("try %d: %+v, %v", try, tokens, err)
		}
	}
}

// TestACrashBetweenTheLedgerAndTheTokensOpensNothing: the tokens' files are removed
// after the ledger says that they are void.
func TestACrashBetweenTheLedgerAndTheTokensOpensNothing(t *testing.T) {
	h := newCAHost(t)
	s := h.gateway("cache-1", "127.0.0.1:0", 0)
	id := who(t, identity.App, "web-1")
	token := h.token("web-1", time.Hour, s)
	path := h.tokens.path(token.ID(), tokenSuffix)
	kept, err := os.ReadFile(path)
	must(t, err)
	done, err := h.tokens.Revoke(h.ca, id)
	must(t, err)
	if done.Tokens != 1 || len(done.Certificates) != 0 {
		t.Errorf("%+v", done)
	}
	must(t, os.WriteFile(path, kept, 0o600))
	if _, err := join(t, token); err == nil || !strings.Contains(err.Error(), "revoked after the token was made") {
		t.Errorf("%v", err)
	}
	if _, err := h.tokens.Revoke(h.ca, who(t, identity.App, "nobody")); !errors.Is(err, ErrUnknownHost) {
		t.Errorf("a name that nobody has: %v", err)
	}
}
