package sidecar

import (
	"bytes"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// A course is what follows, without any I/O, from the commands that a guest has
// sent over its private lane. What follows from the replies is known: that is exact,
// this only as far as it can be before they are there.
type course struct {
	// transaction: a MULTI may be open. It may in truth have failed, never the
	// other way round; so commands that must not slip past an open MULTI are
	// safe, at worst with a round trip that wasn't needed.
	transaction bool
	// watching: a WATCH may be in force, in the same sense.
	watching bool
	// uncounted: replies can't be counted any more.
	uncounted bool
	// strayed: something was asked for that may leave a trace on the connection.
	strayed  bool
	scripted bool             // it has used a script
	needed   time.Time        // when a private lane was last needed
	last     *command.Command // to be sent
	// subscribed: something was subscribed to. It may have been left since.
	subscribed bool

	body    bool   // within a command, of which a part was sent
	doubted bool   // the command under way may end the count: what follows waits for what comes
	instead func() // of the command under way, which isn't sent: this, once it is whole
}

// next says what to do with the next command, which has argc arguments.
func (s *course) next(c *command.Command, argc int) command.Use {
	s.heed(c)
	use := c.OnPrivate
	if s.uncounted {
		s.subscribed = s.subscribed || subscribes(c)
		if use == command.Refuse || use == command.Quit {
			return use
		}
		return command.Uncount
	}
	if (use == command.Track || use == command.Change) && !c.WellFormed(argc) && c.Name != "exec" {
		return command.Send // EXEC ends a transaction even if it is rejected
	}
	switch c.Name {
	case "watch":
		s.watching = true
	case "exec", "discard":
		s.watching = s.watching && !s.transaction
		s.transaction = false
	case "unwatch":
		s.watching = s.watching && (s.transaction || argc != 1)
	case "multi":
		s.transaction = s.transaction || use == command.Track
	case "auth", "hello":
		if s.transaction { // queued, they take effect somewhere inside EXEC's reply
			use = command.Doubt
		}
	}
	s.uncounted = use == command.Uncount
	return use
}

func subscribes(c *command.Command) bool {
	return c.Name == "subscribe" || c.Name == "psubscribe" || c.Name == "ssubscribe"
}

// heed notes what a command means for the way back to the shared lane.
func (s *course) heed(c *command.Command) {
	s.last = c
	s.scripted = s.scripted || c.Scripted
	if c.Returns == command.Never && c.OnPrivate != command.Doubt || c.Returns == command.OutsideMulti && s.transaction {
		s.strayed = true
	}
	if c.OnShared == command.Leave || c.OnShared == command.Block || c.MayBlock || s.transaction || s.watching {
		s.needed = time.Now()
	}
}

// wantsAll says whether all of a command must be at hand before its way can be
// decided. Then it is short, or wrong.
func (s *course) wantsAll(c *command.Command) bool {
	if c.Name == tracking {
		return true // also where nothing is counted: what it redirects never passes
	}
	switch c.OnPrivate {
	case command.Track, command.Answer, command.Change:
		return !s.uncounted
	}
	return c.OnPrivate == command.Quit
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

// effect is what a tracked command does if it succeeds. It holds no password.
type effect struct {
	command string // name in the table
	user    string // AUTH, HELLO AUTH
	name    string // CLIENT SETNAME, HELLO SETNAME
	named   bool
	db      int  // SELECT
	on      bool // CLIENT TRACKING
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
	case tracking:
		e.on = isWord(args[2], "ON")
	case "select":
		e.db, _ = strconv.Atoi(string(args[1])) // the engine checks it
	}
	return e
}

// defaultUser is whom AUTH with a password alone names.
const defaultUser = "default"

// profile is what a guest is, as CLIENT LIST shows it.
type profile struct {
	id                  int64
	user                string // "" before authentication
	name                string
	protocol            int
	db                  int
	library, libraryVer string
}

// known is what the replies delivered so far tell about a guest.
type known struct {
	profile
	transaction bool // a MULTI is open
	tracking    bool
}

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
	case e.command == tracking && ok:
		k.tracking = e.on
	case e.command == "multi" && ok:
		k.transaction = true
	case e.command == "exec", e.command == "discard" && ok:
		k.transaction = false
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
}
