package verify

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// checkWithin bounds one check.
const checkWithin = 30 * time.Second

// Options are what a run is told besides its target.
type Options struct {
	Cheap   bool                  // only the checks that may run all the time
	Version string                // of this redoubt, for the report
	Each    func(evidence.Result) // told of each result as it comes; nil: nobody
}

// Run tries every check that can be seen from the target's vantage, in order. When
// ctx ends, those that are left are skipped.
func Run(ctx context.Context, t *Target, checks []Check, o Options) *evidence.Report {
	defer t.end()
	r := &evidence.Report{
		Deployment: t.Deployment, Vantage: t.Vantage, Host: t.Host, Version: o.Version, Started: time.Now().UTC(),
	}
	for _, c := range checks {
		if !Sees(t.Vantage, c) || o.Cheap && !c.Cheap {
			continue
		}
		result := runOne(ctx, t, c)
		result.Accepted = accepted(result, t.Exceptions, r.Started)
		r.Checks = append(r.Checks, result)
		if o.Each != nil {
			o.Each(result)
		}
	}
	for _, door := range t.Doors {
		if name := door.ID.Name(); !slices.Contains(r.Doors, name) {
			r.Doors = append(r.Doors, name)
		}
	}
	if !o.Cheap && t.Vantage != evidence.Outsider {
		r.Network = network()
	}
	r.Finished = time.Now().UTC()
	r.Count()
	r.Set = evidence.SetOf(r.Checks)
	return r
}

// network is how this host can be reached; nil where the kernel doesn't tell.
func network() *evidence.Network {
	addresses, err := host.Addresses()
	open, err2 := host.Open()
	if err != nil || err2 != nil {
		return nil
	}
	return &evidence.Network{Addresses: addresses, Open: open}
}

// Sees says whether a check can be made from a vantage.
func Sees(v evidence.Vantage, c Check) bool { return c.From&placesOf(v) != 0 }

// Set names the checks that a vantage sees, as a whole report from there does.
func Set(v evidence.Vantage) string {
	var set []evidence.Result
	for _, c := range Checks() {
		if Sees(v, c) {
			set = append(set, evidence.Result{ID: c.ID, Goal: c.Goal, Title: c.Title})
		}
	}
	return evidence.SetOf(set)
}

func runOne(ctx context.Context, t *Target, c Check) evidence.Result {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	notes := new(Notes)
	f := c.try(ctx, t, notes)
	if f.outcome == evidence.Pass && len(notes.lines) == 0 {
		f = notes.Fail("the check passed without evidence, which counts as a failure of the check")
	}
	result := evidence.Result{
		ID: c.ID, Goal: c.Goal, Title: c.Title, Outcome: f.outcome, Detail: printable(f.detail),
		Evidence: strings.Join(notes.lines, "\n"), References: slices.Clone(c.References), Facts: notes.facts,
	}
	if f.outcome == evidence.Fail {
		result.Mend = c.Mend
	}
	return result
}

// try runs the check if nothing that it needs is lacking.
func (c Check) try(ctx context.Context, t *Target, notes *Notes) (f Finding) {
	defer func() {
		if cause := recover(); cause != nil {
			// The stack names functions and lines; the cause may hold anything.
			notes.Saw("%s", debug.Stack())
			f = notes.Fail("the check itself broke (%T): this is a fault of redoubt, please report it", cause)
		}
	}()
	if ctx.Err() != nil {
		return notes.Skip("not run: %v", context.Cause(ctx))
	}
	if c.OfHost && t.Vantage == evidence.OneMachine && !t.JudgeHost {
		return notes.Skip("about this machine, not the deployment: --host looks at it too; real hosts always do")
	}
	for _, need := range c.Needs {
		if lacking := need(ctx, t); lacking != "" {
			return notes.Skip("%s", lacking)
		}
	}
	return c.Run(ctx, t, notes)
}

// accepted is the exception that holds for a failure today.
func accepted(result evidence.Result, exceptions []evidence.Exception, now time.Time) *evidence.Exception {
	if result.Outcome != evidence.Fail {
		return nil
	}
	for _, e := range exceptions {
		if ended, err := e.Ended(now); e.Check == result.ID && err == nil && !ended {
			return &e
		}
	}
	return nil
}

// CheckExceptions says what is wrong with a list of exceptions. One that has ended
// is not wrong: its check fails again.
func CheckExceptions(exceptions []evidence.Exception, checks []Check) error {
	for i, e := range exceptions {
		at := fmt.Sprintf("exceptions[%d]", i)
		if _, err := e.Ended(time.Time{}); err != nil {
			return fmt.Errorf("%s.%w", at, err)
		}
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.ID == e.Check }) {
			return fmt.Errorf("%s.check: there is no check %q (redoubt verify --list)", at, e.Check)
		}
		if slices.ContainsFunc(exceptions[:i], func(other evidence.Exception) bool { return other.Check == e.Check }) {
			return fmt.Errorf("%s.check: %s is accepted twice", at, e.Check)
		}
	}
	return nil
}
