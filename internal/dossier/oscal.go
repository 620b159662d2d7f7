package dossier

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// OSCAL is NIST's form for tools that read controls and assessments. Documents are of
// 1.0.6, the last whose JSON schemas stand in NIST's own repository; later releases of
// 1.x take them.
const oscalVersion = "1.0.6"

// The parts of the two models that are used here (component-definition and
// assessment-results, OSCAL 1.0.6).
type (
	oscalMetadata struct {
		Title        string `json:"title"`
		LastModified string `json:"last-modified"`
		Version      string `json:"version"`
		OSCALVersion string `json:"oscal-version"`
	}
	oscalResource struct {
		UUID        string `json:"uuid"`
		Title       string `json:"title"`
		Description string `json:"description,omitempty"`
	}
	oscalBack struct {
		Resources []oscalResource `json:"resources"`
	}
	oscalProp struct {
		Name  string `json:"name"`
		NS    string `json:"ns,omitempty"` // "": NIST's own
		Value string `json:"value"`
	}

	oscalComponents struct {
		Definition struct {
			UUID       string           `json:"uuid"`
			Metadata   oscalMetadata    `json:"metadata"`
			Components []oscalComponent `json:"components"`
			BackMatter oscalBack        `json:"back-matter"`
		} `json:"component-definition"`
	}
	oscalComponent struct {
		UUID            string                `json:"uuid"`
		Type            string                `json:"type"`
		Title           string                `json:"title"`
		Description     string                `json:"description"`
		Implementations []oscalImplementation `json:"control-implementations"`
	}
	oscalImplementation struct {
		UUID         string             `json:"uuid"`
		Source       string             `json:"source"`
		Description  string             `json:"description"`
		Requirements []oscalRequirement `json:"implemented-requirements"`
	}
	oscalRequirement struct {
		UUID        string           `json:"uuid"`
		ControlID   string           `json:"control-id"`
		Description string           `json:"description"`
		Statements  []oscalStatement `json:"statements"`
	}
	oscalStatement struct {
		ID          string      `json:"statement-id"`
		UUID        string      `json:"uuid"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props"`
		Remarks     string      `json:"remarks,omitempty"`
	}

	oscalAssessment struct {
		Results struct {
			UUID       string        `json:"uuid"`
			Metadata   oscalMetadata `json:"metadata"`
			ImportAP   oscalHref     `json:"import-ap"`
			Results    []oscalResult `json:"results"`
			BackMatter oscalBack     `json:"back-matter"`
		} `json:"assessment-results"`
	}
	oscalHref struct {
		Href string `json:"href"`
	}
	oscalResult struct {
		UUID             string             `json:"uuid"`
		Title            string             `json:"title"`
		Description      string             `json:"description"`
		Start            string             `json:"start"`
		End              string             `json:"end,omitempty"`
		ReviewedControls oscalReviewed      `json:"reviewed-controls"`
		Observations     []oscalObservation `json:"observations,omitempty"`
		Findings         []oscalFinding     `json:"findings,omitempty"`
	}
	oscalReviewed struct {
		Selections []oscalSelection `json:"control-selections"`
	}
	oscalSelection struct {
		Include []oscalControl `json:"include-controls"`
	}
	oscalControl struct {
		ID string `json:"control-id"`
	}
	oscalObservation struct {
		UUID        string      `json:"uuid"`
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Props       []oscalProp `json:"props"`
		Methods     []string    `json:"methods"`
		Collected   string      `json:"collected"`
		Remarks     string      `json:"remarks,omitempty"`
	}
	oscalFinding struct {
		UUID        string         `json:"uuid"`
		Title       string         `json:"title"`
		Description string         `json:"description"`
		Target      oscalTarget    `json:"target"`
		Related     []oscalRelated `json:"related-observations"`
	}
	oscalTarget struct {
		Type           string              `json:"type"`
		ID             string              `json:"target-id"`
		Status         oscalStatus         `json:"status"`
		Implementation oscalImplementState `json:"implementation-status"`
	}
	oscalStatus struct {
		State   string `json:"state"`
		Reason  string `json:"reason"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalImplementState struct {
		State   string `json:"state"`
		Remarks string `json:"remarks,omitempty"`
	}
	oscalRelated struct {
		UUID string `json:"observation-uuid"`
	}
)

// ourNames is the namespace of our props. It is a name, not a place.
const ourNames = "urn:redoubt"

// uuid is the same for the same thing in the same dossier: version 4's form, out of a
// hash.
func (d *Dossier) uuid(of ...string) string {
	h := sha256.Sum256([]byte(strings.Join(append([]string{d.Deployment, d.Written.Format(time.RFC3339)}, of...), "\x00")))
	b := h[:16]
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (d *Dossier) metadata(title string) oscalMetadata {
	return oscalMetadata{
		Title: title, LastModified: d.Written.Format(time.RFC3339), Version: d.Written.Format("2006.01.02.150405"), OSCALVersion: oscalVersion,
	}
}

// controlID is a control of SP 800-53 as its catalogue names it: sc-8, and sc-8.1 for an
// enhancement.
func controlID(reference string) (id string, ok bool) {
	id, ok = strings.CutPrefix(reference, "NIST SP 800-53r5 ")
	return strings.NewReplacer("(", ".", ")", "").Replace(strings.ToLower(id)), ok
}

// statementIDs are the statements of a control that the checks bear on.
func statementIDs(id string, r evidence.Reference) (list []string) {
	if r.Parts == "" {
		return []string{id + "_smt"}
	}
	for part := range strings.SplitSeq(r.Parts, ",") {
		list = append(list, id+"_smt."+part)
	}
	return list
}

func (d *Dossier) catalogue() oscalResource {
	return oscalResource{UUID: d.uuid("catalogue"), Title: "NIST SP 800-53 Rev. 5, Security and Privacy Controls for Information Systems and Organizations"}
}

// ComponentDefinition says which controls the cache implements, and by what.
func (d *Dossier) ComponentDefinition() ([]byte, error) {
	var doc oscalComponents
	def := &doc.Definition
	def.UUID, def.Metadata = d.uuid("component-definition"), d.metadata("Redoubt, the cache of the deployment "+d.Deployment)
	implementation := oscalImplementation{
		UUID: d.uuid("implementation"), Source: "#" + d.catalogue().UUID,
		Description: "What redoubt verify tries on the running system for these controls, and what was found.",
	}
	for _, c := range d.Controls {
		id, ok := controlID(c.Text)
		if !ok || len(c.Checks) == 0 {
			continue
		}
		requirement := oscalRequirement{UUID: d.uuid("requirement", id), ControlID: id, Description: d.claims(c.Checks)}
		for _, statement := range statementIDs(id, c.Reference) {
			requirement.Statements = append(requirement.Statements, oscalStatement{
				ID: statement, UUID: d.uuid("statement", statement), Description: d.claims(c.Checks), Remarks: left(c.Rest),
				Props: []oscalProp{{Name: "implementation-status", Value: implemented(c)}, {"evidence", ourNames, c.Outcome}},
			})
		}
		implementation.Requirements = append(implementation.Requirements, requirement)
	}
	def.Components = []oscalComponent{{
		UUID: d.uuid("component"), Type: "software", Title: "Redoubt " + d.Version,
		Description:     "A Redis cache that may hold patient data: sidecar, gateway and engine.",
		Implementations: []oscalImplementation{implementation},
	}}
	def.BackMatter.Resources = []oscalResource{d.catalogue()}
	return encode(doc)
}

// implemented is NIST's word for how far a control is implemented: what isn't shown isn't
// called so.
func implemented(c Control) string {
	switch c.Outcome {
	case Holds:
		return "implemented"
	case Partly, IsAllowed:
		return "partial"
	}
	return "planned"
}

func left(rest string) string {
	if rest == "" {
		return ""
	}
	return "Not shown by these checks: " + rest + "."
}

// claims are checks' titles, each with what was found.
func (d *Dossier) claims(ids []string) string {
	var b strings.Builder
	for _, g := range d.Goals {
		for _, c := range g.Checks {
			if slices.Contains(ids, c.ID) {
				fmt.Fprintf(&b, "%s %s: %s. ", c.ID, c.Outcome, c.Title)
			}
		}
	}
	return strings.TrimSpace(b.String())
}

// AssessmentResults says what each report found: an observation for each check, a
// finding for each control.
func (d *Dossier) AssessmentResults() ([]byte, error) {
	var doc oscalAssessment
	r := &doc.Results
	r.UUID, r.Metadata = d.uuid("assessment-results"), d.metadata("What redoubt verify found of the deployment "+d.Deployment)
	plan := oscalResource{UUID: d.uuid("plan"), Title: "The checks of redoubt verify", Description: "Every check that can run from a host is made, in one go, on the running system."}
	r.ImportAP = oscalHref{"#" + plan.UUID}
	r.BackMatter.Resources = []oscalResource{plan, d.catalogue()}
	for i, e := range d.sources {
		if !e.later {
			r.Results = append(r.Results, d.result(fmt.Sprint(i), e))
		}
	}
	if len(r.Results) == 0 { // the model wants one, and this is true
		r.Results = []oscalResult{{
			UUID: d.uuid("nothing"), Title: "No evidence", Description: "No report of redoubt verify was given.", Start: d.Written.Format(time.RFC3339),
			ReviewedControls: d.reviewed(),
		}}
	}
	return encode(doc)
}

func (d *Dossier) reviewed() oscalReviewed {
	var s oscalSelection
	for _, c := range d.Controls {
		if id, ok := controlID(c.Text); ok && len(c.Checks) > 0 {
			s.Include = append(s.Include, oscalControl{id})
		}
	}
	return oscalReviewed{[]oscalSelection{s}}
}

func (d *Dossier) result(key string, e Evidence) oscalResult {
	r := e.Report
	out := oscalResult{
		UUID: d.uuid("result", key), Title: fmt.Sprintf("%s, seen from %s", r.Host, r.Vantage),
		Description:      fmt.Sprintf("redoubt verify %s: %d pass, %d fail, of them accepted: %d, %d skipped.", r.Version, r.Summary.Pass, r.Summary.Fail, r.Summary.Accepted, r.Summary.Skip),
		Start:            r.Started.UTC().Format(time.RFC3339),
		ReviewedControls: d.reviewed(),
	}
	if !r.Finished.IsZero() {
		out.End = r.Finished.UTC().Format(time.RFC3339)
	}
	observed := map[string][]evidence.Result{}
	for _, c := range r.Checks {
		o := oscalObservation{
			UUID: d.uuid("observation", key, c.ID), Title: c.ID + ": " + c.Title, Description: c.Detail,
			Props: []oscalProp{{"check", ourNames, c.ID}, {"outcome", ourNames, string(c.Outcome)}}, Methods: []string{"TEST"},
			Collected: r.Started.UTC().Format(time.RFC3339),
		}
		if c.Accepted != nil {
			o.Remarks = fmt.Sprintf("Accepted until %s by %s: %s", c.Accepted.Until, c.Accepted.Owner, c.Accepted.Reason)
		}
		out.Observations = append(out.Observations, o)
		for _, ref := range c.References {
			if id, ok := controlID(ref); ok {
				observed[id] = append(observed[id], c)
			}
		}
	}
	for _, c := range d.Controls {
		if id, ok := controlID(c.Text); ok {
			for _, check := range r.Checks {
				if slices.Contains(c.Also, check.ID) {
					observed[id] = append(observed[id], check)
				}
			}
			out.Findings = append(out.Findings, d.findings(key, id, c.Reference, observed[id], e.by != "")...)
		}
	}
	return out
}

// findings are what the checks of one control say together of its statements on this
// host; where all were skipped there are none, and where nobody answers for the report
// only bad ones.
func (d *Dossier) findings(key, id string, ref evidence.Reference, checks []evidence.Result, answered bool) (list []oscalFinding) {
	status, state, why := oscalStatus{State: "satisfied", Reason: "pass"}, "implemented", ""
	if ref.Rest != "" {
		status, state = oscalStatus{"not-satisfied", "other", "In part: the checks pass. " + left(ref.Rest)}, "partial"
	}
	var related []oscalRelated
	skipped := 0
	for _, c := range checks {
		switch c.Outcome {
		case evidence.Skip:
			skipped++
			continue
		case evidence.Fail:
			status, state = oscalStatus{"not-satisfied", "fail", left(ref.Rest)}, "partial"
			why += fmt.Sprintf(" %s fails: %s.", c.ID, c.Detail)
		}
		related = append(related, oscalRelated{d.uuid("observation", key, c.ID)})
	}
	if skipped > 0 && status.Reason != "fail" {
		status, state = oscalStatus{"not-satisfied", "other", fmt.Sprintf("In part: checks that were skipped: %d. %s", skipped, left(ref.Rest))}, "partial"
	}
	if len(related) == 0 || !answered && why == "" {
		return nil
	}
	for _, statement := range statementIDs(id, ref) {
		list = append(list, oscalFinding{
			UUID: d.uuid("finding", key, statement), Title: strings.ToUpper(id) + ", " + ref.Meaning,
			Description: fmt.Sprintf("Checks that bear on it here: %d.%s", len(related), why), Related: related,
			Target: oscalTarget{"statement-id", statement, status, oscalImplementState{state, left(ref.Rest)}},
		})
	}
	return list
}

func encode(doc any) ([]byte, error) {
	text, err := json.MarshalIndent(doc, "", "  ")
	return append(text, '\n'), err
}
