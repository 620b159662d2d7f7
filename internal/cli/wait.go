package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// waitPause is between two attempts; a cache that is there answers in a
// millisecond.
const waitPause = 100 * time.Millisecond

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
	pause := time.NewTicker(waitPause)
	defer pause.Stop()
	for last := error(nil); ; {
		err := up.Ping(ctx, cache.address(), cache.password())
		if err == nil {
			return nil
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) { // which may be only our own end of time
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cache at %s isn't there: %w", cache.address(), last)
		case <-pause.C:
		}
	}
}
