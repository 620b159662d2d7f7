package dossier

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/verify"
)

// When what was found is to be mended, counted from the day of writing: the proposed rule
// (90 FR 898) would ask for 15 days for what is critical and 30 for what is high.
const (
	mendWithin  = 15 * 24 * time.Hour // what fails
	proveWithin = 30 * 24 * time.Hour // what isn't proved
	reviewAfter = 365 * 24 * time.Hour
)

// A Scale is what a word of the risk register means.
type Scale struct{ Word, Likelihood, Impact string }

// scales of likelihood and impact, in three steps (NIST SP 800-30r1, appendices G and H,
// whose five are drawn together).
var scales = []Scale{
	{low, "needs a flaw that nobody knows of yet, or somebody who is trusted already and turns", "no patient data is seen or changed; work goes on"},
	{medium, "happens to some deployments within years, or needs one mistake by somebody", "work is interrupted, or little data is seen by few"},
	{high, "is tried all the time, or happens by itself unless it is prevented", "patient data is seen, changed or lost on a scale that must be notified (45 CFR 164.404)"},
}

// A Treatment is what is to be done about a check that doesn't hold.
type Treatment struct {
	Check, Found, Todo, Owner string
	By                        string // day
	due                       time.Time
}

// Plan is what is to be done, the most urgent first.
func (d *Dossier) Plan() (plan []Treatment) {
	for _, c := range verify.Checks() {
		found := d.checks[c.ID]
		t := Treatment{Check: c.ID, Found: found.Outcome, Todo: c.Mend, Owner: d.Owner}
		switch found.Outcome {
		case Holds:
			continue
		case Fails:
			t.due = d.Written.Add(mendWithin)
		case IsAllowed:
			for _, r := range found.Results {
				if r.Accepted != nil {
					t.Owner, t.Todo = r.Accepted.Owner, r.Accepted.Reason+" ("+c.Mend+")"
					if until, err := time.Parse(time.DateOnly, r.Accepted.Until); err == nil && (t.due.IsZero() || until.Before(t.due)) {
						t.due = until
					}
				}
			}
		default:
			t.due = d.Written.Add(proveWithin)
			t.Todo = "Run redoubt verify so that it is tried: " + found.because() + "."
		}
		t.By = t.due.Format(time.DateOnly)
		plan = append(plan, t)
	}
	slices.SortStableFunc(plan, func(a, b Treatment) int {
		return cmp.Or(cmp.Compare(slices.Index(worstFirst, a.Found), slices.Index(worstFirst, b.Found)), a.due.Compare(b.due))
	})
	return plan
}

// NextReview is when this document is to be written anew at the latest.
func (d *Dossier) NextReview() time.Time { return d.Written.Add(reviewAfter) }

// EvidenceUntil is when the first of its reports is too old to count.
func (d *Dossier) EvidenceUntil() (until time.Time) {
	for _, r := range d.Reports {
		if end := r.Started.Add(evidenceLife); !r.Later && (until.IsZero() || end.Before(until)) {
			until = end
		}
	}
	return until
}

// Edition is the document's version: of its day and minute, as in OSCAL.
func (d *Dossier) Edition() string { return d.metadata("").Version }

// A Share is who does what.
type Share struct{ Area, Product, Organisation, Application, Hosting string }

// shares is the matrix of responsibilities.
var shares = []Share{
	{"Buildings, machines, disposal", "", "agreement with the hosting (45 CFR 164.308(b)(1))", "", "all of it"},
	{"Hypervisor, memory of other tenants, snapshots", "", "policy: no snapshots of memory", "", "all of it"},
	{"Operating system, kernel, updates", "asks for settings and looks at them", "installs, updates, restarts", "", "images, if it makes them"},
	{"Network around the hosts", "packet filter of each host, as text", "loads it; the network itself", "", "what it sells of it"},
	{"ssh, bastions, administrators", "asks for settings and looks at them", "people, keys, second factor, leavers", "", ""},
	{"Traffic between hosts", "tunnel and its certificates", "custody of the CA's key", "speaks to the sidecar alone", ""},
	{"The engine and its sandbox", "settings, users, sandbox", "the engine's package and its updates", "", ""},
	{"Data in the cache", "is built to keep it in memory alone (section 2 says what was found)", "says what may be lost", "who may see what; what is put there, and for how long", ""},
	{"The application's password", "makes it, and a new one", "hands it out, changes it when somebody leaves", "keeps it", ""},
	{"Logs", "who connected, what was refused, its own life; looks how hosts keep them", "keeps, protects, reads them", "who read or changed which record", ""},
	{"Incidents, notices", "tells what it saw, shuts hosts out", "decides, notifies (45 CFR 164.404 to 164.410)", "tells which records", "tells of its own"},
	{"Risk analysis, policies, training, contracts", "this document", "all of it", "", ""},
}

// Scales, Shares and Paths are for the templates.
func (d *Dossier) Scales() []Scale { return scales }

// Shares is the matrix of responsibilities.
func (d *Dossier) Shares() []Share { return shares }

// Paths are the ways of the data between hosts, in words: what the picture shows.
func (d *Dossier) Paths() (list []string) {
	g := d.Draw()
	for _, a := range g.Apps {
		for _, c := range g.Caches {
			list = append(list, fmt.Sprintf("%s (%s): application, sidecar; tunnel; %s (%s): gateway, engine", a.Name, a.Line, c.Name, c.Line))
		}
	}
	return list
}
