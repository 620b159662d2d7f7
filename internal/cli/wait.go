package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-cache/redoubt/internal/up"
)

type waitCmd struct {
	urlFlags `embed:""`
	Timeout  time.Duration `default:"30s" placeholder:"DURATION" help:"Give up after this long (${default})."`
}

func (waitCmd) Help() string {
	return `Blocks until the cache answers a PING as it would answer the application: through the sidecar, with the password. For whatever must not start before its cache. The exit code is 1 if it doesn't answer in time.

Example:

  redoubt wait --env /etc/redoubt/app.env && exec ./server`
}

func (c *waitCmd) Run(e *env) error {
	cache, err := c.read()
	if err != nil {
		return usage(err, "redoubt wait --help")
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	return waitFor(ctx, cache)
}

// waitFor returns nil when the cache answers, else why it didn't the last time.
func waitFor(ctx context.Context, cache cacheURL) error {
	if err := up.Await(ctx, cache.address(), cache.password()); err != nil {
		return fmt.Errorf("the cache at %s isn't there: %w", cache.address(), err)
	}
	return nil
}
