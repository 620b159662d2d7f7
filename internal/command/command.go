package command

import (
	"slices"
	"strings"
)

// Class is the way that a command takes.
type Class uint8

const (
	// Shared commands leave no trace on their connection and answer once, at
	// once: those of many sessions can follow each other on one lane.
	Shared Class = iota
	// Pinned commands wait, or change their connection's state or the number
	// of replies: a session that uses one needs a lane of its own.
	Pinned
	// Local commands are answered by the sidecar: they concern the session,
	// not the lane, or the locked engine can't or must not answer them.
	Local
	// Refused commands are never needed by an application and could leak,
	// stop or change the cache.
	Refused
)

func (c Class) String() string {
	switch c {
	case Shared:
		return "shared"
	case Pinned:
		return "pinned"
	case Local:
		return "local"
	}
	return "refused"
}

// Command is what the table says about a command.
type Command struct {
	// Name as engines write it: "get", "config|set". "" is an unknown command.
	Name string
	// Index is the command's place in All, counted from 1; 0 of an unknown one.
	// It is for a table of what a caller makes of each.
	Index int
	Class Class
	// Barred, of a Refused one: answered by the sidecar and never forwarded,
	// since it could stop or poison a lane if an ACL were wrong, or the locked
	// engine doesn't have it. The other Refused ones are the ACL's to refuse.
	Barred bool
	// OnShared and OnPrivate are what the sidecar does with it on a lane of each
	// kind, and Returns whether a connection may go back to a shared lane after it.
	OnShared, OnPrivate Use
	Returns             Return
	// MayBlock: Shared unless [Blocks] says that its arguments ask to wait.
	MayBlock bool
	// Scripted: a client that uses it believes from then on that the engine has
	// a script or function, which is gone when the engine ends.
	Scripted bool
	// Listens: what other connections do after it is told to its own, and what they do
	// before never is.
	Listens bool
	// Arity as COMMAND gives it: how many arguments, the name (two for a
	// subcommand) included; negative: at least so many.
	Arity int
	// Categories that ACL rules name it by ("@read", "@slow"), as the oldest
	// engine in facts/ says that has it; nil if none there does.
	Categories []string
	// Since is the version that brought it, of the products that have it:
	// "redis 7.2, valkey 7.2"; "" if all supported ones (7.0 and later) do.
	Since string
	// Reason for the class, for people.
	Reason string
	// Record is the number of the decision about the class, in docs/decisions.
	Record int
}

// Container says whether it is called by its subcommands only, which are in the
// table by names of their own. COMMAND is a command besides.
func (c *Command) Container() bool { return table[c.Name].container && c.Name != "command" }

// Typed is the command as people type it: "CONFIG SET".
func (c *Command) Typed() string { return strings.ToUpper(strings.ReplaceAll(c.Name, "|", " ")) }

// Prover is what redoubt verify calls itself at the sidecar's port (CLIENT SETINFO
// LIB-NAME): what it is refused is no application's need.
const Prover = "redoubt-verify"

// Known says whether the table has the command.
func (c *Command) Known() bool { return c.Name != "" }

// longest is more than any name in the table takes.
const longest = 64

// table is built once and only read.
var table = build()

// unknown commands may do anything to their connection.
var unknown = Command{Class: Pinned, OnShared: Leave, OnPrivate: Doubt, Reason: "not in the table: it may change its connection's state or the number of replies"}

// Lookup finds a command by its first two arguments; sub is looked at only if
// the command has subcommands.
func Lookup(name, sub []byte) *Command {
	if c := shorts.find(name); c != nil {
		return c
	}
	var key [longest]byte
	n := lower(key[:], name)
	if n < 0 {
		return &unknown
	}
	c, ok := table[string(key[:n])]
	if !ok {
		return &unknown
	}
	if !c.container || len(sub) == 0 {
		return &c.Command
	}
	key[n] = '|'
	m := lower(key[n+1:], sub)
	if m >= 0 {
		if s, ok := table[string(key[:n+1+m])]; ok {
			return &s.Command
		}
	}
	if c.Barred || c.Class == Local { // all of it stays here, whatever is new in it
		return &c.Command
	}
	return &unknown
}

// All lists the table in alphabetical order.
func All() []*Command { return slices.Clone(all) }

var all = inOrder(table)

func inOrder(table map[string]*entry) []*Command {
	list := make([]*Command, len(table))
	for _, e := range table {
		list[e.Index-1] = &e.Command
	}
	return list
}

// lower copies name in lower case, as engines compare names, and returns its
// length; -1 if it is no name: empty, too long, or with a '|' of its own.
func lower(dst, name []byte) int {
	if len(name) == 0 || len(name) >= len(dst) {
		return -1
	}
	for i, c := range name {
		if c == '|' {
			return -1
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst[i] = c
	}
	return len(name)
}
