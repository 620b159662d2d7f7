package verify

import (
	"encoding/xml"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// The elements that CI systems read of JUnit's report: a suite for each goal.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Hostname  string      `xml:"hostname,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitMessage `xml:"failure,omitempty"`
		Skipped *junitMessage `xml:"skipped,omitempty"`
		Output  string        `xml:"system-out,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit is the report as CI systems read it. A failure that is accepted for now
// counts as skipped, with the reason.
func JUnit(r *evidence.Report) ([]byte, error) {
	all := junitSuites{Name: fmt.Sprintf("redoubt verify, %s, %s", r.Deployment, r.Host)}
	for _, g := range evidence.Goals() {
		s := junitSuite{
			Name:      fmt.Sprintf("goal %d: %s", g, g),
			Timestamp: r.Started.Format("2006-01-02T15:04:05"), Hostname: r.Host,
		}
		for _, c := range r.Checks {
			if c.Goal != g {
				continue
			}
			tc := junitCase{Class: fmt.Sprintf("redoubt.goal%d", g), Name: c.ID + " " + c.Title, Output: c.Evidence}
			switch {
			case c.Accepted != nil:
				tc.Skipped = &junitMessage{Message: fmt.Sprintf("accepted until %s by %s: %s", c.Accepted.Until, c.Accepted.Owner, c.Accepted.Reason), Text: c.Detail}
				s.Skipped++
			case c.Outcome == evidence.Fail:
				tc.Failure = &junitMessage{c.Detail, c.Mend}
				s.Failures++
			case c.Outcome == evidence.Skip:
				tc.Skipped = &junitMessage{Message: c.Detail}
				s.Skipped++
			}
			s.Tests++
			s.Cases = append(s.Cases, tc)
		}
		if s.Tests > 0 {
			all.Suites = append(all.Suites, s)
		}
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}
