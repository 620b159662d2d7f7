package sidecar

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// clientList answers CLIENT LIST with the connections of this sidecar that have
// authenticated as the same user, and nobody else's: enough for the clients
// that look for themselves and their fellows (RQ, BullMQ), and no leak.
//
// The line has redis-server 7.0's fields, since clients parse it by regular
// expression. What only the engine knows (buffers, how many subscriptions and queued
// commands) is zero, and so is when a connection was last heard; the last command is
// known of one with a lane of its own. An id is one of ours, above 2^40, for the
// connection's life: the engine's are those of lanes, which come and go.
func clientList(g *guest, c *command.Command, args [][]byte) func(*known) []byte {
	choose, fault := clientFilter(args[2:])
	if fault != "" {
		return constant(errorReply(fault))
	}
	return func(k *known) []byte {
		all := g.loop.connections()
		if len(g.called) > 0 {
			all = slices.Concat(all, g.called)
			slices.SortFunc(all, byID)
		}
		g.called = nil
		var text strings.Builder
		for _, e := range all {
			switch {
			case e.user != k.user || !choose(e):
			case e.id == k.id:
				text.WriteString(g.line(c.Name))
			default:
				text.WriteString(e.line)
			}
		}
		return resp.AppendText(nil, k.protocol, text.String())
	}
}

// An entry is a connection as CLIENT LIST shows it to others.
type entry struct {
	id         int64
	user       string
	subscribed bool
	line       string
}

func byID(a, b entry) int { return cmp.Compare(a.id, b.id) }

// connections is the list of all, in the order of their coming, made once a turn:
// pipelines of CLIENT LIST would hold up everybody else otherwise.
func (l *loop) connections() []entry {
	if l.roll == nil {
		for g := range l.guests {
			l.roll = append(l.roll, entry{g.known.id, g.known.user, g.course.subscribed, g.line("")})
		}
		slices.SortFunc(l.roll, byID)
	}
	return l.roll
}

// mustCall says whether the other loops are to be asked for their connections before a
// command is answered.
func (g *guest) mustCall(c *command.Command) bool {
	return c.Name == "client|list" && g.called == nil && len(g.loop.car.loops) > 1
}

// call has a guest wait for what the other loops have. No reply is due to it.
func (l *loop) call(g *guest) {
	g.called, g.phase = []entry{}, waiting
	expected := len(l.car.loops)
	answered := func(with []entry) {
		g.called = append(g.called, with...)
		if expected--; expected > 0 {
			return
		}
		l.resume(g)
	}
	for _, other := range l.car.loops {
		asked := other != l && other.post(func() {
			all := slices.Clone(other.connections())
			l.post(func() { answered(all) })
		})
		if !asked {
			l.post(func() { answered(nil) })
		}
	}
}

// line is a connection's, of which now is the command under way.
func (g *guest) line(now string) string {
	k := &g.known
	if last := g.course.last; now == "" && last != nil {
		now = last.Name
	}
	multi, redirect := -1, -1
	if k.transaction {
		multi = 0
	}
	if k.tracking {
		redirect = 0
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=0 flags=%s db=%d sub=0 psub=0 ssub=0 multi=%d"+
		" qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=%s redir=%d resp=%d"+
		" lib-name=%s lib-ver=%s\n",
		k.id, g.remote(), address(g.at), g.fd, k.name, int(time.Since(g.since).Seconds()), g.flags(), k.db,
		multi, cmp.Or(now, "NULL"), k.user, redirect, k.protocol, k.library, k.libraryVer)
}

// flags are redis-server's (networking.c, catClientInfoString), of those that we know.
func (g *guest) flags() string {
	var flags []byte
	for _, f := range []struct {
		name byte
		set  bool
	}{
		{'P', g.course.subscribed}, {'x', g.known.transaction}, {'b', g.blocked()}, {'t', g.known.tracking}, {'U', g.socket.unix},
	} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	if len(flags) == 0 {
		return "N"
	}
	return string(flags)
}

// blocked says whether it waits for a command that may wait.
func (g *guest) blocked() bool {
	last := g.course.last // nil, if its lane was a shared one that it has seized
	return g.own != nil && g.pending > 0 && last != nil && slices.Contains(last.Categories, "@blocking")
}

// remote is the application's end. A unix socket's client has no name, and redis-server
// gives the socket's.
func (g *guest) remote() string {
	if peer, ok := eventloop.Peer(g.fd); ok {
		return peer.String()
	}
	return address(g.at)
}

// clientFilter reads CLIENT LIST's options: TYPE, or ID with ids.
func clientFilter(options [][]byte) (choose func(entry) bool, fault string) {
	switch {
	case len(options) == 0:
		return func(entry) bool { return true }, ""
	case len(options) == 2 && isWord(options[0], "TYPE"):
		kind := strings.ToLower(string(options[1]))
		switch kind {
		case "master", "replica", "slave":
			return func(entry) bool { return false }, ""
		case "normal", "pubsub":
			return func(e entry) bool { return e.subscribed == (kind == "pubsub") }, ""
		}
		return nil, "ERR Unknown client type '" + string(options[1]) + "'"
	case len(options) > 1 && isWord(options[0], "ID"):
		var ids []int64
		for _, o := range options[1:] {
			id, err := strconv.ParseInt(string(o), 10, 64)
			if err != nil {
				return nil, errBadClientID
			}
			ids = append(ids, id)
		}
		return func(e entry) bool { return slices.Contains(ids, e.id) }, ""
	}
	return nil, errSyntax
}
