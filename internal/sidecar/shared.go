package sidecar

import (
	"bytes"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// What a guest's commands come to on a shared lane.

// outcome says whether a command is done with, or is to be looked at again when the
// guest goes on.
type outcome bool

const (
	done  outcome = true
	again outcome = false
)

// An ask is a command that is there as a whole.
type ask struct {
	command *command.Command
	args    [][]byte
	frame   []byte
}

// request makes an ask of the command that b is, be it a line of text. An empty one
// has no command. Its error is redis-server's, for a protocol error.
func request(h resp.Head, b []byte) (a ask, err error) {
	if h.Inline {
		if b, err = resp.AppendInline(nil, b); err != nil {
			return a, err
		}
	}
	a = ask{args: resp.Args(nil, b), frame: b}
	if len(a.args) == 0 {
		return ask{}, nil
	}
	var sub []byte
	if len(a.args) > 1 {
		sub = a.args[1]
	}
	a.command = command.Lookup(a.args[0], sub)
	return a, nil
}

// onShared takes whole commands off b and returns how many bytes they were. A run of
// commands that are sent on as they are is sent at once.
func (l *loop) onShared(g *guest, b []byte) (used int) {
	of := g.group
	if g.behind() { // it has just become one of the group
		return 0
	}
	if len(g.out) > unreadShared || of.keepsApart(g) { // it writes and doesn't read: the engine is to keep the rest
		l.leave(g)
		return 0
	}
	g.asked = true
	from, owed := 0, 0
	send := func() {
		if owed > 0 {
			g.pending += owed
			l.commandsSent += int64(owed)
			of.link.books.Send(g, b[from:used], owed)
		}
		from, owed = used, 0
	}
	for used < len(b) {
		h, size, o := g.next(b[used:])
		if o == resp.Malformed {
			send()
			g.farewell(errProtocol + g.scan.Fault())
			return len(b)
		}
		if o == resp.More {
			g.partial = true
			break
		}
		if !h.Inline && h.Argc > 0 && !g.bulky && of.link != nil && size <= maxShared {
			c := command.Lookup(h.Name, h.Sub)
			if c.OnShared == command.Send && !c.MayBlock { // nearly all
				g.scripted = g.scripted || c.Scripted
				used += size
				owed++
				continue
			}
			if c.OnShared == command.Block {
				n, replies := g.block(h, b[used:], size)
				if used += n; n > 0 {
					owed += replies
					continue
				}
				if g.partial {
					break
				}
			}
		}
		send()
		if l.special(g, h, b[used:used+size]) == again {
			return used
		}
		used += size
		from = used
		if g.group != of || g.phase != serving || g.said >= saidATurn {
			return used
		}
	}
	send()
	return used
}

// special deals with a command that isn't sent as it is in a run of others.
func (l *loop) special(g *guest, h resp.Head, b []byte) outcome {
	a, err := request(h, b)
	if err != nil {
		g.farewell(errProtocol + err.Error())
		return done
	}
	if a.command == nil {
		return done
	}
	c := a.command
	use := c.OnShared
	if use != command.Send && use != command.Refuse && !c.WellFormed(len(a.args)) && c.Known() {
		g.answer(illFormed(c))
		return done
	}
	switch use {
	case command.Send:
		if g.bulky || len(b) > maxShared || c.MayBlock && command.Blocks(a.args[1:]) {
			return l.leave(g)
		}
		if g.group.link == nil {
			return l.away(g)
		}
		g.pending++
		l.commandsSent++
		g.group.link.books.Send(g, a.frame, 1)
	case command.Answer:
		if g.mustCall(c) {
			if g.pending > 0 {
				g.phase = barred
			} else {
				l.call(g)
			}
			return again
		}
		g.answer(g.local(c, a.args))
	case command.Refuse:
		l.car.refusals.refused(g, c)
		g.answer(errorReply(notAllowed(c.Name)))
	case command.Quit:
		g.answer(okReply)
		g.end()
	case command.Change:
		if g.pending > 0 {
			g.phase = barred
			return again
		}
		l.change(g, c, a.args)
	default: // Leave; MULTI without its block
		return l.leave(g)
	}
	return done
}

// illFormed is redis-server 7.0's answer to a command with too many or too few
// arguments.
func illFormed(c *command.Command) []byte {
	if c.Name == "exec" {
		return errorReply("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")
	}
	return errorReply(wrongArity(c.Name))
}

// block looks whether a whole MULTI … EXEC of shared commands is there, of which the
// MULTI has size bytes: it goes as one unit, which nothing else can come between.
// Client libraries wrap their pipelines in it. It returns how many bytes and replies
// that is, or 0: it needs a private lane, since it comes in pieces; unless it is cut
// in mid-command, so that more is on its way.
func (g *guest) block(multi resp.Head, b []byte, size int) (n, replies int) {
	if multi.Argc != 1 {
		return 0, 0
	}
	scan := resp.CommandScanner{Authenticated: true}
	n, replies = size, 1
	for n <= maxShared {
		h, o := scan.Head(b[n:])
		k := 0
		if o == resp.Whole && !h.Inline && h.Argc > 0 {
			k, o = scan.Body(b[n+h.Len:])
		}
		if o == resp.More && len(b) > n && len(b) < maxShared {
			g.partial = true
		}
		if o != resp.Whole || h.Inline || h.Argc == 0 {
			break
		}
		c := command.Lookup(h.Name, h.Sub)
		n += h.Len + k
		replies++
		if (c.Name == "exec" || c.Name == "discard") && h.Argc == 1 {
			return n, replies
		}
		if c.OnShared != command.Send || c.MayBlock {
			break
		}
	}
	return 0, 0
}

// local is an answer of our own; it is made now, since what a guest on a shared lane
// is changes only by its own commands, in their order.
func (g *guest) local(c *command.Command, args [][]byte) []byte {
	switch c.Name {
	case "exec":
		return errorReply("ERR EXEC without MULTI")
	case "discard":
		return errorReply("ERR DISCARD without MULTI")
	case "unwatch":
		return okReply
	case "client|getname":
		if g.known.name == "" {
			return resp.AppendNull(nil, g.known.protocol)
		}
		return resp.AppendBulk(nil, g.known.name)
	case "client|setname":
		if !visible(args[2]) {
			return errorReply(errClientName)
		}
		g.known.name = string(args[2])
		return okReply
	}
	return localAnswer(g, c, args)()
}

// visible is validateClientAttr of redis-server: visible ASCII only.
func visible(name []byte) bool {
	return !bytes.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' })
}
