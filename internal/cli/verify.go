package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

type verifyCmd struct {
	Dir        string   `placeholder:"DIR" xor:"which" help:"The deployment that redoubt up runs in DIR."`
	Config     string   `placeholder:"FILE" xor:"which" help:"The host whose gateway or sidecar runs with this configuration. Default: the one in /etc/redoubt, else --dir of redoubt up."`
	Outside    bool     `xor:"which" help:"From a host that must not get in; with --deployment."`
	Deployment string   `placeholder:"FILE" help:"deployment.yaml: which hosts there are, for the packet filter, ssh, and --outside."`
	Evidence   []string `placeholder:"FILE" help:"With --outside: reports of redoubt verify (--json) of the deployment's hosts, a day old at most, or directories of them. They say which addresses to visit, and what listens there."`
	CA         string   `name:"ca" placeholder:"FILE" help:"With --outside: ca.crt of the deployment, from a place that you trust. Each report of --evidence must be signed by its host, or attested; and by none that a revoked.crl beside it names. Without it the reports are taken by their word, and the finding says so."`
	Control    []string `placeholder:"HOST:PORT" help:"With --outside: a port that must answer this host, or its silence elsewhere proves nothing; best the same port on a host beside the cache."`
	Host       bool     `help:"With --dir: judge the machine's own settings too (ssh, swap, core dumps, clock), as on real hosts."`
	urlFlags   `embed:""`

	JSON    string `name:"json" placeholder:"FILE" help:"Write the report as JSON, numbered and signed by this host, as redoubt dossier and --compare read it; - prints it."`
	HTML    string `name:"html" placeholder:"FILE" help:"Write the report as a page."`
	JUnit   string `name:"junit" placeholder:"FILE" help:"Write the report as CI systems read it (JUnit)."`
	Compare string `placeholder:"FILE" help:"Name what differs from another environment's report (--json of there)."`
	List    bool   `help:"List the checks and what each claims; run none."`

	unheard error // why the process to look at doesn't answer; nil: it does
}

func (verifyCmd) Help() string {
	return `Proves the six goals on the live system, by attacking it: it reads back what runs and tries what must be refused. It is safe on a cache that serves; the keys it writes begin with redoubt:verify: and are gone after it. Run it as root, on the cache host, on each application host, and from a host that must not get in.

The exit code is 0 if nothing fails that isn't accepted (exceptions in the configuration), 1 if something does, or differs with --compare, 2 for a wrong configuration, 3 if too little could be tried: the process doesn't run, or more was skipped than passed. What can't be tried is skipped and says why; it never counts as passed.

Example:

  sudo redoubt verify                                             # the host's configuration in /etc/redoubt
  sudo redoubt verify --config /etc/redoubt/gateway.yaml --deployment /etc/redoubt/deployment.yaml --json cache-1.json
  redoubt verify --outside --deployment deployment.yaml --evidence reports/ --ca ca.crt --control 10.77.0.80:443   # from anywhere else
  redoubt verify --compare production.json                        # is this environment as production is?`
}

func (c *verifyCmd) Run(e *env) error {
	if c.List {
		return c.list(e)
	}
	var other *evidence.Report
	if c.Compare != "" {
		read, err := readReport(c.Compare)
		if err != nil {
			return misconfigured(fmt.Errorf("--compare: %w", err))
		}
		other = read.Report
	}
	if err := c.writable(); err != nil {
		return misconfigured(fmt.Errorf("verify: %w", err))
	}
	if err := c.locate(); err != nil {
		return usage(fmt.Errorf("verify: %w", err), "redoubt verify --help")
	}
	target, err := c.target(e.ctx)
	if err != nil {
		return misconfigured(err)
	}
	target.JudgeHost = c.Host
	if err := verify.CheckExceptions(target.Exceptions, verify.Checks()); err != nil {
		return misconfigured(err)
	}
	out := newVerifyOutput(e, c.JSON == "-")
	out.head(target)
	report := verify.Run(e.ctx, target, verify.Checks(), verify.Options{
		Version: versionString(), Each: out.result,
	})
	if c.JSON != "" {
		switch uncounted, err := signReport(report, target); {
		case err != nil:
			fmt.Fprintf(e.stderr, "redoubt: verify: the report is not signed, and proves nothing in a dossier: %v\n", err)
		case uncounted != nil:
			fmt.Fprintf(e.stderr, "redoubt: verify: the report has no number, which a dossier shows: %v\n", uncounted)
		}
	}
	if err := c.write(e, report); err != nil {
		return err
	}
	out.summary(report)
	if other != nil && out.compare(report, other) > 0 {
		return fmt.Errorf("verify: this environment differs from that of %s", c.Compare)
	}
	unproved := c.unproved(report)
	switch failing := report.Summary.Fail - report.Summary.Accepted; {
	case failing > 0 && unproved != "":
		return fmt.Errorf("verify: checks that fail: %d; and %s", failing, unproved)
	case failing > 0:
		return fmt.Errorf("verify: checks that fail: %d", failing)
	case unproved != "":
		return coded{fmt.Errorf("verify: %s", unproved), exitEnvironment}
	}
	return nil
}

// writable says whether the reports can be written, before minutes are spent on them.
func (c *verifyCmd) writable() error {
	var faults []error
	for _, path := range []string{c.JSON, c.HTML, c.JUnit} {
		if path == "" || path == "-" {
			continue
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			faults = append(faults, fmt.Errorf("%s is a directory: name a file", path))
			continue
		}
		tried, err := os.CreateTemp(filepath.Dir(path), ".redoubt-verify-*")
		if err != nil {
			faults = append(faults, fmt.Errorf("no report can be written there: %w", err))
			continue
		}
		tried.Close()
		faults = append(faults, os.Remove(tried.Name()))
	}
	return errors.Join(faults...)
}

// unproved says why too little could be tried to call anything proved: the process
// doesn't answer, or more was skipped than passed. "": enough was tried. What was not
// asked for doesn't count, nor that an outsider who is kept out can't try the tunnel.
func (c *verifyCmd) unproved(r *evidence.Report) string {
	s := summaryOf(r, func(check verify.Check) bool {
		switch r.Vantage {
		case evidence.Outsider:
			return check.From == verify.Outside
		case evidence.OneMachine:
			return c.Host || !check.OfHost
		}
		return true
	})
	why := ""
	switch {
	case errors.Is(c.unheard, os.ErrPermission):
		why = fmt.Sprintf(": the process tells root alone of itself (sudo redoubt verify): %v", c.unheard)
	case c.unheard != nil:
		why = fmt.Sprintf(": the process doesn't answer (redoubt status): %v", c.unheard)
	case s.Skip > s.Pass, r.Vantage == evidence.Outsider && s.Skip > 0:
		why = "; what is lacking stands beside each"
	default:
		return ""
	}
	return fmt.Sprintf("not proved, since not tried: %d checks of %d%s", s.Skip, s.Skip+s.Pass+s.Fail, why)
}

// summaryOf is the summary of some of a report's checks.
func summaryOf(r *evidence.Report, counts func(verify.Check) bool) evidence.Summary {
	var some evidence.Report
	for _, c := range verify.Checks() {
		if i := slices.IndexFunc(r.Checks, func(of evidence.Result) bool { return of.ID == c.ID }); i >= 0 && counts(c) {
			some.Checks = append(some.Checks, r.Checks[i])
		}
	}
	some.Count()
	return some.Summary
}

func exceptionsOf(accepted []config.Exception) (exceptions []evidence.Exception) {
	for _, a := range accepted {
		exceptions = append(exceptions, evidence.Exception(a))
	}
	return exceptions
}

// readReport reads what --json has written.
func readReport(path string) (dossier.Evidence, error) {
	const maxReport = 16 << 20
	text, err := statedir.ReadGiven(path, maxReport, "report")
	if err != nil {
		return dossier.Evidence{}, err
	}
	r, err := evidence.Decode(text)
	if err != nil {
		return dossier.Evidence{}, fmt.Errorf("%s: %w", path, err)
	}
	return dossier.Evidence{Name: filepath.Base(path), Text: text, Report: r}, nil
}

// write makes the files that were asked for. They name hosts, versions and
// settings: not for everybody.
func (c *verifyCmd) write(e *env, r *evidence.Report) error {
	for _, f := range []struct {
		path   string
		encode func() ([]byte, error)
	}{
		{c.JSON, r.Encode},
		{c.HTML, func() ([]byte, error) { return dossier.ReportPage(r) }},
		{c.JUnit, func() ([]byte, error) { return verify.JUnit(r) }},
	} {
		if f.path == "" {
			continue
		}
		text, err := f.encode()
		if err == nil && f.path == "-" {
			_, err = e.stdout.Write(text)
		} else if err == nil {
			err = statedir.WriteFile(f.path, text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

func (c *verifyCmd) list(e *env) error {
	for _, check := range verify.Checks() {
		fmt.Fprintf(e.stdout, "%s  %s\n        %s\n        from %s; %s\n", check.ID, check.Title, check.Why, check.From, strings.Join(check.References, ", "))
	}
	return nil
}

// verifyOutput prints what a run finds, as it finds it.
type verifyOutput struct {
	e      *env
	silent bool
	paper  *paper
	goal   evidence.Goal
}

func newVerifyOutput(e *env, silent bool) *verifyOutput {
	return &verifyOutput{e: e, silent: silent, paper: newPaper(e)}
}

func (o *verifyOutput) print(format string, args ...any) {
	if !o.silent {
		fmt.Fprintf(o.e.stdout, format, args...)
	}
}

func (o *verifyOutput) wrap(lead, text string) {
	if !o.silent {
		o.paper.wrap(lead, text)
	}
}

func (o *verifyOutput) head(t *verify.Target) {
	o.print("deployment %s, %s, seen from: %s\n", t.Deployment, t.Host, t.Vantage)
	if os.Geteuid() != 0 {
		o.print("not as root: what belongs to other users is skipped\n")
	}
}

// The colours of a terminal, by SGR number (ECMA-48): green, red, yellow.
var outcomeColour = map[string]int{"pass": 32, "FAIL": 31, "skip": 33, "accepted": 33}

func (o *verifyOutput) result(r evidence.Result) {
	if r.Goal != o.goal {
		o.goal = r.Goal
		o.print("\n%d  %s\n", r.Goal, r.Goal)
	}
	word := map[evidence.Outcome]string{evidence.Pass: "pass", evidence.Fail: "FAIL", evidence.Skip: "skip"}[r.Outcome]
	if r.Accepted != nil {
		word = "accepted"
	}
	shown := fmt.Sprintf("%-8s", word)
	if o.paper.bold {
		shown = fmt.Sprintf("\x1b[%dm%s\x1b[0m", outcomeColour[word], shown)
	}
	o.wrap(fmt.Sprintf("   %s  %s  ", shown, r.ID), r.Title)
	const under = "                     "
	switch {
	case r.Accepted != nil:
		o.wrap(under+"found: ", r.Detail)
		o.wrap(under+"accepted ", fmt.Sprintf("until %s by %s: %s", r.Accepted.Until, r.Accepted.Owner, r.Accepted.Reason))
	case r.Outcome == evidence.Fail:
		o.wrap(under+"found: ", r.Detail)
		o.wrap(under+"mend:  ", r.Mend)
	case r.Outcome == evidence.Skip:
		o.wrap(under, r.Detail)
	}
}

func (o *verifyOutput) summary(r *evidence.Report) {
	s := r.Summary
	o.print("\n%d pass, %d fail", s.Pass, s.Fail)
	if s.Accepted > 0 {
		o.print(" (%d of them accepted)", s.Accepted)
	}
	o.print(", %d skipped", s.Skip)
	if s.Skip > 0 {
		o.print(" and not proved")
	}
	o.print("\n")
}

// compare prints the differences and counts them.
func (o *verifyOutput) compare(ours, other *evidence.Report) int {
	differences := evidence.Compare(ours, other)
	o.print("\ncompared with %s, %s, seen from %s on %s\n", other.Deployment, other.Host, other.Vantage, other.Started.Format("2006-01-02"))
	for _, d := range differences {
		o.print("   %s\n", d)
	}
	if len(differences) == 0 {
		o.print("   the same in outcomes and settings\n")
	}
	return len(differences)
}
