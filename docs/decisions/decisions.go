// Package decisions has the decision records beside it, for the dossier.
package decisions

import (
	"embed"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

//go:embed *.md
var files embed.FS

// A Record is one decision: its context, what was decided, and what that costs.
type Record struct {
	Number                          int
	Title                           string
	Context, Decision, Consequences string // Markdown
}

var (
	heading = regexp.MustCompile(`(?m)^# (\d+)[.:] (.*)$`)
	link    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// All are the records, in order.
func All() (records []Record, err error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		// What a link leads to is in the repository, not in a dossier.
		r := read(link.ReplaceAllString(string(text), "$1"))
		if r.Title != "" {
			records = append(records, r)
		}
	}
	return records, nil
}

func read(text string) (r Record) {
	m := heading.FindStringSubmatch(text)
	if m == nil {
		return r
	}
	r.Number, _ = strconv.Atoi(m[1]) // digits, by the pattern
	r.Title = m[2]
	r.Context, r.Decision, r.Consequences = section(text, "Context"), section(text, "Decision"), section(text, "Consequences")
	return r
}

// section is the text behind a bold word, up to the next one.
func section(text, name string) string {
	_, after, ok := strings.Cut(text, "\n**"+name+".** ")
	if !ok {
		return ""
	}
	if next := strings.Index(after, "\n**"); next >= 0 {
		after = after[:next]
	}
	return strings.TrimSpace(after)
}
