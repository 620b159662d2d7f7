//go:build sabotage

package engine

import (
	"os"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// sabotage breaks what REDOUBT_SABOTAGE names: "configuration A -> B" replaces text
// in what the engine is handed, "right R" gives the application a right more; several
// stand with a semicolon between them.
func (e *Engine) sabotage() {
	for _, one := range strings.Split(os.Getenv("REDOUBT_SABOTAGE"), ";") {
		e.breakOne(strings.Cut(one, " "))
	}
}

func (e *Engine) breakOne(what, how string, _ bool) {
	switch what {
	case "configuration":
		from, to, _ := strings.Cut(how, " -> ")
		rendered := e.configuration
		e.configuration = func(s secrets, good []passwords.Digest) string {
			text := rendered(s, good)
			if !strings.Contains(text, from) {
				panic("nothing to sabotage: " + from)
			}
			return strings.Replace(text, from, strings.ReplaceAll(to, "\\n", "\n"), 1)
		}
	case "right":
		rights := e.rights
		e.rights = func(p Policy) []string { return append(rights(p), how) }
		rendered := e.configuration
		e.configuration = func(s secrets, good []passwords.Digest) string {
			lines := strings.SplitAfter(rendered(s, good), "\n")
			for i, line := range lines {
				if strings.HasPrefix(line, "user "+defaultUser) {
					lines[i] = strings.Replace(line, " #", " "+how+" #", 1)
				}
			}
			return strings.Join(lines, "")
		}
	}
}
