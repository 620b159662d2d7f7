package command

import "strings"

// A Use is what the sidecar does with a command.
type Use uint8

// What a Use can be.
const (
	Send    Use = iota // to the engine: one command, one reply
	Track              // the same, and the reply tells about the connection
	Answer             // answered by the sidecar
	Refuse             // refused by the sidecar
	Change             // who speaks, how, or in which database: when no reply is due
	Block              // MULTI: with its whole block, if that is at hand
	Leave              // not on a shared lane: the connection gets a private one first
	Doubt              // to the engine: what comes says whether replies can be counted from here on
	Uncount            // to the engine, and from here on replies can't be counted
	Quit               // the last command of the connection
)

var useNames = [...]string{"send", "track", "answer", "refuse", "change", "block", "leave", "doubt", "uncount", "quit"}

func (u Use) String() string { return useNames[u] }

// Return says whether a connection on a private lane may go back to a shared one
// after a command: whether nothing of the command is left on the connection. What
// MULTI and WATCH leave is followed, and not meant.
type Return uint8

// What a Return can be. The zero value is that of what nobody has looked at.
const (
	Never        Return = iota
	OutsideMulti        // in a transaction it takes effect unseen, inside EXEC's reply
	Always
)

// A use is what is done with commands on a shared lane, on a private one, and
// whether they let a connection return.
type use struct {
	shared, private Use
	returns         Return
	names           string
}

// uses are the commands whose use doesn't follow from their class (see byClass).
// Whatever is pinned stands here.
var uses = []use{
	{Block, Track, Always, `multi`},
	{Answer, Track, Always, `exec discard`},
	{Answer, Send, Always, `unwatch client|getname`},
	{Leave, Send, Always, `watch`},

	{Change, Track, Never, `auth hello`},
	{Change, Track, OutsideMulti, `select`},
	{Change, Change, Never, `reset`},
	{Quit, Quit, Never, `quit`},
	{Answer, Track, OutsideMulti, `client|setname`},
	{Leave, Send, Always, `client|getredir client|trackinginfo`},

	{Leave, Send, Always, `blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin wait waitaof`},
	// Scripts are the only known road to a reply that is not asked for
	// (CVE-2025-67733), and one that runs long holds up all behind it.
	{Leave, Send, Always, `eval eval_ro evalsha evalsha_ro fcall fcall_ro`},

	{Leave, Doubt, Never, `subscribe psubscribe ssubscribe unsubscribe punsubscribe sunsubscribe`},
	{Leave, Uncount, Never, `client|reply`},
	{Leave, Track, Never, `client|tracking`},
	{Leave, Send, Never, `client|caching client|no-touch client|import-source`},

	{Answer, Answer, Always, `acl|whoami asking client|capa client|id client|info client|list client|maint_notifications client|no-evict
		client|setinfo config|get readonly readwrite role`},
}

// listening are the commands that miss for good what others do before them. What is
// pushed is there for a BLPOP that comes later, and whoever watches waits for the reply.
const listening = `subscribe psubscribe ssubscribe xread client|tracking`

// byClass is the use of a command that isn't in uses. Of the refused ones that
// aren't barred the engine's ACL refuses each with one reply.
func byClass(c *Command) use {
	switch {
	case c.Class == Shared, c.Class == Refused && !c.Barred:
		return use{shared: Send, private: Send, returns: Always}
	case c.Class == Refused:
		return use{shared: Refuse, private: Refuse, returns: Always}
	case c.Name == "cluster" || strings.HasPrefix(c.Name, "cluster|"):
		return use{shared: Answer, private: Answer, returns: Always}
	}
	return use{shared: Leave, private: Doubt, returns: Never}
}

// setUses is the last part of build.
func setUses(t map[string]*entry) {
	set := func(e *entry, u use) { e.OnShared, e.OnPrivate, e.Returns = u.shared, u.private, u.returns }
	for _, e := range t {
		set(e, byClass(&e.Command))
	}
	for _, u := range uses {
		for _, name := range strings.Fields(u.names) {
			set(t[name], u)
		}
	}
	for _, name := range strings.Fields(listening) {
		t[name].Listens = true
	}
}

// WellFormed says whether an engine runs the command with so many arguments, its
// name among them, rather than reject it with an error and no other effect.
func (c *Command) WellFormed(argc int) bool {
	return argc == c.Arity || c.Arity < 0 && argc >= -c.Arity
}
