package sidecar

import (
	"bytes"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// way is what a guest's command comes to.
type way uint8

const (
	shares     way = iota // sent over the shared lane, one reply
	opensBlock            // MULTI: shares if its whole block is there
	answers               // answered here; changes nothing but the guest
	relocates             // moves the guest to another group, or none
	refuses               // never leaves the sidecar
	leaves                // QUIT
	movesOut              // needs a lane of its own
)

// exceptions are commands whose way isn't what their class says.
var exceptions = map[string]way{
	"multi": opensBlock,
	"auth":  relocates, "hello": relocates, "select": relocates, "reset": relocates,
	"quit": leaves,

	"exec": answers, "discard": answers, "unwatch": answers,
	"client|setname": answers, "client|getname": answers, "client|id": answers,
	"acl|whoami": answers, "asking": answers, "client|capa": answers, "client|list": answers,
	"client|maint_notifications": answers, "client|no-evict": answers, "client|setinfo": answers,
	"config|get": answers, "readonly": answers, "readwrite": answers, "role": answers,

	// Scripts are the only known road to a reply that is not asked for
	// (CVE-2025-67733), and one that runs long holds up all behind it.
	"eval": movesOut, "eval_ro": movesOut, "evalsha": movesOut, "evalsha_ro": movesOut,
	"fcall": movesOut, "fcall_ro": movesOut,
}

// ways of all commands, by index: it is asked for each.
var ways = allWays()

func allWays() []way {
	all := []way{movesOut} // what isn't known
	for _, c := range command.All() {
		w, ok := exceptions[c.Name]
		if !ok {
			w = wayByClass(c)
		}
		all = append(all, w)
	}
	return all
}

func wayOf(c *command.Command) way { return ways[c.Index] }

func wayByClass(c *command.Command) way {
	switch {
	case c.Class == command.Shared:
		return shares
	case c.Barred:
		return refuses
	case isCluster(c):
		return answers
	case c.Class == command.Refused:
		return shares // the engine's ACL refuses it, with one reply
	}
	return movesOut
}

// special deals with what isn't sent over the shared lane. It returns false if
// the command has to be looked at again.
func (l *loop) special(g *guest, c *command.Command, w way, args [][]byte) bool {
	if !wellFormed(c, len(args)) && w != refuses {
		return l.moveOut(g) // the engine has the words for it
	}
	switch w {
	case answers:
		g.answer(g.local(c, args))
	case refuses:
		l.car.refusals.refused(c)
		g.answer(errorReply(notAllowed(c.Name)))
	case leaves:
		g.answer(ok)
		g.end()
	case relocates:
		if g.pending > 0 {
			g.barrier = true
			return false
		}
		return l.relocate(g, c, args)
	default:
		return l.moveOut(g)
	}
	return true
}

// stranger deals with a command before authentication.
func (l *loop) stranger(g *guest, c *command.Command, frame []byte) bool {
	args := resp.Args(nil, frame)
	switch {
	case !c.Known() || !wellFormed(c, len(args)):
		return l.moveOut(g)
	case c.Name == "auth" || c.Name == "hello" || c.Name == "reset":
		return l.relocate(g, c, args)
	case c.Name == "quit":
		g.answer(ok)
		g.end()
	case c.Name == "exec":
		g.answer(errorReply(errExecNoAuth))
	default:
		g.answer(errorReply(errNoAuth))
	}
	return true
}

// local is an answer of our own; it is made now, since what a guest is changes
// only by its own commands, in their order.
func (g *guest) local(c *command.Command, args [][]byte) []byte {
	switch c.Name {
	case "exec":
		return errorReply("ERR EXEC without MULTI")
	case "discard":
		return errorReply("ERR DISCARD without MULTI")
	case "unwatch":
		return ok
	case "client|id":
		return resp.AppendInt(nil, g.known.id)
	case "client|getname":
		if g.known.name == "" {
			return resp.AppendNull(nil, g.known.protocol)
		}
		return resp.AppendBulk(nil, g.known.name)
	case "client|setname":
		// validateClientAttr of redis-server: visible ASCII only.
		if bytes.ContainsFunc(args[2], func(r rune) bool { return r < '!' || r > '~' }) {
			return errorReply(errClientName)
		}
		g.known.name = string(args[2])
		g.publish()
		return ok
	}
	reply := localAnswer(g.loop.car, g.member, c, args)(&g.known)
	g.publish()
	return reply
}

// publish shows what a guest is to CLIENT LIST.
func (g *guest) publish() {
	p := g.known.profile
	g.member.profile.Store(&p)
}

// relocate does what changes who a guest is, how it is spoken to, or where it
// reads; nothing is pending.
func (l *loop) relocate(g *guest, c *command.Command, args [][]byte) bool {
	nameTheUser(c, args)
	switch c.Name {
	case "auth":
		if len(args) > 3 {
			g.answer(errorReply(errSyntax))
			return true
		}
		who := credential{password: args[len(args)-1], user: []byte(defaultUser)}
		if len(args) == 3 {
			who.user = args[1]
		}
		return l.authenticate(g, who, max(g.known.protocol, 2), g.known.db, g.known.name, func([]byte) []byte { return ok })
	case "hello":
		return l.hello(g, args)
	case "select":
		db, err := strconv.Atoi(string(args[1]))
		if err != nil || db < 0 || strconv.Itoa(db) != string(args[1]) { // the engine takes no +1 and no 01
			return l.moveOut(g)
		}
		return l.authenticate(g, g.group.who, g.known.protocol, db, g.known.name, func([]byte) []byte { return ok })
	default: // RESET
		g.join(nil)
		g.known.user, g.known.name, g.known.db, g.known.protocol = "", "", 0, 2
		g.publish()
		g.answer(resp.AppendSimple(nil, "RESET"))
		return true
	}
}

// hello understands HELLO protocver [AUTH user password] [SETNAME name]; what
// is otherwise is the engine's to answer.
func (l *loop) hello(g *guest, args [][]byte) bool {
	if len(args) < 2 || len(args[1]) != 1 || args[1][0] != '2' && args[1][0] != '3' {
		return l.moveOut(g)
	}
	protocol := int(args[1][0] - '0')
	name := g.known.name
	var who credential
	if g.group != nil {
		who = g.group.who
	}
	for rest := args[2:]; len(rest) > 0; {
		switch {
		case isWord(rest[0], "AUTH") && len(rest) > 2:
			who = credential{rest[1], rest[2]}
			rest = rest[3:]
		case isWord(rest[0], "SETNAME") && len(rest) > 1 && !bytes.ContainsFunc(rest[1], func(r rune) bool { return r < '!' || r > '~' }):
			name = string(rest[1])
			rest = rest[2:]
		default:
			return l.moveOut(g)
		}
	}
	if who.user == nil {
		return l.moveOut(g) // HELLO before AUTH: the engine has a long text for it
	}
	return l.authenticate(g, who, protocol, g.known.db, name, func(hello []byte) []byte { return g.ownHello(hello) })
}

// authenticate moves a guest to a group and answers it. A failure changes
// nothing.
func (l *loop) authenticate(g *guest, who credential, protocol, db int, name string, reply func(hello []byte) []byte) bool {
	if len(l.groups) >= maxGroups {
		return l.moveOut(g)
	}
	user := string(who.user)
	done := func(hello, refusal []byte) {
		if refusal != nil {
			g.answer(refusal)
			return
		}
		g.known.user, g.known.protocol, g.known.db, g.known.name = user, protocol, db, name
		g.publish()
		g.answer(reply(hello))
	}
	l.enroll(g, who, protocol, db, done)
	return true // done is called now or later; the command is over either way
}

// ownHello is the group's HELLO reply with the guest's id.
func (g *guest) ownHello(hello []byte) []byte {
	const field = "\r\n$2\r\nid\r\n:"
	before, rest, found := bytes.Cut(hello, []byte(field))
	_, after, ended := bytes.Cut(rest, []byte("\r\n"))
	if !found || !ended {
		return hello
	}
	out := append(bytes.Clone(before), field...)
	out = strconv.AppendInt(out, g.known.id, 10)
	out = append(out, "\r\n"...)
	return append(out, after...)
}
