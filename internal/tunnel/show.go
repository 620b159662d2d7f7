package tunnel

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// A gateway lets a connection outlive its certificate only if it has seen a newer
// one of the same host (docs/decisions/0055). So each new certificate is shown to
// every gateway, long before the old one ends.

// KeepShowing shows each new certificate to every endpoint, until ctx ends; fresh
// is called first.
func (d *Dialer) KeepShowing(ctx context.Context, log *slog.Logger, fresh func()) {
	shown := d.Credentials.Certificate() // what this process began with has no older connections
	for ctx.Err() == nil {
		changed := d.Credentials.Changed()
		if cert := d.Credentials.Certificate(); !cert.Equal(shown) {
			fresh()
			if d.showPatiently(ctx, log) {
				shown = cert
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// showPatiently tries until every endpoint has seen the certificate; false is
// the end of ctx.
func (d *Dialer) showPatiently(ctx context.Context, log *slog.Logger) bool {
	const most = time.Minute
	first := true
	for next := 100 * time.Millisecond; ; next = min(2*next, most) {
		err := d.show(ctx)
		if err == nil {
			return true
		}
		if first && ctx.Err() == nil {
			log.Info("a gateway hasn't seen this host's new certificate, it is tried again", "error", err)
		}
		first = false
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (d *Dialer) show(ctx context.Context) error {
	var failures []error
	for _, e := range d.Endpoints {
		if err := d.showTo(ctx, e); err != nil {
			failures = append(failures, at(e, err))
		}
	}
	return errors.Join(failures...)
}

func (d *Dialer) showTo(ctx context.Context, e Endpoint) error {
	conn, err := d.relay(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(AttemptTimeout)); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn) // until it says goodbye too: it has looked by then
	return err
}
