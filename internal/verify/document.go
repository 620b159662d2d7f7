package verify

import (
	"fmt"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// Document prints docs/checks.md.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	goal := evidence.Goal(0)
	for _, c := range Checks() {
		if c.Goal != goal {
			goal = c.Goal
			fmt.Fprintf(&b, "\n## %d. %s\n\n%s\n", goal, goal, goal.Means())
		}
		fmt.Fprintf(&b, "\n### %s: %s\n\n%s\n\n", c.ID, c.Title, c.Why)
		fmt.Fprintf(&b, "- seen from: %s", c.From)
		if c.Cheap {
			b.WriteString("; watched all the time by the processes themselves")
		}
		fmt.Fprintf(&b, "\n- asked for by: %s\n- mend: %s\n", strings.Join(c.References, ", "), c.Mend)
	}
	return b.String()
}

const documentHead = `# Checks

What ` + "`redoubt verify`" + ` tries, printed from the checks themselves (` + "`internal/verify`" + `); a test keeps it true.

Each has an id that is never given to another claim. It passes, fails, or is skipped with the reason; what is skipped is not proved.
A failure can be accepted for a time, by ` + "`exceptions`" + ` in the configuration; it is reported as such, and fails again when its day is over.
Each is tested both ways: on a good deployment it passes, and with one thing broken exactly it fails: [sabotage.md](sabotage.md) says how.
`
