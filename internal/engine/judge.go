package engine

import (
	"slices"
	"strings"
)

// A Judgement is what a policy makes of a command.
type Judgement struct {
	Open bool
	Why  string // that it is closed, or what it costs that it is open; "" if it is open to all
	// Opening names the policy's switch that opens it; "" if none does.
	Opening string
	Record  int // the number of the decision about it, in docs/decisions
}

// Judge says whether the policy lets the application run a command, or with
// "client|id" a subcommand, that has these ACL categories ("@admin") in this version of
// the engine. It reads the rules as the engine does (acl.c, ACLSetSelector).
func (p Policy) Judge(v Version, command string, categories []string) (j Judgement) {
	parent, _, _ := strings.Cut(command, "|")
	consider := func(word string, found Judgement) {
		if name := word[1:]; name == "@all" || name == command || name == parent || slices.Contains(categories, name) {
			found.Open = word[0] == '+'
			j = found
		}
	}
	for _, r := range appRules {
		if !r.known(v) {
			continue
		}
		why := r.why
		if r.text == "-@dangerous" && (command == "sort" || command == "sort_ro") {
			why = sortWhy
		}
		consider(r.text, Judgement{Why: why, Record: allowListRecord})
	}
	for _, o := range p.withDefaults().switches() {
		for _, word := range o.Rules {
			consider(word, Judgement{Why: o.Risk, Opening: o.Name, Record: o.Record})
		}
	}
	return j
}

// Opens says whether the policy lets the application run a command; see Judge.
func (p Policy) Opens(v Version, command string, categories []string) bool {
	return p.Judge(v, command, categories).Open
}

// Openers are the words of a policy that decide about a command, each by itself. None
// at all: every policy decides alike.
type Openers struct {
	Uses  []Use    `json:"uses"`  // open it, where a plain cache doesn't
	Allow []string `json:"allow"` // too
	Deny  []string `json:"deny"`  // close it, where a plain cache opens it
}

// OpenersOf tries each word of a policy on a command; see Judge.
func OpenersOf(v Version, command string, categories []string) (o Openers) {
	o = Openers{Uses: []Use{}, Allow: []string{}, Deny: []string{}}
	plain := Policy{}.Opens(v, command, categories)
	for _, u := range usages {
		if (Policy{Uses: []Use{u.use}}).Opens(v, command, categories) && !plain {
			o.Uses = append(o.Uses, u.use)
		}
	}
	for _, switched := range openings {
		name := []string{switched.Name}
		switch {
		case switched.byDefault && plain && !(Policy{Deny: name}).Opens(v, command, categories):
			o.Deny = append(o.Deny, switched.Name)
		case !switched.byDefault && !plain && (Policy{Allow: name}).Opens(v, command, categories):
			o.Allow = append(o.Allow, switched.Name)
		}
	}
	return o
}

// allowListRecord is the decision that the application has an allow-list.
const allowListRecord = 2
