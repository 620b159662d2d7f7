package dossier

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// The words for a check over all hosts, worst first.
const (
	Fails     = "fails"
	IsAllowed = "accepted for now"
	Unproven  = "not proved"
	Holds     = "holds"
)

var worstFirst = []string{Fails, IsAllowed, Unproven, Holds}

// Partly is the finding for a control of which the checks show a part, and that part holds.
const Partly = "holds in part"

// worstOf is what several findings say together: what isn't proved is never better than
// what holds. Nothing is not proved.
func worstOf(outcomes []string) string {
	if len(outcomes) == 0 {
		return Unproven
	}
	return slices.MinFunc(outcomes, func(a, b string) int {
		return cmp.Compare(slices.Index(worstFirst, a), slices.Index(worstFirst, b))
	})
}

// word is what one report says.
func (r Result) word() string {
	switch {
	case r.Outcome == evidence.Fail && r.Accepted == nil:
		return Fails
	case r.Outcome == evidence.Fail:
		return IsAllowed
	case r.Outcome == evidence.Pass && !r.Nobodys:
		return Holds
	}
	return Unproven
}

// find lays the reports of one check side by side.
func (d *Dossier) find(c verify.Check) Check {
	check := Check{ID: c.ID, Title: c.Title, Why: c.Why, References: c.References}
	for _, e := range d.sources {
		for _, r := range e.Report.Checks {
			if r.ID == c.ID && !e.later {
				check.Results = append(check.Results, Result{
					Host: e.Report.Host, From: e.Report.Vantage, Outcome: r.Outcome, Accepted: d.accepted(r), Detail: r.Detail, Nobodys: e.by == "", facts: r.Facts, doors: e.Report.Doors,
				})
			}
		}
	}
	var words []string
	for _, r := range check.Results {
		if w := r.word(); w == Fails || w == IsAllowed {
			words = append(words, w)
		}
	}
	check.Lacking = d.lacking(c, check.Results)
	if len(check.Lacking) > 0 || len(check.Results) == 0 {
		words = append(words, Unproven)
	}
	check.Outcome = worstOf(append(words, Holds))
	return check
}

// accepted is the exception for a failure if it holds on the day of writing: it may have
// ended since the report was made.
func (d *Dossier) accepted(r evidence.Result) *evidence.Exception {
	if r.Accepted == nil {
		return nil
	}
	if ended, err := r.Accepted.Ended(d.Written); ended || err != nil {
		return nil
	}
	return r.Accepted
}

// lacking are the hosts that don't show what a check claims, and should.
func (d *Dossier) lacking(c verify.Check, results []Result) (list []string) {
	shown := func(is func(Result) bool) bool {
		return slices.ContainsFunc(results, func(r Result) bool { return is(r) && r.word() != Unproven })
	}
	if c.From == verify.Outside {
		if !shown(func(r Result) bool { return r.From == evidence.Outsider }) {
			return []string{"a host outside"}
		}
		return nil
	}
	showsIt := func(h Host) bool {
		return shown(func(r Result) bool {
			return r.From == h.vantage && r.Host == h.Name ||
				c.Scope() == verify.EachDoor && h.vantage == evidence.CacheHost && r.From == evidence.AppHost && slices.Contains(r.doors, h.Name)
		})
	}
	for _, h := range d.Hosts {
		switch {
		case h.vantage == "" || !verify.Sees(h.vantage, c) || c.Scope() == verify.EachDoor && h.vantage == evidence.AppHost:
		case !showsIt(h):
			list = append(list, h.Name)
		case c.Scope() == verify.Once:
			return nil
		}
	}
	if c.Scope() == verify.Once {
		return []string{"the host with the CA"}
	}
	return list
}

// A Statement is a sentence about the deployment with the checks that carry it. Without
// checks it is how the product is built, and says so.
type Statement struct {
	Text   string
	Checks []string
}

// Said is a statement as the findings let it be said.
type Said struct {
	Text, Outcome string
	Checks        []string
}

// byDesign is the outcome of what no check tries.
const byDesign = "by design"

// say words a statement by what was found.
func (d *Dossier) say(s Statement) Said {
	said := Said{Checks: s.Checks, Outcome: byDesign, Text: "By design, and not tried by a check: " + lower(s.Text)}
	if len(s.Checks) == 0 {
		return said
	}
	var outcomes, why []string
	for _, id := range s.Checks {
		c := d.checks[id]
		outcomes = append(outcomes, c.Outcome)
		if c.Outcome != Holds {
			why = append(why, c.because())
		}
	}
	said.Outcome = worstOf(outcomes)
	said.Text = s.Text
	if said.Outcome != Holds {
		before := map[string]string{Fails: "Not so", IsAllowed: "Not so, and accepted for now", Unproven: "Not proved"}[said.Outcome]
		said.Text = fmt.Sprintf("%s: “%s” (%s)", before, s.Text, strings.Join(why, "; "))
	}
	return said
}

// because is why a check doesn't hold.
func (c Check) because() string {
	var bad []string
	for _, r := range c.Results {
		if w := r.word(); w == Fails || w == IsAllowed {
			bad = append(bad, r.Host)
		}
	}
	switch {
	case len(bad) > 0:
		return fmt.Sprintf("%s fails on %s", c.ID, strings.Join(bad, ", "))
	case len(c.Lacking) > 0:
		return fmt.Sprintf("%s: nothing from %s", c.ID, strings.Join(c.Lacking, ", "))
	}
	return c.ID + ": no report has it"
}

func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }

// fipsFact begins the fact of RD-303 that tells of the cryptographic module.
const fipsCheck, fipsFact = "RD-303", "FIPS 140-3 mode of this redoubt"

// NotOn is the finding for a mode that nothing asks for and that is off.
const NotOn = "not in force"

// fips says whether redoubt on every host works with a validated module: RD-303 passes
// without it, and says which mode is on.
func (d *Dossier) fips() (outcome, detail string) {
	c := d.checks[fipsCheck]
	var off []string
	for _, r := range c.Results {
		if mode := r.facts[fipsFact]; !strings.HasPrefix(mode, "on") {
			off = append(off, r.Host)
		}
	}
	shown := func(h Host) bool {
		return slices.ContainsFunc(c.Results, func(r Result) bool {
			return r.Host == h.Name && r.From == h.vantage && r.word() == Holds
		})
	}
	switch {
	case len(off) > 0:
		return NotOn, "FIPS 140-3 mode is not on, as far as is known, on " + strings.Join(off, ", ")
	case c.Outcome != Holds:
		return c.Outcome, c.because()
	}
	for _, h := range d.Hosts {
		if !shown(h) {
			return Unproven, "nothing is known of " + h.Name
		}
	}
	return Holds, "FIPS 140-3 mode is on wherever redoubt was asked"
}
