package dossier

import (
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
	checks  map[string]Check
	uses    []engine.Use
}

// Host is one of the deployment's.
type Host struct {
	Name, Role, Address string
	Reported            bool

	vantage evidence.Vantage // what its reports are made from; "": a group
}

// Goal is one of the six with what was found of it.
type Goal struct {
	evidence.Goal
	Number                            int
	How                               []Said // how it is met
	Checks                            []Check
	Passed, Failed, Accepted, Skipped int
}

// Check is a claim, and what each host's report says of it.
type Check struct {
	ID, Title, Why string
	References     []string
	Results        []Result
	Lacking        []string // the hosts that don't show it, and should
	Outcome        string   // of all: the worst
}

// Result is what one report says.
type Result struct {
	Host     string
	From     evidence.Vantage
	Outcome  evidence.Outcome
	Accepted *evidence.Exception
	Detail   string
	Nobodys  bool // nobody answers for the report: a pass in it proves nothing

	facts map[string]string
	doors []string // the gateways that were knocked at
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
	if err := d.addHosts(s.Hosts); err != nil {
		return nil, err
	}
	d.addPolicy(s.Policy)
	d.addGoals()
	d.addControls()
	d.addRisks(s.Policy)
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
	for _, c := range r.Checks {
		if d.accepted(c) != nil {
			d.Summary.Accepted++
		}
	}
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
	d.PolicyKnown, d.uses = true, p.Uses
	for _, o := range p.Openings() {
		d.Policy = append(d.Policy, o.Name+": "+o.Risk)
	}
}

// addGoals says of each goal what was found.
func (d *Dossier) addGoals() {
	d.checks = map[string]Check{}
	for _, c := range verify.Checks() {
		d.checks[c.ID] = d.find(c)
	}
	for _, g := range evidence.Goals() {
		goal := Goal{Goal: g, Number: int(g)}
		for _, c := range verify.Checks() {
			if c.Goal == g {
				goal.count(d.checks[c.ID].Outcome)
				goal.Checks = append(goal.Checks, d.checks[c.ID])
			}
		}
		for _, s := range append(slices.Clone(how[g]), further(g, goal.Checks)...) {
			goal.How = append(goal.How, d.say(s))
		}
		d.Goals = append(d.Goals, goal)
	}
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

func (d *Dossier) addControls() {
	for _, ref := range evidence.References {
		c := Control{Reference: ref}
		var outcomes []string
		for _, v := range verify.Checks() {
			if slices.Contains(v.References, ref.Text) || slices.Contains(ref.Also, v.ID) {
				c.Checks = append(c.Checks, v.ID)
				outcomes = append(outcomes, d.checks[v.ID].Outcome)
			}
		}
		c.Outcome = worstOf(outcomes)
		if ref.Text == "FIPS 140-3" {
			c.Outcome, _ = d.fips()
		}
		if c.Outcome == Holds && ref.Rest != "" {
			c.Outcome = Partly
		}
		d.Controls = append(d.Controls, c)
	}
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
