package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// How long things may take, and the inequality that each must satisfy.
const (
	startPatience = 20 * time.Second       // until the first answer; an empty engine needs 50 ms
	startInterval = 20 * time.Millisecond  // between two looks for the socket while it starts
	pingInterval  = time.Second            // between two signs of life
	pingPatience  = 5 * time.Second        // no answer for so long is a hang; > busy-reply-threshold (2 s)
	busyPatience  = 30 * time.Second       // a script may keep the engine for so long; > pingPatience
	lastLook      = 250 * time.Millisecond // for what has arrived while we did not run

	firstDelay = 100 * time.Millisecond // before the first restart
	mostDelay  = 10 * time.Second       // before any restart
	goodLife   = time.Minute            // a life so long starts the delays anew
)

// awaitAnswer waits until the engine answers PING as the supervisor's user.
func awaitAnswer(ctx context.Context, p *process, socket, password string) (*control, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	look := time.NewTicker(startInterval)
	defer look.Stop()
	var last error
	for {
		c, err := newControl(ctx, socket, password)
		if err == nil {
			if err = c.ping(ctx); err == nil {
				return c, nil
			}
			c.close()
		}
		last = err
		select {
		case <-p.done:
			return nil, p.end
		case <-ctx.Done():
			return nil, fmt.Errorf("it gave no answer within %s: %w", startPatience, last)
		case <-look.C:
		}
	}
}

// duties are what the supervisor does beside looking for life.
type duties struct {
	tend   func(context.Context) error // each second
	orders <-chan order
	obey   func(context.Context, order) error
}

// watch asks for a sign of life each second, until there is none, the process
// ends, or ctx does; after each it tends to what the engine has to be told, and in
// between it obeys. The connection stands as long as the engine does: timeout and client
// eviction are off.
func watch(ctx context.Context, p *process, c *control, d duties) error {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	var busySince time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return p.end
		case o := <-d.orders:
			err = d.obey(ctx, o)
		case <-tick.C:
			if err = c.ping(ctx); err == nil {
				err = d.tend(ctx)
			}
		}
		switch {
		case err == nil:
			busySince = time.Time{}
		case errors.Is(err, errBusy) && busySince.IsZero():
			busySince = time.Now()
		case errors.Is(err, errBusy) && time.Since(busySince) < busyPatience:
		case errors.Is(err, errBusy):
			return fmt.Errorf("a script has kept the engine busy for more than %s", busyPatience)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return p.silence(err)
		}
	}
}

// silence tells a process that is ending, whose connection goes first, from
// one that hangs. One that refuses us would go on with passwords that have
// ended: it is ended as well, and the next one begins with those that are good.
func (p *process) silence(err error) error {
	if refused := (refusedError{}); errors.As(err, &refused) {
		return fmt.Errorf("the engine can't be supervised: %w", err)
	}
	select {
	case <-p.done:
		return p.end
	case <-time.After(lastLook):
		return fmt.Errorf("the engine gave no answer within %s: %w", pingPatience, err)
	}
}

// stopFor ends the process, if it has not ended: in order when we are asked to
// stop, at once when it misbehaves.
func (p *process) stopFor(ctx context.Context) {
	if ctx.Err() != nil {
		p.stop()
		return
	}
	p.kill()
}

// report gathers what is to be said about a life that is over.
func (e *Engine) report(p *process, dir runDir, cause error) error {
	reason, shim, withheld := p.out.end()
	if withheld > 0 {
		e.options.Log.Debug("lines of the engine's output were not recognised and are withheld", "lines", withheld)
	}
	if n := dir.strangers(); n > 0 {
		e.options.Log.Error("the engine left files in its run directory: its sandbox does not hold", "files", n)
	}
	if shim != "" && p.cmd.ProcessState.ExitCode() == sandbox.ExitFailed {
		return environmentError{fmt.Errorf("its sandbox: %s", shim)}
	}
	if reason != "" {
		return fmt.Errorf("%s: %w", reason, cause)
	}
	return cause
}

// A backoff is how long to wait before the next start.
type backoff struct{ failures int }

// next gives the delay after a life that was so long: doubled each time, at
// most mostDelay, with a random half so that hosts that failed together do not
// come back together.
func (b *backoff) next(life time.Duration) time.Duration {
	if life >= goodLife {
		b.failures = 0
	}
	delay := min(firstDelay<<min(b.failures, 10), mostDelay)
	b.failures++
	return delay/2 + rand.N(delay/2)
}
