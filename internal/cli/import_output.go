package cli

import (
	"fmt"
	"io"

	"github.com/redoubt-cache/redoubt/internal/migration"
)

// planOutput prints a plan for people.
type planOutput struct{ *paper }

// verdicts, as headings.
var verdictTitles = map[migration.Verdict]string{
	migration.Refused:   "Refused: for you to decide (--without NAME goes on)",
	migration.Unknown:   "Not known: for you to look at (--without NAME goes on)",
	migration.LeftOut:   "Left out, as you said",
	migration.Tightened: "Tightened",
	migration.Changed:   "Changed",
	migration.Kept:      "Kept",
	migration.Dropped:   "Dropped",
}

func (o *planOutput) print(p *migration.Plan, written []migration.Written) {
	o.title(fmt.Sprintf("%s of deployment %s", p.Name, p.Deployment))
	fmt.Fprintf(o.w, "%s end; %d kept, %d tightened, %d changed, %d dropped, %d for you to decide\n",
		count(p.Weak(), "weakness", "weaknesses"), p.Count(migration.Kept), p.Count(migration.Tightened), p.Count(migration.Changed),
		p.Count(migration.Dropped), p.Count(migration.Refused)+p.Count(migration.Unknown))
	var last migration.Verdict
	for _, group := range p.Groups() {
		if group[0].Verdict != last {
			last = group[0].Verdict
			fmt.Fprintln(o.w)
			o.title(verdictTitles[last])
		}
		o.group(group)
	}
	if p.Blocked() {
		return
	}
	for _, f := range p.Files {
		fmt.Fprintln(o.w)
		o.title(f.Path)
		io.WriteString(o.w, f.Text)
	}
	fmt.Fprintln(o.w)
	if len(written) == 0 {
		o.title("Not written yet (--out DIR)")
		for _, f := range p.Files {
			fmt.Fprintf(o.w, "  %s\n", f.Path)
		}
		for _, path := range p.Secrets {
			fmt.Fprintf(o.w, "  %s  mode 0600\n", path)
		}
	} else {
		o.title("Written")
		for _, f := range written {
			state := ""
			if !f.New {
				state = "  was there, the same"
			}
			fmt.Fprintf(o.w, "  %s%s\n", f.Path, state)
		}
	}
	fmt.Fprintln(o.w)
	o.title("Left to do (docs/migration.md)")
	for i, s := range p.Steps {
		o.wrap(fmt.Sprintf("%2d. ", i+1), s.What)
		for _, c := range s.Commands {
			fmt.Fprintf(o.w, "      %s\n", c)
		}
	}
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// group prints the lines with one fate, then why. Of what is dropped the names and
// lines are enough.
func (o *planOutput) group(group []migration.Finding) {
	mark := "  "
	if group[0].Weak {
		mark = "! "
	}
	if group[0].Verdict == migration.Dropped && len(group) > 1 {
		text, file := "", ""
		for _, f := range group {
			if f.File != file {
				if file = f.File; text != "" {
					text += "; "
				}
				text += file + ": "
			} else {
				text += ", "
			}
			text += fmt.Sprintf("%s (%d)", f.Name, f.Line)
		}
		o.wrap(mark, text)
	} else {
		for _, f := range group {
			line := fmt.Sprintf("%s: %s", f.Where(), f.Name)
			if f.Was != "" {
				line += " " + f.Was
			}
			if f.Becomes != "" {
				line += "  →  " + f.Becomes
			}
			fmt.Fprintln(o.w, mark+printable(line))
		}
	}
	o.wrap("      ", group[0].Why)
}
