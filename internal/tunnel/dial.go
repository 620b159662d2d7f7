package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
)

// AttemptTimeout bounds connect and handshake with one endpoint. A live gateway
// answers in milliseconds; one that is cut off must leave time for the next
// within what client libraries wait for (commonly 5 s and more).
const AttemptTimeout = 3 * time.Second

// Endpoint is a gateway and where it answers.
type Endpoint struct {
	Address string // HOST:PORT
	ID      identity.ID
}

// Dialer connects an application host to a gateway. It keeps nothing between
// calls and may be used by many goroutines.
type Dialer struct {
	Credentials *Credentials
	Endpoints   []Endpoint // tried in this order
}

// Dial returns a tunnel to the first endpoint that answers and is who it should
// be; its error tells why each was passed over. The connection is a *tls.Conn.
func (d *Dialer) Dial(ctx context.Context) (net.Conn, error) {
	if d.Credentials == nil || len(d.Endpoints) == 0 {
		return nil, errors.New("tunnel: no credentials or no gateway to dial")
	}
	if id := d.Credentials.ID(); id.Role() != identity.App {
		return nil, fmt.Errorf("tunnel: %s can't dial a gateway: only an application host's certificate can", id)
	}
	var failures []error
	for _, e := range d.Endpoints {
		conn, err := d.attempt(ctx, e, Relay)
		if err == nil {
			return conn, nil
		}
		failures = append(failures, fmt.Errorf("gateway %s at %s: %w", e.ID.Name(), e.Address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (d *Dialer) attempt(ctx context.Context, e Endpoint, protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, AttemptTimeout)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive, Control: userTimeout(dialTimeout)}
	raw, err := dialer.DialContext(ctx, "tcp", e.Address)
	if err != nil {
		return nil, err
	}
	// On a wire, so that an event loop can take it over.
	conn := tls.Client(eventloop.NewWire(raw), d.Credentials.state.Load().clientConfig(e.ID, protocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// Refusal puts in words what a gateway that refuses us makes the first Read
// return; "" when the error is another.
func Refusal(err error) string {
	// crypto/tls gives a received alert no exported type: *net.OpError with this
	// Op, around the alert's text.
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	return fmt.Sprintf("the gateway refused this host's certificate (%v): its log says why", op.Err)
}
