package sabotage_test

import (
	"crypto/tls"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

func flightSabotages() []sabotage {
	by := func(change func(*tls.Config)) func(*testing.T, *deployment) {
		return func(t *testing.T, d *deployment) { front{tls: change}.inFront(t, d) }
	}
	return []sabotage{
		{id: "RD-301", from: evidence.CacheHost, how: "the tunnel's port speaks Redis in the clear as well", broken: func(t *testing.T, d *deployment) {
			front{plain: true}.inFront(t, d)
		}},
		{id: "RD-302", from: evidence.CacheHost, how: "TLS 1.2 is agreed on", broken: by(func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 })},
		{id: "RD-303", from: evidence.CacheHost, how: "the key exchange is X25519 alone", broken: by(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })},
		{id: "RD-304", from: evidence.AppHost, how: "sessions are resumed", broken: by(func(c *tls.Config) { c.SessionTicketsDisabled = false })},
		{id: "RD-305", from: evidence.CacheHost, how: "the tunnel doesn't look at the protocol that is offered", broken: by(func(c *tls.Config) { c.NextProtos = nil })},
	}
}
