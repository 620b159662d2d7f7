package cli

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// reach knows which gateway a sidecar is served by: each of the sidecar's dials goes
// through it. While nobody uses the cache there is none to learn from, so whoever asks
// how the sidecar fares has one made.
type reach struct {
	dialer *tunnel.Dialer

	mu    sync.Mutex
	last  *serving
	err   error
	asked time.Time
}

// serving is the gateway that answered last.
type serving struct {
	Gateway string    `json:"gateway"` // its name; "" for an address that is given by a host's name
	Address string    `json:"address"`
	Dialled time.Time `json:"dialled"`
}

// How old an answer may be for who asks: a gateway's log has two lines for each probe.
// A gateway that is away is tried again for the next who asks.
const (
	answeredFor = 5 * time.Second
	probeWithin = 4 * time.Second // less than admin's answer may take
)

// Dial is the sidecar's.
func (r *reach) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := r.dialer.Dial(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.err = time.Now(), err
	if err == nil {
		s := &serving{Address: conn.RemoteAddr().String(), Dialled: r.asked}
		for _, e := range r.dialer.Endpoints {
			if e.Address == s.Address {
				s.Gateway = e.ID.Name()
			}
		}
		r.last = s
	}
	return conn, err
}

// look is who serves, and why nobody does. idle says that no connection to a gateway
// stands, so that nobody would have noticed.
func (r *reach) look(ctx context.Context, idle bool) (*serving, error) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	old := r.err != nil || time.Since(r.asked) > answeredFor
	r.mu.Unlock()
	if idle && old {
		ctx, cancel := context.WithTimeout(ctx, probeWithin)
		defer cancel()
		if conn, err := r.Dial(ctx); err == nil {
			conn.Close()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	return r.last, nil
}
