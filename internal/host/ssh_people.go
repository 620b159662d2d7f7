package host

import (
	"os"
	"slices"
	"strings"
)

// people are the users that this host knows.
type people struct {
	logIn, all []string
	groups     map[string][]string // of each
	elsewhere  bool                // a directory service knows others
}

func knownPeople() (p people, err error) {
	accounts, err := Accounts()
	if err != nil {
		return p, err
	}
	groups, err := Groups()
	if err != nil {
		return p, err
	}
	p.groups = map[string][]string{}
	for _, a := range accounts {
		if !sayable(a.Name) {
			continue
		}
		p.all = append(p.all, a.Name)
		if a.Login() {
			p.logIn = append(p.logIn, a.Name)
		}
		for _, g := range groups {
			if g.has(a) {
				p.groups[a.Name] = append(p.groups[a.Name], g.Name)
			}
		}
	}
	text, _ := os.ReadFile("/etc/nsswitch.conf")
	for line := range strings.Lines(string(text)) {
		database, sources, _ := strings.Cut(line, ":")
		if database = strings.TrimSpace(database); database != "passwd" && database != "group" {
			continue
		}
		sources, _, _ = strings.Cut(sources, "#")
		p.elsewhere = p.elsewhere || slices.ContainsFunc(strings.Fields(sources), func(source string) bool {
			return !slices.Contains([]string{"files", "compat", "systemd", "db"}, source) && !strings.HasPrefix(source, "[")
		})
	}
	return p, nil
}
