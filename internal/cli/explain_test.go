package cli_test

import (
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/cli"
)

// TestExplainsExitCodes: what was asked for wrongly is usage (2), with nothing on
// standard output.
func TestExplainsExitCodes(t *testing.T) {
	for line, want := range map[string]int{
		"GET":                          0,
		"":                             0,
		"--json":                       0,
		"--for rails --json":           0,
		"FLUSHALL":                     0, // that it is refused is an answer
		"gett":                         2,
		"CONFIG sett":                  2,
		"GET gett":                     2,
		"--for sidekik":                2,
		"--for spring-session":         2,
		"--for rails GET":              2,
		"--config /nonexistent EVAL":   2,
		"--config explain_test.go GET": 2,
	} {
		var out, errOut strings.Builder
		code := cli.Main(append([]string{"explain"}, strings.Fields(line)...), nil, &out, &errOut)
		if code != want || (code == 0) != (out.Len() > 0) || (code == 0) != (errOut.Len() == 0) {
			t.Errorf("explain %s: exit code %d, want %d\n%s%s", line, code, want, out.String(), errOut.String())
		}
	}
}
