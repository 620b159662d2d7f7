package bench

import (
	"fmt"
	"strings"
)

// The comments that stand around the table in a document.
const (
	markBegin = "<!-- redoubt bench: begin -->\n"
	markEnd   = "<!-- redoubt bench: end -->\n"
)

// HasMarkers says whether Splice finds its place in a document, for a caller who
// wants to know before a long run.
func HasMarkers(document string) error {
	_, _, err := around(document)
	return err
}

// Splice puts the report's Markdown table between the markers of a document.
func Splice(document string, r *Report) (string, error) {
	before, after, err := around(document)
	if err != nil {
		return "", err
	}
	var table strings.Builder
	if err := WriteMarkdown(&table, r); err != nil {
		return "", err
	}
	return before + markBegin + table.String() + markEnd + after, nil
}

func around(document string) (before, after string, err error) {
	before, rest, found := strings.Cut(document, markBegin)
	_, after, ended := strings.Cut(rest, markEnd)
	if !found || !ended {
		return "", "", fmt.Errorf("the lines %q and %q must stand in it, in this order", strings.TrimSpace(markBegin), strings.TrimSpace(markEnd))
	}
	return before, after, nil
}
