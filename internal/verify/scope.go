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
	// connection from itself, by an application host that knocked at it (Report.Doors).
	EachDoor
	// Once: it is about the CA's directory, of which there is one.
	Once
)

var (
	ofTheDoors = []string{"RD-201", "RD-202", "RD-301", "RD-302", "RD-303", "RD-305"}
	ofTheCA    = []string{"RD-602", "RD-603"}
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
