package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/bench"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

type benchCmd struct {
	Loads    []string      `placeholder:"LIST" help:"c50, set, c500, p16, c1, unix, 4k, set4k, set20k, set64k, 64k, churn, open. Default: all."`
	Peers    []string      `placeholder:"LIST" help:"redoubt, native, stunnel, haproxy, ghostunnel; plain always runs. Default: all that are installed."`
	Duration time.Duration `default:"2s" placeholder:"DURATION" help:"Of each run (${default}); a warm-up of a quarter of it comes before."`
	Rounds   int           `default:"5" placeholder:"N" help:"How often each is measured (${default})."`
	Rate     int           `default:"5000" placeholder:"N" help:"Requests a second of the load \"open\" (${default})."`
	Quick    bool          `help:"Short runs, two rounds: a first impression."`
	Engine   string        `placeholder:"PATH" help:"redis-server or valkey-server. Default: the one that is installed."`
	JSON     string        `name:"json" placeholder:"FILE" help:"Write all results as JSON too."`
	HTML     string        `name:"html" placeholder:"FILE" help:"Write a page with plots too."`
	Markdown bool          `help:"Print the table in Markdown."`
	Update   string        `placeholder:"FILE" help:"Put the Markdown table between the two marker comments in FILE."`
}

func (benchCmd) Help() string {
	return `Measures on this machine what the tunnel costs, on loopback: a plain engine, a whole "redoubt up", and, as far as they are installed, the engine's own TLS, stunnel, HAProxy and ghostunnel. Both ends, the engine and the load share this machine's cores. What isn't installed is listed as absent. A full run takes half an hour; nothing else should be running.

Runs alternate between plain and each candidate; a ratio is that to the plain run just before. Read docs/performance.md on how far to believe it.

Example:

  redoubt bench --quick
  redoubt bench --loads c50,open --peers redoubt,stunnel --json bench.json --html bench.html

Ctrl-C stops it and everything it started.`
}

func (c *benchCmd) Run(e *env) error {
	options, err := c.options(e)
	if err != nil {
		return usage(err, "redoubt bench --help")
	}
	if options.Self, err = os.Executable(); err != nil {
		return err
	}
	report, err := c.measure(e, options)
	if err != nil {
		return err
	}
	write := bench.WriteTable
	if c.Markdown {
		write = bench.WriteMarkdown
	}
	return errors.Join(write(e.stdout, report), c.save(report))
}

func (c *benchCmd) options(e *env) (o bench.Options, err error) {
	if c.Quick {
		c.Duration, c.Rounds = 500*time.Millisecond, 2
	}
	if c.Duration <= 0 || c.Rounds < 1 || c.Rate < 1 {
		return o, errors.New("--duration, --rounds and --rate must be above zero")
	}
	o = bench.Options{
		Engine: c.Engine, Peers: c.Peers,
		Warmup: c.Duration / 4, Duration: c.Duration, Rounds: c.Rounds, Progress: progress(e.stderr),
	}
	if o.Loads, err = bench.Named(c.Loads); err != nil {
		return o, err
	}
	for i := range o.Loads {
		if o.Loads[i].Rate > 0 {
			o.Loads[i].Rate = c.Rate
		}
	}
	return o, errors.Join(bench.ValidPeers(c.Peers), c.checkFiles())
}

// checkFiles finds out before a run of many minutes, not after it, that its
// result can't be kept.
func (c *benchCmd) checkFiles() error {
	for _, path := range []string{c.JSON, c.HTML} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("%s can't be written: %w", path, err)
		}
	}
	if c.Update == "" {
		return nil
	}
	text, err := os.ReadFile(c.Update)
	if err != nil {
		return fmt.Errorf("--update: %w", err)
	}
	if err := bench.HasMarkers(string(text)); err != nil {
		return fmt.Errorf("--update: %s: %w", c.Update, err)
	}
	return nil
}

// measure runs the benchmark until its end or a signal.
func (c *benchCmd) measure(e *env, options bench.Options) (*bench.Report, error) {
	ctx, finished := context.WithCancel(e.ctx)
	defer finished()
	var report *bench.Report
	var failure error
	part := daemon.Part{Name: "bench", Run: func(running context.Context, ready func()) error {
		ready()
		report, failure = bench.Run(running, options)
		// To the daemon a part that ends by itself is a failure: have it stopped.
		finished()
		<-running.Done()
		return nil
	}}
	if err := daemon.Run(ctx, slog.New(slog.DiscardHandler), func() {}, part); err != nil {
		return nil, err // and the part may be running yet
	}
	switch {
	case errors.Is(failure, context.Canceled):
		return nil, errors.New("interrupted: all that the benchmark had started is stopped")
	case errors.Is(failure, bench.ErrNoEngine):
		return nil, coded{failure, exitEnvironment}
	}
	return report, failure
}

// save writes the files that were asked for.
func (c *benchCmd) save(report *bench.Report) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer, *bench.Report) error
	}{
		{c.JSON, func(w io.Writer, r *bench.Report) error { return writeJSON(w, r) }},
		{c.HTML, bench.WritePage},
	} {
		if f.path == "" {
			continue
		}
		var b strings.Builder
		if err := f.write(&b, report); err != nil {
			return err
		}
		if err := statedir.WriteFile(f.path, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if c.Update == "" {
		return nil
	}
	text, err := os.ReadFile(c.Update)
	if err != nil {
		return err
	}
	updated, err := bench.Splice(string(text), report)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Update, err)
	}
	return statedir.WriteFile(c.Update, []byte(updated), 0o644)
}

// progress shows each run: on one line of a terminal, else a line a load.
func progress(w io.Writer) func(bench.Step) {
	terminal, last := isTerminal(w), ""
	return func(s bench.Step) {
		percent := 100 * s.Done / s.Total
		switch {
		case terminal && s.Done == s.Total:
			fmt.Fprint(w, "\r\033[K")
		case terminal:
			fmt.Fprintf(w, "\r\033[K%3d %%  %s, round %d: %s", percent, s.Load.Title, s.Round, s.Peer)
		case s.Load.Name != last && s.Done < s.Total:
			fmt.Fprintf(w, "%3d %%  %s\n", percent, s.Load.Title)
		}
		last = s.Load.Name
	}
}
