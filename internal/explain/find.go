package explain

import (
	"fmt"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// Find takes words as people type commands ("GET CONFIG SET client|list") and finds what
// the table has; a command that is called by its subcommands alone stands for all of
// them. The error names what isn't there, and what may have been meant.
func Find(words []string) (list []*command.Command, err error) {
	words = strings.Fields(strings.ReplaceAll(strings.Join(words, " "), "|", " "))
	for i := 0; i < len(words); i++ {
		c := lookup(strings.ToLower(words[i]))
		if !c.Known() {
			return nil, fmt.Errorf("no Redis or Valkey that we know has the command %.40q%s", words[i], meant("", words[i], names("")))
		}
		if !c.Container() {
			list = append(list, c)
			continue
		}
		if i+1 < len(words) {
			if sub := lookup(c.Name + "|" + strings.ToLower(words[i+1])); sub.Known() && sub != c {
				list = append(list, sub)
				i++
				continue
			}
			if !lookup(strings.ToLower(words[i+1])).Known() {
				return nil, fmt.Errorf("no Redis or Valkey that we know has the command %.40q%s", c.Typed()+" "+words[i+1], meant(c.Name+" ", words[i+1], names(c.Name+"|")))
			}
		}
		for _, sub := range command.All() {
			if strings.HasPrefix(sub.Name, c.Name+"|") {
				list = append(list, sub)
			}
		}
	}
	return list, nil
}

// names are the table's below a prefix, without it.
func names(prefix string) (list []string) {
	for _, c := range command.All() {
		if rest, ok := strings.CutPrefix(c.Name, prefix); ok && !strings.Contains(rest, "|") {
			list = append(list, rest)
		}
	}
	return list
}

// meant suggests the names nearest to a word that isn't one of them, each behind the
// lead; "" if none is near.
func meant(lead, word string, names []string) string {
	word = strings.ToLower(word)
	best, near := 1+min(2, len(word)/3), []string{} // more changes than that make any word of any other
	for _, name := range names {
		switch d := distance(word, name); {
		case d < best:
			best, near = d, []string{name}
		case d == best && len(near) > 0:
			near = append(near, name)
		}
	}
	if len(near) == 0 {
		return ""
	}
	for i := range near {
		near[i] = lead + near[i]
	}
	return ": did you mean " + strings.Join(near[:min(3, len(near))], " or ") + "?"
}

// distance counts the letters to put in, take out, exchange or swap with the next, to
// make b of a (Damerau and Levenshtein's, each place changed once). Neither is long.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	var before, last []int
	for i := range len(a) + 1 {
		row := make([]int, len(b)+1)
		for j := range row {
			switch {
			case i == 0 || j == 0:
				row[j] = i + j
				continue
			case a[i-1] == b[j-1]:
				row[j] = last[j-1]
			default:
				row[j] = 1 + min(last[j-1], last[j], row[j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// lookup finds a command by its name in the table.
func lookup(name string) *command.Command {
	parent, sub, _ := strings.Cut(name, "|")
	return command.Lookup([]byte(parent), []byte(sub))
}
