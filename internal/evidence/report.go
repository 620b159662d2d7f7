package evidence

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Schema is the JSON schema (draft 2020-12) of a Report.
//
//go:embed schema.json
var Schema []byte

// Outcome is what came of a check.
type Outcome string

const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	Skip Outcome = "skip" // it couldn't run; Detail says why. Never a pass
)

// Vantage is the place that a verification looks from.
type Vantage string

const (
	CacheHost  Vantage = "cache-host"
	AppHost    Vantage = "app-host"
	Outsider   Vantage = "outsider"    // a host that must not get in
	OneMachine Vantage = "one-machine" // "redoubt up": all parts on this host
)

// Local is the deployment that "redoubt up" makes, on each machine the same.
const Local = "local"

// Valid says whether it is one of those.
func (v Vantage) Valid() bool {
	return slices.Contains([]Vantage{CacheHost, AppHost, Outsider, OneMachine}, v)
}

// isName keeps what a report calls itself from being anything else in a document.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+~") == "" // RFC 1035 §2.3.4
}

// Report is one verification, of one host.
type Report struct {
	Deployment string    `json:"deployment"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
	Vantage    Vantage   `json:"vantage"`
	Host       string    `json:"host"`    // its name in the deployment, or its hostname
	Version    string    `json:"version"` // of the redoubt that looked
	// Set names the checks that were made, as SetOf does: a report from which one was
	// taken out names another set.
	Set string `json:"set,omitempty"`
	// Number counts the reports that a host has signed, from 1, and Previous is the
	// SHA-256 of the one before, in hex: what is left out is seen to be.
	Number   int    `json:"number,omitempty"`
	Previous string `json:"previous,omitempty"`
	// Doors are the gateways, by name, at whose ports the checks knocked: of those alone
	// it says something.
	Doors   []string `json:"doors,omitempty"`
	Summary Summary  `json:"summary"`
	Checks  []Result `json:"checks"`
	Network *Network `json:"network,omitempty"` // of the host that was looked at; nil: an outsider's

	Signature *Signature `json:"signature,omitempty"` // nil: nobody answers for it
}

// Signature is who answers for a report: the host that made it, with the key of its
// certificate; or, for a host that has none, a person, with the key of the deployment's
// CA. Package dossier makes and checks it.
type Signature struct {
	At          time.Time `json:"at"`
	By          string    `json:"by,omitempty"`          // the person; "": the host itself
	Certificate []byte    `json:"certificate,omitempty"` // the host's, DER
	Value       []byte    `json:"value,omitempty"`
}

// Signed is the text that is signed: the whole report, its signature's value left out.
func (r *Report) Signed() ([]byte, error) {
	unsigned := *r
	if r.Signature != nil {
		s := *r.Signature
		s.Value = nil
		unsigned.Signature = &s
	}
	return unsigned.Encode()
}

// SetOf names a set of checks: SHA-256, in hex, of a line "ID goal title" for each.
func SetOf(checks []Result) string {
	h := sha256.New()
	for _, c := range checks {
		fmt.Fprintf(h, "%s %d %s\n", c.ID, c.Goal, c.Title)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Summary counts outcomes. Accepted is how many of those that fail are accepted
// for now, by an exception that has an owner and an end.
type Summary struct {
	Pass     int `json:"pass"`
	Fail     int `json:"fail"`
	Skip     int `json:"skip"`
	Accepted int `json:"accepted"`
}

// Result is what one check found.
type Result struct {
	ID         string     `json:"id"` // RD-101; never used for another check
	Goal       Goal       `json:"goal"`
	Title      string     `json:"title"` // what is claimed
	Outcome    Outcome    `json:"outcome"`
	Detail     string     `json:"detail"`         // what was found, in a sentence
	Evidence   string     `json:"evidence"`       // what was done and seen, line by line
	Mend       string     `json:"mend,omitempty"` // what to do about it, if it fails
	References []string   `json:"references"`
	Accepted   *Exception `json:"accepted,omitempty"` // of one that fails

	// Facts are what two environments can be compared by: names and values that
	// don't change from run to run.
	Facts map[string]string `json:"facts,omitempty"`
}

// Exception is a failing check that somebody has accepted for a time.
type Exception struct {
	Check  string `json:"check"`
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	Until  string `json:"until"` // the last day on which it holds, 2006-01-02, UTC
}

// Ended says whether the exception's last day is over.
func (e Exception) Ended(now time.Time) (bool, error) {
	last, err := time.Parse(time.DateOnly, e.Until)
	if err != nil {
		return true, fmt.Errorf("until: %q is no date such as 2027-03-31", e.Until)
	}
	return !now.Before(last.AddDate(0, 0, 1)), nil
}

// Count sets the summary.
func (r *Report) Count() { r.Summary = count(r.Checks) }

func count(results []Result) (s Summary) {
	for _, c := range results {
		switch c.Outcome {
		case Pass:
			s.Pass++
		case Skip:
			s.Skip++
		default:
			s.Fail++
		}
		if c.Accepted != nil {
			s.Accepted++
		}
	}
	return s
}

// Good says whether nothing fails that isn't accepted.
func (r *Report) Good() bool { return r.Summary.Fail == r.Summary.Accepted }

// Encode is the report as JSON, with a line end.
func (r *Report) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(r)
	return b.Bytes(), err
}

// Decode reads a report and refuses one that doesn't add up. Fields that it
// doesn't know are left out: a newer version may have written it.
func Decode(text []byte) (*Report, error) {
	r := new(Report)
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("not a report of redoubt verify: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the report: one file holds one report")
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("the report doesn't add up: %w", err)
	}
	return r, nil
}

func (r *Report) check() error {
	switch {
	case r.Deployment == "":
		return errors.New("it names no deployment")
	case r.Started.IsZero():
		return errors.New("it has no time")
	case !r.Vantage.Valid():
		return fmt.Errorf("its vantage is %q, which is none", r.Vantage)
	case !isName(r.Host) || !isName(r.Version):
		return fmt.Errorf("its host is called %.80q, its version %.80q: letters, digits and .-_+~ only", r.Host, r.Version)
	case r.Vantage == OneMachine && r.Deployment != Local:
		return fmt.Errorf("it says that all of the deployment %q is on one machine: so is that of redoubt up alone, which is called %q", r.Deployment, Local)
	case slices.ContainsFunc(r.Doors, func(name string) bool { return !isName(name) }):
		return errors.New("a gateway at which it knocked has no name: letters, digits and .-_+~ only")
	case len(r.Checks) == 0:
		return errors.New("it has no checks")
	case r.Summary != count(r.Checks):
		return fmt.Errorf("its summary says %+v, its checks %+v", r.Summary, count(r.Checks))
	}
	seen := map[string]bool{}
	for i, c := range r.Checks {
		switch {
		case c.ID == "":
			return fmt.Errorf("check %d has no id", i)
		case seen[c.ID]:
			return fmt.Errorf("%s is there twice", c.ID)
		case !c.Goal.Valid():
			return fmt.Errorf("%s: goal %d: there are six", c.ID, c.Goal)
		case c.Outcome != Pass && c.Outcome != Fail && c.Outcome != Skip:
			return fmt.Errorf("%s: outcome %q is none of pass, fail, skip", c.ID, c.Outcome)
		case c.Accepted != nil && c.Outcome != Fail:
			return fmt.Errorf("%s: accepted, and it does not fail", c.ID)
		case c.Accepted != nil && c.Accepted.Check != c.ID:
			return fmt.Errorf("%s: what is accepted is %q", c.ID, c.Accepted.Check)
		}
		if c.Accepted != nil {
			if _, err := c.Accepted.Ended(r.Started); err != nil {
				return fmt.Errorf("%s: accepted %w", c.ID, err)
			}
		}
		seen[c.ID] = true
	}
	if r.Set != "" && r.Set != SetOf(r.Checks) {
		return errors.New("its checks are not the set that it names: one was taken out, put in, or called something else")
	}
	return nil
}
