package evidence

import (
	"fmt"
	"maps"
	"slices"
)

// A Difference is something in which two environments are not the same.
type Difference struct {
	Check string // RD-501
	What  string // "outcome", or a fact's name
	Ours  string // "" where it isn't there
	Other string
}

func (d Difference) String() string {
	const absent = "absent"
	show := func(value string) string {
		if value == "" {
			return absent
		}
		return value
	}
	return fmt.Sprintf("%s %s: here %s, there %s", d.Check, d.What, show(d.Ours), show(d.Other))
}

// Compare names what differs between two environments: outcomes and facts, in the
// order of the checks.
func Compare(ours, other *Report) (differences []Difference) {
	theirs := map[string]Result{}
	for _, c := range other.Checks {
		theirs[c.ID] = c
	}
	for _, c := range ours.Checks {
		o := theirs[c.ID]
		delete(theirs, c.ID)
		if c.Outcome != o.Outcome {
			differences = append(differences, Difference{c.ID, "outcome", string(c.Outcome), string(o.Outcome)})
			if o.Outcome == "" || c.Outcome == Skip || o.Outcome == Skip {
				continue
			}
		}
		both := maps.Clone(c.Facts)
		if both == nil {
			both = map[string]string{}
		}
		maps.Copy(both, o.Facts)
		for _, name := range slices.Sorted(maps.Keys(both)) {
			if c.Facts[name] != o.Facts[name] {
				differences = append(differences, Difference{c.ID, name, c.Facts[name], o.Facts[name]})
			}
		}
	}
	for _, c := range other.Checks {
		if o, left := theirs[c.ID]; left {
			differences = append(differences, Difference{c.ID, "outcome", "", string(o.Outcome)})
		}
	}
	return differences
}
