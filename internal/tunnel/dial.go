package tunnel

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
)

// AttemptTimeout bounds connect and handshake with one endpoint, where the caller
// has no shorter bound. A live gateway answers in milliseconds.
const AttemptTimeout = 3 * time.Second

// Endpoint is a gateway and where it answers.
type Endpoint struct {
	Address string // HOST:PORT
	ID      identity.ID
}

// Dialer connects a host to gateways. It keeps nothing between calls and may be
// used by many goroutines.
type Dialer struct {
	Credentials *Credentials
	Endpoints   []Endpoint // of the deployment; renewal tries them in this order
}

// Dial returns a tunnel to one gateway, which is a *tls.Conn. It tries no other:
// the caches behind them differ, and which one is used is for the caller to decide
// for all of its connections (package sidecar).
func (d *Dialer) Dial(ctx context.Context, e Endpoint) (net.Conn, error) {
	if d.Credentials == nil {
		return nil, errors.New("tunnel: no credentials to dial with")
	}
	if id := d.Credentials.ID(); id.Role() != identity.App {
		return nil, fmt.Errorf("tunnel: %s can't dial a gateway: only an application host's certificate can", id)
	}
	conn, err := d.relay(ctx, e)
	if err != nil {
		return nil, at(e, err)
	}
	return conn, nil
}

// DialRenew connects a host of either role to the first endpoint that renews
// certificates; those that are there but don't are passed over.
func (d *Dialer) DialRenew(ctx context.Context) (*tls.Conn, error) {
	if d.Credentials == nil || len(d.Endpoints) == 0 {
		return nil, errors.New("tunnel: no credentials or no gateway that could renew them")
	}
	var failures []error
	for _, e := range d.Endpoints {
		conn, err := handshake(ctx, e, d.Credentials.state.Load().clientConfig(e.ID, Renew))
		if err == nil {
			return conn, nil
		}
		failures = append(failures, at(e, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// at says which gateway an error is of.
func at(e Endpoint, err error) error {
	return fmt.Errorf("gateway %s at %s: %w", e.ID.Name(), e.Address, err)
}

// relay reaches one gateway, which is told if this host has others.
func (d *Dialer) relay(ctx context.Context, e Endpoint) (*tls.Conn, error) {
	var further []string
	if len(d.Endpoints) > 1 {
		further = append(further, Several)
	}
	conn, err := handshake(ctx, e, d.Credentials.state.Load().clientConfig(e.ID, Relay, further...))
	if len(further) > 0 && NotServed(err) {
		return nil, fmt.Errorf("its cache holds locks or queues, which must not be one of several caches: name that gateway alone (docs/decisions/0142): %w", err)
	}
	return conn, err
}

// DialEnroll connects a host that has no certificate yet, and knows of the CA only
// the SHA-256 of its roots' certificates: the gateway shows those behind its own, and
// is believed if its chain ends in one of them and it is the one that was dialled.
func DialEnroll(ctx context.Context, e Endpoint, roots [][sha256.Size]byte) (*tls.Conn, error) {
	cfg := baseConfig(Enroll)
	// See clientConfig: the whole check is ours, and made in every handshake.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		var cas []*x509.Certificate
		for i, cert := range cs.PeerCertificates {
			if i > 0 && cert.IsCA && slices.Contains(roots, sha256.Sum256(cert.Raw)) {
				cas = append(cas, cert)
			}
		}
		s := &snapshot{id: e.ID, roots: cas, pool: poolOf(cas)}
		err := s.acceptGateway(e.ID, Enroll)(cs)
		var unknown x509.UnknownAuthorityError
		if len(cas) == 0 || errors.As(err, &unknown) {
			return errors.New("the server does not stand under the CA that is expected: somebody else answers there, or the CA has been replaced")
		}
		return err
	}
	return handshake(ctx, e, cfg)
}

func handshake(ctx context.Context, e Endpoint, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive, Control: userTimeout(dialTimeout)}
	raw, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, explained(err)
	}
	// On a wire, so that an event loop can take it over.
	conn := tls.Client(eventloop.NewWire(raw), cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil, &refused{"the gateway closed the connection before its handshake, as one does whose admit list does not have this host (its log names the address)", err}
		}
		return nil, err
	}
	return conn, nil
}

// explained says who forbids what the kernel calls "operation not permitted": a resolver
// has the error as text only (net.DNSError).
func explained(err error) error {
	if !strings.Contains(err.Error(), syscall.EPERM.Error()) {
		return err
	}
	return fmt.Errorf("%w: the unit's IPAddressDeny=link-local forbids it, if that address, or the resolver's in /etc/resolv.conf, is in 169.254.0.0/16 or fe80::/10 (give the gateway by its address, in /etc/hosts, or see docs/systemd.md); else the host's packet filter does", err)
}

// NotServed says that gateways are there, each of those that were tried, and none
// serves what was dialled for.
func NotServed(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		all := several.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(one error) bool { return !NotServed(one) })
	}
	var op *net.OpError // see Refusal
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "no application protocol")
}
