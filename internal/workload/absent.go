//go:build !spiffe

package workload

import (
	"context"
	"log/slog"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// Load says that this build can't.
func Load(context.Context, string, identity.ID, ...tunnel.Rule) (*tunnel.Credentials, error) {
	return nil, ErrAbsent
}

// Watch has nothing to watch, since Load gave nothing.
func Watch(context.Context, string, *tunnel.Credentials, *slog.Logger) {}
