package verify

import "slices"

// Scope says whose word a claim about the whole deployment needs.
type Scope int

// The scopes.
const (
	// EachHost: every host that the check can be made on must show it; that one host's
	// disks are encrypted says nothing of another's.
	EachHost Scope = iota
	// EachDoor: every gateway must be seen to be so, by itself or, where it admits no
	// connection from itself, by an application host, which knocks at all that its
	// configuration names.
	EachDoor
	// Once: it can be tried only where the CA lies, and one host's word is enough.
	Once
)

var (
	ofTheDoors = []string{"RD-201", "RD-202", "RD-301", "RD-302", "RD-303", "RD-305"}
	ofTheCA    = []string{"RD-203", "RD-204", "RD-602"}
)

// Scope is the check's.
func (c Check) Scope() Scope {
	switch {
	case slices.Contains(ofTheDoors, c.ID):
		return EachDoor
	case slices.Contains(ofTheCA, c.ID):
		return Once
	}
	return EachHost
}
