//go:build spiffe

package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// patience is how long Load waits: an agent that starts with the host takes some
// seconds, and a registration entry reaches it within five.
const patience = 20 * time.Second

// Load waits for the identity id from the API at address (unix:///PATH). The
// rules say whose certificates are, as those of tunnel.LoadCredentials.
func Load(ctx context.Context, address string, id identity.ID, rules ...tunnel.Rule) (*tunnel.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var loaded *tunnel.Credentials
	var last error
	w := &watcher{
		take: func(h tunnel.Handed) error {
			c, err := tunnel.HandedCredentials(h, rules...)
			if err == nil && c.ID() != id {
				err = fmt.Errorf("the certificate is of %s", c.ID())
			}
			if err == nil {
				loaded = c
				cancel()
			}
			return err
		},
		complain: func(err error) {
			// How our own wait ends is no news.
			if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Canceled && !errors.Is(err, io.EOF) {
				last = err
			}
		},
	}
	err := workloadapi.WatchX509Context(ctx, w, workloadapi.WithAddr(address), workloadapi.WithBackoffStrategy(soon{}))
	switch {
	case loaded != nil:
		return loaded, nil
	case last != nil:
		return nil, fmt.Errorf("workload API at %s: no identity %s: %w (is there a registration entry for this process?)", address, id, last)
	}
	return nil, fmt.Errorf("workload API at %s: no identity %s within %s: %w", address, id, patience, err)
}

// Watch puts in force what the API at address hands over, until ctx ends: a part
// of the process that never fails. What can't be taken in is told to the log.
func Watch(ctx context.Context, address string, c *tunnel.Credentials, log *slog.Logger) {
	last := "" // complained of, since the last good news
	w := &watcher{
		take: func(h tunnel.Handed) error {
			err := c.Replace(h)
			if err == nil {
				last = ""
			}
			return err
		},
		complain: func(err error) {
			if ctx.Err() == nil && err.Error() != last {
				last = err.Error()
				log.Error("nothing new from the workload API, what was in force stays", "address", address, "cause", err)
			}
		},
	}
	for ctx.Err() == nil {
		// It comes back by itself from all but the API's word that the question is
		// wrong; the API may be another one later.
		_ = workloadapi.WatchX509Context(ctx, w, workloadapi.WithAddr(address))
		select {
		case <-ctx.Done():
		case <-time.After(patience):
		}
	}
}

// watcher hears what the API tells, and takes the first identity of it that take
// accepts. The client calls it from one goroutine, that of Load or Watch.
type watcher struct {
	take     func(tunnel.Handed) error
	complain func(error)
}

// OnX509ContextUpdate is called with all that the API holds for this process.
func (w *watcher) OnX509ContextUpdate(all *workloadapi.X509Context) {
	var refused []error
	for _, svid := range all.SVIDs {
		bundle, ok := all.Bundles.Get(svid.ID.TrustDomain())
		if !ok {
			refused = append(refused, fmt.Errorf("%s: there is no CA of its trust domain", svid.ID))
			continue
		}
		err := w.take(tunnel.Handed{Chain: svid.Certificates, Key: svid.PrivateKey, Roots: bundle.X509Authorities()})
		if err == nil {
			return
		}
		refused = append(refused, fmt.Errorf("%s: %w", svid.ID, err))
	}
	if len(refused) == 0 {
		refused = append(refused, errors.New("it has no identity for this process"))
	}
	w.complain(errors.Join(refused...))
}

// OnX509ContextWatchError is called when the API is away or makes no sense; the
// client tries again by itself.
func (w *watcher) OnX509ContextWatchError(err error) { w.complain(err) }

// soon retries often enough for Load's patience.
type soon struct{}

func (soon) NewBackoff() workloadapi.Backoff { return soon{} }
func (soon) Next() time.Duration             { return 500 * time.Millisecond }
func (soon) Reset()                          {}
