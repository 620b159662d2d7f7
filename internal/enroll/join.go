package enroll

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Join gets a host its first certificate: it makes a key, asks the first of the token's
// gateways that answers and is right with what the token signs, and returns what it got, which
// it has verified. Nothing is on the disk yet: see Install.
func Join(ctx context.Context, t Token) (*Identity, error) {
	key, csr, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	q, err := t.request(csr)
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	// Who asks again with the same request gets the same certificate, and no other.
	patience, enough := context.WithTimeout(ctx, askAgain)
	defer enough()
	for next := time.Second; ; next = min(2*next, askAgainMost) {
		got, err := t.join(ctx, key, q)
		var lost *noAnswer
		if err == nil || !errors.As(err, &lost) || !pause(patience, next) {
			return got, err
		}
	}
}

const (
	// askAgain is how long a host that got no answer asks again: the CA's process may be
	// started anew meanwhile, or the gateway.
	askAgain     = 20 * time.Second
	askAgainMost = 5 * time.Second
)

// noAnswer says that a gateway was asked, and what came of it isn't known.
type noAnswer struct{ error }

func (e *noAnswer) Unwrap() error { return e.error }

// join asks the first gateway that answers.
func (t *Token) join(ctx context.Context, key crypto.Signer, q enrollRequest) (*Identity, error) {
	var failures []error
	for _, g := range t.Gateways {
		id, err := identity.New(t.Identity.Deployment(), identity.Gateway, g.Name)
		if err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
		conn, err := tunnel.DialEnroll(ctx, tunnel.Endpoint{Address: g.Address, ID: id}, t.Roots)
		if err != nil {
			failures = append(failures, fmt.Errorf("gateway %s at %s: %w", g.Name, g.Address, noEnrolment(err)))
			continue
		}
		got, err := t.redeem(conn, key, q)
		conn.Close()
		if err != nil { // not at the next one: it would say the same
			return nil, fmt.Errorf("join: gateway %s at %s: %w", g.Name, g.Address, err)
		}
		return got, nil
	}
	return nil, fmt.Errorf("join: no gateway of the token could be asked: %w", errors.Join(failures...))
}

// noEnrolment explains the alert of a gateway that has no CA, or enrols in another way.
func noEnrolment(err error) error {
	if tunnel.NotServed(err) {
		return errors.New("it does not enrol hosts: its configuration has no pki section, or it is of a release before this one (redoubt version says on both)")
	}
	return err
}

// redeem asks a server that has proved that it is the token's.
func (t *Token) redeem(conn *tls.Conn, key crypto.Signer, q enrollRequest) (*Identity, error) {
	if err := conn.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return nil, err
	}
	if err := send(conn, q); err != nil {
		return nil, &noAnswer{err}
	}
	var a answer
	if err := receive(conn, maxAnswer, &a); err != nil {
		return nil, &noAnswer{fmt.Errorf("no answer to the token, which may be used up now (redoubt token list says so): %w", err)}
	}
	if a.Again {
		return nil, &noAnswer{fmt.Errorf("refused for now: %q", a.Error)}
	}
	roots, err := a.believed()
	if err != nil {
		return nil, err
	}
	if err := t.names(roots); err != nil {
		return nil, err
	}
	got, err := a.identity(key)
	if err != nil {
		return nil, err
	}
	if err := got.is(t.Identity); err != nil {
		return nil, err
	}
	if err := tunnel.CheckFirst(a.Revocations, roots, conn.ConnectionState().PeerCertificates[0]); err != nil {
		return nil, fmt.Errorf("the lists of revoked certificates that came: %w", err)
	}
	return got, nil
}

// names refuses what a gateway with the right certificate may yet send: whoever has
// its key can make a CA. Further roots come by renewal, of which the CA itself must
// have had a part (Renewer).
func (t *Token) names(roots []*x509.Certificate) error {
	for _, root := range roots {
		if sum := sha256.Sum256(root.Raw); !slices.Contains(t.Roots, sum) {
			return fmt.Errorf("it sent a CA that the token does not name, %q with SHA-256 %x: nothing of its answer was taken. "+
				"Find out whether somebody else has that gateway's key (redoubt pki revoke --role gateway shuts it out), then join with a new token", root.Subject, sum)
		}
	}
	return nil
}

// newKey makes a key and a CSR (DER) for it that names nobody.
func newKey() (crypto.Signer, []byte, error) {
	key, text, err := pki.NewRequest(pki.ECDSA)
	if err != nil {
		return nil, nil, err
	}
	csr, err := pki.ParseRequest(text)
	if err != nil {
		return nil, nil, err
	}
	return key, csr.Raw, nil
}
