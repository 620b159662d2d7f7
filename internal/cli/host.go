package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aymanbagabas/go-udiff"

	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/lockdown"
)

type hostCmd struct {
	Plan    hostPlanCmd    `cmd:"" help:"Show what apply would change on this host."`
	Apply   hostApplyCmd   `cmd:"" help:"Change it: packet filter, sshd, kernel, swap."`
	Confirm hostConfirmCmd `cmd:"" help:"Let stay what apply changed."`
	Check   hostCheckCmd   `cmd:"" help:"Is this host as apply would make it?"`
	Undo    hostUndoCmd    `cmd:"" help:"Put the host back as the first apply found it."`
	Boot    hostBootCmd    `cmd:"" hidden:"" help:"What redoubt-host.service runs when the host starts."`
	Keep    hostKeepCmd    `cmd:"" hidden:"" help:"What redoubt-filter.service runs: loads the packet filter again when something took it away."`
	Guard   hostGuardCmd   `cmd:"" hidden:"" help:"Waits for confirm, and puts the host back without it."`
}

// lockdownFlags say what this host is to be.
type lockdownFlags struct {
	Deployment string   `default:"/etc/redoubt/deployment.yaml" placeholder:"FILE" help:"The deployment's hosts (${default}); docs/configuration.md has every key."`
	Host       string   `placeholder:"NAME" help:"Which of them this host is, a gateway's or an app's name. Default: the host's own name."`
	Without    []string `enum:"kernel,coredumps,hibernation,swap,ssh,firewall" placeholder:"PART" help:"Leave out: kernel, coredumps, hibernation, swap, ssh, firewall."`
}

func (c *lockdownFlags) want() (w lockdown.Want, err error) {
	if os.Geteuid() != 0 {
		return w, coded{errors.New("host: only root can look at and change all of a host: run it with sudo"), exitEnvironment}
	}
	if c.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return w, err
		}
		c.Host, _, _ = strings.Cut(name, ".")
	}
	d, err := loadDeployment(c.Deployment)
	if err != nil {
		return w, misconfigured(err)
	}
	if w.Rules, err = firewallRules(d, c.Host); err != nil {
		return w, usage(fmt.Errorf("%s: %w; name this one with --host", c.Deployment, err), "redoubt host --help")
	}
	w.Forwards = d.SSHForwards
	for _, part := range c.Without {
		w.Without = append(w.Without, lockdown.Part(part))
	}
	w.Program, err = startedAtBoot()
	return w, err
}

// startedAtBoot is this program, as root's alone, which the host's unit will start.
func startedAtBoot() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if err := host.RootsAlone(path); err != nil {
		return "", coded{fmt.Errorf("host: others than root can change %s, which would start with the host (%w): install -o root -m 755 %s /usr/local/bin/redoubt", path, err, path), exitEnvironment}
	}
	return path, nil
}

const hostHelp = `A host is made what its role in deployment.yaml asks: the packet filter, an sshd that takes keys only, no core dumps, no hibernation, no swap that isn't encrypted, a kernel that keeps processes apart. docs/host.md has every file and setting. `

type hostPlanCmd struct{ lockdownFlags }

func (hostPlanCmd) Help() string {
	return hostHelp + `plan changes nothing.

Example:

  sudo redoubt host plan
  sudo redoubt host plan --deployment deployment.yaml --host cache-1 --without swap`
}

func (c *hostPlanCmd) Run(e *env) error {
	w, err := c.want()
	if err != nil {
		return err
	}
	p, err := lockdown.Look(e.ctx, w)
	if err != nil {
		return hostErr(err)
	}
	e.printHost(w, p, true)
	if len(p.Changes) > 0 {
		fmt.Fprintf(e.stdout, "\n%s. To make them: redoubt host apply\n", count(len(p.Changes), "change", "changes"))
	}
	return nil
}

type hostCheckCmd struct{ lockdownFlags }

func (hostCheckCmd) Help() string {
	return hostHelp + `check changes nothing. The exit code is 0 if the host is so, and 1 if something is otherwise or waits to be confirmed.

Example:

  sudo redoubt host check`
}

func (c *hostCheckCmd) Run(e *env) error {
	w, err := c.want()
	if err != nil {
		return err
	}
	p, err := lockdown.Look(e.ctx, w)
	if err != nil {
		return hostErr(err)
	}
	e.printHost(w, p, false)
	s, err := lockdown.Known()
	switch {
	case err != nil:
		return hostErr(err)
	case len(p.Changes)+len(p.Against) > 0:
		return fmt.Errorf("host: %s (redoubt host plan shows them whole)", count(len(p.Changes)+len(p.Against), "thing is otherwise", "things are otherwise"))
	case !s.Until.IsZero():
		return fmt.Errorf("host: packet filter and sshd go back at %s unless redoubt host confirm comes first", s.Until.Format(time.TimeOnly))
	case s.Unfinished:
		return errors.New("host: an apply didn't get to its end: run it again")
	}
	return nil
}

type hostApplyCmd struct {
	lockdownFlags
	Within     time.Duration `default:"2m" placeholder:"TIME" help:"How long packet filter and sshd wait for redoubt host confirm before they go back (${default})."`
	NoRollback bool          `help:"Don't wait: for machines that nobody is logged in to, as in an image or a first start."`
}

func (hostApplyCmd) Help() string {
	return hostHelp + `Packet filter and sshd go back as they were unless redoubt host confirm comes in time, or when the host starts anew: so that a mistake locks nobody out. Log in once more before you confirm. Applied again, it changes nothing.

Example:

  sudo redoubt host apply          # then, from a new session:
  sudo redoubt host confirm`
}

// Bounds of --within: time enough to log in, and not so much that it is forgotten.
const (
	shortestWithin = time.Second
	longestWithin  = time.Hour
)

func (c *hostApplyCmd) Run(e *env) error {
	if c.Within < shortestWithin || c.Within > longestWithin {
		return usage(fmt.Errorf("--within %s must be between %s and %s", c.Within, shortestWithin, longestWithin), "redoubt host apply --help")
	}
	if c.NoRollback {
		c.Within = 0
	}
	w, err := c.want()
	if err != nil {
		return err
	}
	p, until, err := lockdown.Apply(e.ctx, w, lockdown.Options{Within: c.Within, Told: func(step string) { fmt.Fprintf(e.stderr, "  %s\n", step) }})
	if err != nil {
		if !until.IsZero() {
			err = fmt.Errorf("%w; packet filter and sshd go back at %s", err, until.Format(time.TimeOnly))
		}
		return hostErr(err)
	}
	e.printHost(w, p, false)
	switch {
	case len(p.Changes) == 0:
		fmt.Fprintln(e.stdout, "\nnothing to change")
	default:
		fmt.Fprintf(e.stdout, "\n%s made; redoubt host undo puts them back\n", count(len(p.Changes), "change", "changes"))
	}
	if !until.IsZero() {
		fmt.Fprintf(e.stdout, "log in from a bastion in a new session now, and there: redoubt host confirm\nwithout it packet filter and sshd go back at %s\n", until.Format(time.TimeOnly))
	}
	return nil
}

type hostConfirmCmd struct{}

func (hostConfirmCmd) Help() string {
	return `Lets stay what apply changed of packet filter and sshd. Give it from a session that you opened after apply: it shows that people can still log in.`
}

func (hostConfirmCmd) Run(e *env) error {
	if err := lockdown.Confirm(e.ctx); err != nil {
		if s, known := lockdown.Known(); known == nil && errors.Is(err, lockdown.ErrNothingPending) && !s.WentBack.IsZero() {
			err = fmt.Errorf("%w: it came too late, and packet filter and sshd went back at %s; apply again", err, s.WentBack.Format(time.TimeOnly))
		}
		return hostErr(err)
	}
	fmt.Fprintln(e.stdout, "confirmed: packet filter and sshd stay as they are")
	return nil
}

type hostUndoCmd struct{}

func (hostUndoCmd) Help() string {
	return `Puts files, kernel settings, swap, sshd and packet filter back as the first apply found them. What was changed by hand in the same files since then is lost.`
}

func (hostUndoCmd) Run(e *env) error {
	if err := lockdown.Undo(e.ctx); err != nil {
		return hostErr(err)
	}
	fmt.Fprintln(e.stdout, "the host is as it was before the first apply")
	return nil
}

type hostBootCmd struct{}

func (hostBootCmd) Run(e *env) error { return hostErr(lockdown.Boot(e.ctx, e.news)) }

// news is for the journal.
func (e *env) news(line string) { fmt.Fprintln(e.stderr, line) }

type hostKeepCmd struct{}

func (hostKeepCmd) Run(e *env) error {
	return hostErr(lockdown.Keep(e.ctx, e.news))
}

type hostGuardCmd struct{}

func (hostGuardCmd) Run(e *env) error {
	wentBack, err := lockdown.Guard(e.ctx)
	if wentBack && err == nil {
		fmt.Fprintln(e.stderr, "nobody confirmed: packet filter and sshd are as they were before")
	}
	return hostErr(err)
}

// hostErr says what is at fault: almost always this machine.
func hostErr(err error) error {
	if err == nil || errors.Is(err, lockdown.ErrNothingPending) || errors.Is(err, lockdown.ErrNeverApplied) || errors.Is(err, lockdown.ErrAgainst) {
		return err
	}
	return coded{fmt.Errorf("host: %w", err), exitEnvironment}
}

// printHost prints what is to be changed, or was, part by part.
func (e *env) printHost(w lockdown.Want, p *lockdown.Plan, whole bool) {
	o := (&planOutput{newPaper(e)})
	role := "a cache host"
	if w.Rules.Cache == 0 {
		role = "an application host"
	}
	o.title(fmt.Sprintf("%s, %s of deployment %s", w.Rules.Host, role, w.Rules.Deployment))
	for _, part := range lockdown.Parts {
		fmt.Fprintln(o.w)
		changes := slices.DeleteFunc(slices.Clone(p.Changes), func(c lockdown.Change) bool { return c.Part != part })
		switch {
		case slices.Contains(w.Without, part):
			o.title(string(part) + ": left out")
		case len(changes) == 0 && part == lockdown.SSH && len(p.Against) > 0:
			o.title(string(part) + ": otherwise, by what apply doesn't touch")
		case len(changes) == 0:
			o.title(string(part) + ": nothing to change")
		default:
			o.title(string(part))
		}
		for _, c := range changes {
			switch {
			case !c.IsText:
				fmt.Fprintf(o.w, "  %s: %s  →  %s\n", c.What, printable(c.Have), printable(c.Want))
			case whole:
				fmt.Fprintf(o.w, "%s", printableLines(udiff.Unified(c.What+" as it is", c.What, c.Have, c.Want)))
			case c.Have == "":
				fmt.Fprintf(o.w, "  %s: new\n", c.What)
			default:
				fmt.Fprintf(o.w, "  %s: changed\n", c.What)
			}
		}
	}
	if len(p.Against) > 0 {
		fmt.Fprintln(o.w)
		o.title("What apply doesn't change: take it away by hand")
	}
	for _, fault := range p.Against {
		o.wrap("! ", fmt.Sprintf("%s; %s is wanted", fault, fault.Want))
	}
	if len(p.Notes) > 0 {
		fmt.Fprintln(o.w)
		o.title("To know")
	}
	for _, note := range p.Notes {
		o.wrap("! ", note)
	}
}

func printableLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "    ")
		b.WriteString(printable(line) + "\n")
	}
	return b.String()
}
