package sidecar

import (
	"bytes"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// The state automaton of a session, in two halves without any I/O: what
// follows from the commands as they go up (upstream), and what follows from
// the replies as they come down (known). The second is exact, the first only
// as far as it can be before the replies are there; see upstream.transaction.

// handling is what the sidecar does with a command, as long as nothing in the
// session's state says otherwise.
type handling uint8

const (
	forward    handling = iota // to the engine: one command, one reply
	track                      // the same; its reply tells about the session
	answer                     // answered here
	refuse                     // refused here
	startRelay                 // from here on replies can't be counted
	quit                       // the last command of the session
	pass                       // to the engine, uncounted (relaying)
	bar                        // refused by the engine in our stead (relaying)
)

// routes is how this version, with a lane for each session, handles what is
// neither shared nor refused. What isn't named here is forwarded.
var routes = map[string]handling{
	"auth": track, "hello": track, "select": track, "reset": track,
	"multi": track, "exec": track, "discard": track,
	"client|setname": track, "client|id": track,
	"quit": quit,

	"subscribe": startRelay, "psubscribe": startRelay, "ssubscribe": startRelay,
	"unsubscribe": startRelay, "punsubscribe": startRelay, "sunsubscribe": startRelay,
	"client|reply": startRelay,

	"acl|whoami": answer, "asking": answer, "client|capa": answer, "client|list": answer,
	"client|maint_notifications": answer, "client|no-evict": answer, "client|setinfo": answer,
	"config|get": answer, "readonly": answer, "readwrite": answer, "role": answer,
}

func route(c *command.Command) handling {
	switch {
	case c.Class == command.Shared:
		return forward
	case c.Barred:
		return refuse
	case !c.Known():
		return startRelay
	case isCluster(c):
		return answer
	}
	return routes[c.Name]
}

func isCluster(c *command.Command) bool {
	return c.Class == command.Local && (c.Name == "cluster" || len(c.Name) > 8 && c.Name[:8] == "cluster|")
}

// wellFormed says whether the engine will run a command with so many
// arguments, rather than reject it with an error and no other effect.
func wellFormed(c *command.Command, argc int) bool {
	return argc == c.Arity || c.Arity < 0 && argc >= -c.Arity
}

// upstream is what is known of a session before the replies to its latest
// commands are there.
type upstream struct {
	// transaction: a MULTI may be open. It may in truth have failed, never the
	// other way round; so commands that must not slip past an open MULTI are
	// safe, at worst with a round trip that wasn't needed.
	transaction bool
	// reset: a RESET was sent, so whether the session is authenticated is known
	// again when all replies are there.
	reset bool
	// watching: a WATCH may be in force, in the same sense.
	watching bool
	// relaying: replies can't be counted any more.
	relaying bool
	// stays: the session keeps its lane for good (moveback.go).
	stays bool
}

const tracking = "client|tracking"

// redirects says whether a CLIENT TRACKING asks for its invalidations to be sent to
// another connection. A prefix may be called so too (networking.c, clientCommand).
func redirects(args [][]byte) bool {
	for i := 2; i < len(args); i++ {
		switch {
		case isWord(args[i], "PREFIX"):
			i++
		case isWord(args[i], "REDIRECT"):
			return true
		}
	}
	return false
}

// next decides what to do with the session's next command.
func (u *upstream) next(c *command.Command, argc int) handling {
	h := route(c)
	if u.relaying {
		switch h {
		case refuse:
			return bar
		case quit:
			return quit
		}
		return pass
	}
	if h == track && !wellFormed(c, argc) && c.Name != "exec" {
		return forward // EXEC ends a transaction even if it is rejected
	}
	switch c.Name {
	case "watch":
		u.watching = true
	case "exec", "discard":
		u.watching = u.watching && !u.transaction
	case "unwatch":
		u.watching = u.watching && (u.transaction || argc != 1)
	}
	if h == track {
		switch c.Name {
		case "multi":
			u.transaction = true
		case "exec", "discard":
			u.transaction = false
		case "reset":
			u.transaction, u.reset = false, true
		case "auth", "hello":
			if u.transaction { // queued, they take effect somewhere inside EXEC's reply
				h = startRelay
			}
		}
	}
	if h == startRelay {
		u.relaying = true
	}
	return h
}

// wantsArguments says whether all of a command must be at hand before its way
// can be decided. Then it is short, or wrong.
func (u *upstream) wantsArguments(c *command.Command) bool {
	if c.Name == tracking {
		return true // also while relaying: what it redirects never passes
	}
	switch route(c) {
	case track, answer:
		return !u.relaying
	case quit:
		return true
	}
	return false
}

// effect is what a tracked command does if it succeeds. It holds no password.
type effect struct {
	command string // name in the table
	user    string // AUTH, HELLO AUTH
	name    string // CLIENT SETNAME, HELLO SETNAME
	named   bool
	db      int // SELECT
}

// effectOf reads a tracked command's arguments.
func effectOf(c *command.Command, args [][]byte) effect {
	e := effect{command: c.Name}
	switch c.Name {
	case "auth":
		e.user = defaultUser
		if len(args) > 2 {
			e.user = string(args[1])
		}
	case "hello":
		for i := 2; i < len(args); i++ {
			switch {
			case bytes.EqualFold(args[i], []byte("AUTH")) && i+2 < len(args):
				e.user = string(args[i+1])
				i += 2
			case bytes.EqualFold(args[i], []byte("SETNAME")) && i+1 < len(args):
				e.name, e.named = string(args[i+1]), true
				i++
			}
		}
	case "client|setname":
		e.name, e.named = string(args[2]), true
	case "select":
		e.db, _ = strconv.Atoi(string(args[1])) // the engine checks it
	}
	return e
}

// defaultUser is whom AUTH with a password alone names.
const defaultUser = "default"

// profile is what a session is, as CLIENT LIST shows it.
type profile struct {
	id                  int64
	user                string // "" before authentication
	name                string
	protocol            int
	db                  int
	library, libraryVer string
}

// known is what the replies delivered so far tell about a session.
type known struct {
	profile
	transaction bool // a MULTI is open
}

// replyHead is how much of a reply is kept to learn from it: enough for the
// id in HELLO's.
const replyHead = 256

// learn takes a tracked command's reply, of which head is the beginning.
func (k *known) learn(e effect, head []byte) {
	ok := bytes.HasPrefix(head, []byte("+OK\r"))
	switch {
	case e.command == "hello" && (head[0] == '%' || head[0] == '*'):
		k.hello(e, head)
	case e.command == "auth" && ok:
		k.user = e.user
	case e.command == "select" && ok:
		k.db = e.db
	case e.command == "client|setname" && ok:
		k.name = e.name
	case e.command == "client|id" && head[0] == ':':
		k.readID(head[1:])
	case e.command == "multi" && ok:
		k.transaction = true
	case e.command == "exec", e.command == "discard" && ok:
		k.transaction = false
	case e.command == "reset" && bytes.HasPrefix(head, []byte("+RESET\r")):
		k.transaction = false
		k.user, k.name, k.db, k.protocol = "", "", 0, 2
	}
}

func (k *known) hello(e effect, head []byte) {
	k.protocol = 2
	if head[0] == '%' {
		k.protocol = 3
	}
	if e.user != "" {
		k.user = e.user
	}
	if e.named {
		k.name = e.name
	}
	if _, id, ok := bytes.Cut(head, []byte("\r\n$2\r\nid\r\n:")); ok {
		k.readID(id)
	}
}

// readID reads digits up to a line end.
func (k *known) readID(b []byte) {
	digits, _, _ := bytes.Cut(b, []byte("\r"))
	if id, err := strconv.ParseInt(string(digits), 10, 64); err == nil {
		k.id = id
	}
}
