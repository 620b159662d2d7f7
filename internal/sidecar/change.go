package sidecar

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// What changes who a guest is, how it is spoken to, or where it reads; and all that a
// stranger says. A stranger costs the cache host nothing but the proof of a password:
// whatever else it sends is answered here, in redis-server 7.0's words.

// asStranger takes a command off b and returns how many bytes it was.
func (l *loop) asStranger(g *guest, b []byte) int {
	h, size, o := g.next(b)
	if o == resp.Malformed {
		g.farewell(errProtocol + g.scan.Fault())
		return len(b)
	}
	if o == resp.More {
		g.partial = true
		return 0
	}
	a, err := request(h, b[:size])
	switch {
	case err != nil:
		g.farewell(errProtocol + err.Error())
	case a.command != nil:
		l.stranger(g, a.command, a.args)
	}
	return size
}

func (l *loop) stranger(g *guest, c *command.Command, args [][]byte) {
	switch {
	case !c.Known():
		if isWord(args[0], "POST") || isWord(args[0], "HOST:") { // a browser, on somebody's behalf
			g.end()
			return
		}
		g.answer(unknownCommand(args))
	case !c.WellFormed(len(args)) && !c.Barred:
		g.answer(illFormed(c))
	case c.Name == "auth" || c.Name == "hello" || c.Name == "reset":
		l.change(g, c, args)
	case c.Name == "quit":
		g.answer(okReply)
		g.end()
	case g.untried:
		g.cut()
	case c.Name == "exec":
		g.answer(errorReply(errExecNoAuth))
	default:
		g.answer(errorReply(errNoAuth))
	}
}

// unknownCommand is redis-server's answer to what it doesn't know (server.c,
// commandCheckExistence).
func unknownCommand(args [][]byte) []byte {
	text := func(arg []byte, most int) []byte { // as C reads it
		arg, _, _ = bytes.Cut(arg, []byte{0})
		return arg[:min(len(arg), most)]
	}
	if len(args) > 1 && command.Lookup(args[0], nil).Known() {
		return errorReply(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", text(args[1], 128), strings.ToUpper(string(args[0]))))
	}
	const most = 128
	var with []byte
	for _, arg := range args[1:] {
		if len(with) >= most {
			break
		}
		with = fmt.Appendf(with, "'%s' ", text(arg, most-len(with)))
	}
	return errorReply(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", text(args[0], 128), with))
}

// change does what nothing may be pending for.
func (l *loop) change(g *guest, c *command.Command, args [][]byte) {
	nameTheUser(c, args)
	switch c.Name {
	case "auth":
		if len(args) > 3 {
			g.answer(errorReply(errSyntax))
			return
		}
		who := credential{password: args[len(args)-1], user: []byte(defaultUser)}
		if len(args) == 3 {
			who.user = args[1]
		}
		l.enroll(g, who, handshake{protocol: max(g.known.protocol, 2), db: g.known.db, name: g.known.name})
	case "hello":
		l.hello(g, args)
	case "select":
		l.selectDB(g, string(args[1]))
	default:
		g.reset()
	}
}

// reset does RESET.
func (g *guest) reset() {
	g.join(nil)
	g.known = known{profile: profile{id: g.known.id, protocol: 2, library: g.known.library, libraryVer: g.known.libraryVer}}
	g.answer(resp.AppendSimple(nil, "RESET"))
}

func (l *loop) selectDB(g *guest, index string) {
	db, err := strconv.ParseInt(index, 10, 64)
	switch {
	case err != nil || strconv.FormatInt(db, 10) != index: // no +1 and no 01
		g.answer(errorReply("ERR value is not an integer or out of range"))
	case int64(int32(db)) != db:
		g.answer(errorReply("ERR value is out of range, value must between -2147483648 and 2147483647"))
	case db < 0:
		g.answer(errorReply("ERR DB index is out of range"))
	default: // how many there are, the engine knows
		l.enroll(g, g.group.who, handshake{protocol: g.known.protocol, db: int(db), name: g.known.name})
	}
}

// hello does HELLO [protocol [AUTH user password] [SETNAME name]]: see helloCommand of
// redis-server.
func (l *loop) hello(g *guest, args [][]byte) {
	as := handshake{protocol: g.known.protocol, db: g.known.db, name: g.known.name, hello: true}
	if len(args) > 1 {
		version, err := strconv.ParseInt(string(args[1]), 10, 64)
		switch {
		case err != nil || strconv.FormatInt(version, 10) != string(args[1]):
			g.answer(errorReply("ERR Protocol version is not an integer or out of range"))
			return
		case version < 2 || version > 3:
			g.answer(errorReply("NOPROTO unsupported protocol version"))
			return
		}
		as.protocol = int(version)
	}
	var who credential
	if g.group != nil {
		who = g.group.who
	}
	for rest := args[min(2, len(args)):]; len(rest) > 0; {
		switch {
		case isWord(rest[0], "AUTH") && len(rest) > 2:
			who = credential{rest[1], rest[2]}
			rest = rest[3:]
		case isWord(rest[0], "SETNAME") && len(rest) > 1:
			if !visible(rest[1]) {
				g.answer(errorReply(errClientName))
				return
			}
			as.name = string(rest[1])
			rest = rest[2:]
		default:
			word, _, _ := bytes.Cut(rest[0], []byte{0})
			g.answer(errorReply(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", word)))
			return
		}
	}
	if who.user == nil {
		g.answer(errorReply(errHelloNoAuth))
		return
	}
	l.enroll(g, who, as)
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
