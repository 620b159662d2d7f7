package dossier

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/docs/decisions"
	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// Sources are what a dossier is made from.
type Sources struct {
	Deployment string
	Hosts      *config.Deployment // nil: redoubt up, on one machine
	Policy     *engine.Policy     // nil: not given, and said so
	Evidence   []Evidence
	CA         *pki.CA // the deployment's: says whose reports are true, and signs; nil: nobody does
	Owner      string  // who answers for the risks
	Version    string  // of redoubt
	Now        time.Time
}

// Evidence is a report as it lies in its file.
type Evidence struct {
	Name   string // the file's
	Text   []byte
	Report *evidence.Report

	by    string // who answers for it; "": nobody
	later bool   // there is a later one of the same host, which counts
}

// Dossier is all that the documents say.
type Dossier struct {
	Deployment, Owner, Version string
	Written                    time.Time
	Hosts                      []Host
	Bastions                   []string
	SSHPort                    int
	Policy                     []string // a line for each thing that it opens
	PolicyKnown                bool
	Goals                      []Goal
	Risks                      []Risk
	Controls                   []Control
	Decisions                  []decisions.Record
	Reports                    []Report
	Summary                    evidence.Summary // of all reports that count
	Warnings                   []string         // what a reader must know first

	sources []Evidence
	ca      *pki.CA
}

// Host is one of the deployment's.
type Host struct {
	Name, Role, Address string
	Reported            bool
}

// Goal is one of the six with what was found of it.
type Goal struct {
	evidence.Goal
	Number                            int
	How                               string // how it is met
	Checks                            []Check
	Passed, Failed, Accepted, Skipped int
}

// Check is a claim, and what each host's report says of it.
type Check struct {
	ID, Title, Why string
	References     []string
	Results        []Result
	Outcome        string // of all: the worst
}

// Result is what one report says.
type Result struct {
	Host     string
	Outcome  evidence.Outcome
	Accepted *evidence.Exception
	Detail   string
	Nobodys  bool // nobody answers for the report: a pass in it proves nothing
}

// Control is a paragraph that asks for something, and the checks that answer it.
type Control struct {
	evidence.Reference
	Checks  []string
	Outcome string
}

// Report is a piece of evidence.
type Report struct {
	File, SHA256, Host, Version string
	Vantage                     evidence.Vantage
	Started                     time.Time
	Summary                     evidence.Summary
	By                          string // who answers for it
	Number                      int    // 0: none
	Later                       bool   // a later one of the same host counts in its place
}

// evidenceLife is how long a report counts as current: the evaluation that 45 CFR
// 164.308(a)(8) asks for is periodic, and software changes by the month.
const evidenceLife = 31 * 24 * time.Hour

// The words for a check over all reports, worst first.
const (
	Fails     = "fails"
	IsAllowed = "accepted for now"
	Unproven  = "not proved"
	Holds     = "holds"
)

// New takes the sources together. It refuses evidence that isn't what it says: of another
// deployment, another version, too old, changed, cut, or signed by nobody who may.
func New(s Sources) (*Dossier, error) {
	d := &Dossier{Deployment: s.Deployment, Owner: s.Owner, Version: s.Version, Written: s.Now.UTC().Truncate(time.Second), ca: s.CA}
	var err error
	if d.sources, err = s.examined(); err != nil {
		return nil, err
	}
	for _, e := range d.sources {
		d.addReport(e)
	}
	d.addHosts(s.Hosts)
	d.addPolicy(s.Policy)
	checks := d.addChecks()
	d.addControls(checks)
	d.addRisks(s.Policy, checks)
	if d.Decisions, err = decisions.All(); err != nil {
		return nil, err
	}
	d.warn(s)
	return d, nil
}

// examined is the evidence with who answers for it.
func (s Sources) examined() ([]Evidence, error) {
	trust := &trust{deployment: s.Deployment, version: s.Version, now: s.Now}
	if s.CA != nil {
		var err error
		if trust, err = ofCA(s.CA, s.Version, s.Now); err != nil {
			return nil, err
		}
	}
	return trust.examineAll(s.Evidence)
}

func (d *Dossier) addReport(e Evidence) {
	r := e.Report
	d.Reports = append(d.Reports, Report{
		File: e.Name, SHA256: hashOf(e.Text), Host: r.Host, Version: r.Version, Vantage: r.Vantage,
		Started: r.Started, Summary: r.Summary, By: e.by, Number: r.Number, Later: e.later,
	})
	if e.later {
		return
	}
	d.Summary.Pass += r.Summary.Pass
	d.Summary.Fail += r.Summary.Fail
	d.Summary.Skip += r.Summary.Skip
	d.Summary.Accepted += r.Summary.Accepted
}

func (d *Dossier) addHosts(hosts *config.Deployment) {
	if hosts == nil {
		d.Hosts = []Host{{Name: "this machine", Role: "cache and application", Address: "loopback", Reported: len(d.Reports) > 0}}
		return
	}
	reported := func(name string) bool {
		return slices.ContainsFunc(d.Reports, func(r Report) bool { return r.Host == name && r.Vantage != evidence.Outsider })
	}
	for _, g := range hosts.Gateways {
		d.Hosts = append(d.Hosts, Host{g.Name, "cache host", fmt.Sprintf("%s, port %d", listed(g.Address), g.Port), reported(g.Name)})
	}
	for _, a := range hosts.Apps {
		role := "application host"
		if len(a.Network) > 0 {
			role = "group of application hosts"
		}
		d.Hosts = append(d.Hosts, Host{a.Name, role, listed(append(slices.Clone(a.Address), a.Network...)), reported(a.Name)})
	}
	for _, b := range hosts.Bastions {
		d.Bastions = append(d.Bastions, prefixText(b.Prefix))
	}
	d.SSHPort = hosts.SSHPort
}

func listed(sources config.Sources) string {
	var texts []string
	for _, s := range sources {
		texts = append(texts, prefixText(s.Prefix))
	}
	return strings.Join(texts, ", ")
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (d *Dossier) addPolicy(p *engine.Policy) {
	if p == nil {
		return
	}
	d.PolicyKnown = true
	for _, o := range p.Openings() {
		d.Policy = append(d.Policy, o.Name+": "+o.Risk)
	}
}

// addChecks lays the reports side by side, check by check.
func (d *Dossier) addChecks() map[string]Check {
	all := map[string]Check{}
	for _, g := range evidence.Goals() {
		goal := Goal{Goal: g, Number: int(g), How: how[g]}
		for _, c := range verify.Checks() {
			if c.Goal != g {
				continue
			}
			check := Check{ID: c.ID, Title: c.Title, Why: c.Why, References: c.References}
			for _, e := range d.sources {
				for _, r := range e.Report.Checks {
					if r.ID == c.ID && !e.later {
						check.Results = append(check.Results, Result{e.Report.Host, r.Outcome, r.Accepted, r.Detail, e.by == ""})
					}
				}
			}
			check.Outcome = worst(check.Results)
			goal.count(check.Outcome)
			goal.Checks = append(goal.Checks, check)
			all[c.ID] = check
		}
		d.Goals = append(d.Goals, goal)
	}
	return all
}

func (g *Goal) count(outcome string) {
	switch outcome {
	case Holds:
		g.Passed++
	case Fails:
		g.Failed++
	case IsAllowed:
		g.Accepted++
	default:
		g.Skipped++
	}
}

// worst is a check over all hosts: it holds where it passed somewhere and failed
// nowhere. A skip on one host is covered by another's pass, such as a check of the
// CA, which lies on one of them.
func worst(results []Result) string {
	outcome := Unproven
	for _, r := range results {
		switch {
		case r.Outcome == evidence.Fail && r.Accepted == nil:
			return Fails
		case r.Outcome == evidence.Fail:
			outcome = IsAllowed
		case r.Outcome == evidence.Pass && !r.Nobodys && outcome == Unproven:
			outcome = Holds
		}
	}
	return outcome
}

func (d *Dossier) addControls(checks map[string]Check) {
	for _, ref := range evidence.References {
		c := Control{Reference: ref, Outcome: Unproven}
		var outcomes []string
		for _, v := range verify.Checks() {
			if slices.Contains(v.References, ref.Text) {
				c.Checks = append(c.Checks, v.ID)
				outcomes = append(outcomes, checks[v.ID].Outcome)
			}
		}
		c.Outcome = combine(outcomes)
		d.Controls = append(d.Controls, c)
	}
}

// combine is what several checks say together.
func combine(outcomes []string) string {
	rank := []string{Fails, IsAllowed, Holds, Unproven}
	if len(outcomes) == 0 {
		return Unproven
	}
	return slices.MinFunc(outcomes, func(a, b string) int {
		return cmp.Compare(slices.Index(rank, a), slices.Index(rank, b))
	})
}

func (d *Dossier) warn(s Sources) {
	warn := func(format string, args ...any) { d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...)) }
	if len(d.Reports) == 0 {
		warn("There is no evidence: no report of redoubt verify was given.")
	}
	for _, gap := range gaps(d.sources) {
		warn("%s", gap)
	}
	for _, h := range d.Hosts {
		if !h.Reported {
			warn("There is no evidence from %s (%s).", h.Name, h.Role)
		}
	}
	if s.Hosts != nil && !slices.ContainsFunc(d.Reports, func(r Report) bool { return r.Vantage == evidence.Outsider }) {
		warn("Nobody has tried from outside: no report of redoubt verify --outside was given.")
	}
	for _, r := range d.Reports {
		if r.By == "" {
			warn("%s is not authenticated: nobody who is known answers for it, and what passed in it is not proved.", r.File)
		}
		if r.By != "" && r.Number == 0 && r.Vantage != evidence.Outsider {
			warn("%s has no number: reports of %s that were left out would not be noticed.", r.File, r.Host)
		}
	}
	if !d.PolicyKnown {
		warn("What the application may do is not stated: no policy (gateway.yaml) was given.")
	}
	if s.Owner == "" {
		d.Owner = "nobody yet"
		warn("Nobody is named who answers for the risks (--owner).")
	}
}
