package sandbox

import (
	"strings"
	"testing"
)

func TestReportNamesWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		report  Report
		line    string
		missing []string // a word of each
	}{
		{Report{7, true, true, true}, "Landlock ABI 7, seccomp, MDWE, namespaces", nil},
		{Report{3, true, false, false}, "Landlock ABI 3, seccomp, no MDWE, no namespaces",
			[]string{"Landlock ABI 3 does not know TCP, device ioctls, abstract sockets and signals", "MDWE", "namespaces"}},
		{Report{0, true, true, true}, "no Landlock, seccomp, MDWE, namespaces", []string{"Landlock (Linux 5.13"}},
		{Report{}, "no Landlock, no seccomp, no MDWE, no namespaces",
			[]string{"seccomp filters", "Landlock (Linux 5.13", "MDWE", "namespaces"}},
	} {
		if got := c.report.String(); got != c.line {
			t.Errorf("%+v: %q, want %q", c.report, got, c.line)
		}
		got := c.report.Missing()
		if len(got) != len(c.missing) {
			t.Fatalf("%+v misses %q, want %q", c.report, got, c.missing)
		}
		for i, word := range c.missing {
			if !strings.Contains(got[i], word) {
				t.Errorf("%+v: %q does not name %q", c.report, got[i], word)
			}
		}
	}
}
