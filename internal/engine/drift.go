package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// A Difference is one line that the policy makes, and what the engine has.
type Difference struct {
	Line string `json:"line"` // as rendered; "" if nothing in the policy makes it
	Have string `json:"have"` // as the engine says it; "" if it has nothing of the kind
}

func (d Difference) String() string {
	switch {
	case d.Line == "":
		return fmt.Sprintf("the engine has %q, which the policy doesn't", d.Have)
	case d.Have == "":
		return fmt.Sprintf("%q is missing", d.Line)
	}
	return fmt.Sprintf("%q is wanted, the engine has %q", d.Line, d.Have)
}

func settingsDrift(want, settings map[string]string) (differences []Difference) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		have, known := settings[name]
		if !known || !sameSetting(name, want[name], have) {
			differences = append(differences, Difference{Line: name + " " + want[name], Have: strings.TrimSpace(name + " " + have)})
		}
	}
	return differences
}

// Wanted is the settings that the policy makes for this version, by name.
func Wanted(v Version, p Policy) map[string]string {
	p = p.withDefaults()
	lines := bounds(p)
	for _, l := range fixed {
		if l.known(v) {
			lines = append(lines, l.text)
		}
	}
	want := map[string]string{}
	for _, text := range lines {
		name, value, _ := strings.Cut(text, " ")
		if value == `""` {
			value = ""
		}
		if name == "client-output-buffer-limit" && want[name] != "" {
			value = want[name] + " " + value // a line for each class of clients
		}
		want[name] = value
	}
	return want
}

// sameSetting knows the few settings that the engine writes in another way than
// it reads them.
func sameSetting(name, want, have string) bool {
	switch name {
	case "client-output-buffer-limit":
		return sameFields(bytesIn(strings.ReplaceAll(want, "replica", "slave")), bytesIn(strings.ReplaceAll(have, "replica", "slave")), 4)
	case "shutdown-on-sigterm", "shutdown-on-sigint", "ignore-warnings":
		return sameFields(strings.Fields(want), strings.Fields(have), 1)
	case "tls-port":
		return want == have || have == "" // built without TLS
	}
	return want == have
}

// sameFields compares groups of n fields in any order.
func sameFields(a, b []string, n int) bool {
	group := func(fields []string) (groups []string) {
		for g := range slices.Chunk(fields, n) {
			groups = append(groups, strings.Join(g, " "))
		}
		slices.Sort(groups)
		return groups
	}
	return slices.Equal(group(a), group(b))
}

// bytesIn is the fields of a text with sizes such as 64mb as bytes.
func bytesIn(text string) []string {
	fields := strings.Fields(text)
	for i, f := range fields {
		if n, err := strconv.ParseInt(strings.TrimSuffix(f, "mb"), 10, 64); err == nil && strings.HasSuffix(f, "mb") {
			fields[i] = strconv.FormatInt(n*mib, 10)
		}
	}
	return fields
}

// userRules is a line of ACL LIST.
type userRules struct {
	name      string
	rules     []string
	passwords []string // digests, in hex
}

func parseUser(line string) (u userRules) {
	for i, word := range strings.Fields(line) {
		switch {
		case i == 0: // "user"
		case i == 1:
			u.name = word
		case strings.HasPrefix(word, "#"):
			u.passwords = append(u.passwords, word[1:])
		default:
			u.rules = append(u.rules, word)
		}
	}
	slices.Sort(u.passwords)
	return u
}

// String names each password by the first digits of its digest.
func (u userRules) String() string {
	text := "user " + u.name + " " + strings.Join(u.rules, " ")
	for _, digest := range u.passwords {
		text += " #" + digest[:min(12, len(digest))]
	}
	return text
}

// usersDrift compares the engine's users with those that ought to be there: the
// supervisor, the default user with every password that is good, and a user for
// each of them (docs/decisions/0060). app and ours are the rules as this engine
// writes them.
func usersDrift(have map[string]userRules, app, ours userRules, good []passwords.Digest) (differences []Difference) {
	want := map[string]userRules{
		supervisor:  {supervisor, ours.rules, have[supervisor].passwords}, // random, and proved by this very connection
		defaultUser: {defaultUser, app.rules, nil},
	}
	if n := len(have[supervisor].passwords); n != 1 {
		differences = append(differences, Difference{Have: fmt.Sprintf("user %s with %d passwords", supervisor, n)})
	}
	for _, d := range good {
		u := want[defaultUser]
		u.passwords = append(u.passwords, d.String())
		want[defaultUser] = u
		want[d.User()] = userRules{d.User(), app.rules, []string{d.String()}}
	}
	slices.Sort(want[defaultUser].passwords)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, h := want[name], have[name]
		switch {
		case h.name == "":
			differences = append(differences, Difference{Line: w.String()})
		case !slices.Equal(w.passwords, h.passwords) || !slices.Equal(w.rules, h.rules):
			differences = append(differences, Difference{w.String(), h.String()})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			differences = append(differences, Difference{Have: have[name].String()})
		}
	}
	return differences
}
