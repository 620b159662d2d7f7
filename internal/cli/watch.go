package cli

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// watchInterval is between two rounds of the cheap checks that a process makes on
// itself: what drifts shows within a minute.
const watchInterval = 15 * time.Second

// checkFacts is what came of the last round.
type checkFacts struct {
	When     time.Time      `json:"when" metric:"redoubt_checks_timestamp_seconds" help:"When the process last ran its checks on itself."`
	Pass     int            `json:"pass" metric:"redoubt_checks_passed" help:"Checks that passed then."`
	Skip     int            `json:"skip" metric:"redoubt_checks_skipped" help:"Checks that could not run then; redoubt verify says why."`
	Accepted int            `json:"accepted" metric:"redoubt_checks_accepted" help:"Checks that failed and are accepted for now (exceptions)."`
	Failing  []failingCheck `json:"failing"`
}

type failingCheck struct {
	ID      string `json:"id" label:"check"`
	Detail  string `json:"detail"`
	Failing int    `json:"-" metric:"redoubt_check_failing" help:"1 for each check that failed then, and is not accepted; absent for the others."`
}

// watch makes the cheap checks again and again.
type watch struct {
	self   *reporter
	target atomic.Pointer[verify.Target]
	log    *slog.Logger
	last   atomic.Pointer[evidence.Report]
}

// watch has the process check itself.
func (r *reporter) watch(t *verify.Target, accepted []config.Exception, log *slog.Logger) {
	t.Exceptions = exceptionsOf(accepted)
	r.checks = &watch{self: r, log: log}
	r.checks.target.Store(t)
}

// watchAnew has it check what another configuration says, from the next round on.
func (r *reporter) watchAnew(t *verify.Target, accepted []config.Exception) {
	t.Exceptions = exceptionsOf(accepted)
	if t.Cache != nil {
		t.Cache.Own(r.engine)
	}
	r.report(context.Background()).Facts.(*facts).addTo(t)
	r.checks.target.Store(t)
}

func (w *watch) part() daemon.Part {
	return daemon.Part{Name: "checks", Run: func(ctx context.Context, ready func()) error {
		ready()
		// It runs after the roles: by now they know where they listen.
		w.self.report(ctx).Facts.(*facts).addTo(w.target.Load())
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			w.round(ctx)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}}
}

// round logs what has changed since the last one.
func (w *watch) round(ctx context.Context) {
	before := map[string]evidence.Outcome{}
	if last := w.last.Load(); last != nil {
		for _, c := range last.Checks {
			before[c.ID] = c.Outcome
		}
	}
	r := verify.Run(ctx, w.target.Load(), verify.Checks(), verify.Options{Cheap: true, Version: versionString()})
	if ctx.Err() != nil {
		return // what it saw was a process that stops
	}
	w.last.Store(r)
	for _, c := range r.Checks {
		switch {
		case c.Outcome == evidence.Fail && before[c.ID] != evidence.Fail:
			w.log.Warn("a check fails", "check", c.ID, "claim", c.Title, "found", c.Detail, "mend", c.Mend, "accepted", c.Accepted != nil)
		case c.Outcome != evidence.Fail && before[c.ID] == evidence.Fail:
			w.log.Info("a check fails no more", "check", c.ID, "outcome", string(c.Outcome))
		}
	}
}

// facts are those of the last round; nil before the first.
func (w *watch) facts() *checkFacts {
	if w == nil || w.last.Load() == nil {
		return nil
	}
	r := w.last.Load()
	f := &checkFacts{When: r.Finished, Pass: r.Summary.Pass, Skip: r.Summary.Skip, Accepted: r.Summary.Accepted, Failing: []failingCheck{}}
	for _, c := range r.Checks {
		if c.Outcome == evidence.Fail && c.Accepted == nil {
			f.Failing = append(f.Failing, failingCheck{c.ID, c.Detail, 1})
		}
	}
	return f
}
