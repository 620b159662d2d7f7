package sidecar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// clientList answers CLIENT LIST with the connections of this sidecar that have
// authenticated as the same user, and nobody else's: enough for the clients
// that look for themselves and their fellows (RQ, BullMQ), and no leak.
//
// The line has redis-server 7.0's fields, since clients parse it by regular
// expression. What only the engine knows (buffers, subscriptions, the last
// command) is zero or NULL; of a connection that shares a lane so is the port
// that it came from. An id is the engine's own once the connection has
// learnt it (from HELLO or CLIENT ID), and one of ours, above 2^40, before.
func clientList(g *guest, args [][]byte) func(*known) []byte {
	choose, fault := clientFilter(args[2:])
	if fault != "" {
		return constant(errorReply(fault))
	}
	return func(k *known) []byte {
		g.publish()
		var text strings.Builder
		for _, e := range g.loop.roll() {
			switch {
			case e.profile.user != k.user || !choose(e.profile):
			case e.member == g.member:
				text.WriteString(e.member.line(&k.profile, true))
			default:
				text.WriteString(e.line)
			}
		}
		return resp.AppendText(nil, k.protocol, text.String())
	}
}

// An entry is a connection as CLIENT LIST shows it to others.
type entry struct {
	member  *member
	profile *profile
	line    string
}

// roll is the list of all, made once a turn: pipelines of CLIENT LIST would hold up
// everybody else otherwise.
func (l *loop) roll() []entry {
	if l.listed == nil {
		for _, m := range l.car.all() {
			p := m.profile.Load()
			l.listed = append(l.listed, entry{m, p, m.line(p, false)})
		}
	}
	return l.listed
}

func (m *member) line(p *profile, self bool) string {
	last := "NULL"
	if self {
		last = "client|list"
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=0 name=%s age=%d idle=0 flags=N db=%d sub=0 psub=0 ssub=0 multi=-1"+
		" qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=%s user=%s redir=-1 resp=%d"+
		" lib-name=%s lib-ver=%s\n",
		p.id, address(m.remote), address(m.local), p.name, int(time.Since(m.since).Seconds()), p.db,
		last, p.user, p.protocol, p.library, p.libraryVer)
}

// clientFilter reads CLIENT LIST's options: TYPE, or ID with ids.
func clientFilter(options [][]byte) (choose func(*profile) bool, fault string) {
	switch {
	case len(options) == 0:
		return func(*profile) bool { return true }, ""
	case len(options) == 2 && isWord(options[0], "TYPE"):
		kind := strings.ToLower(string(options[1]))
		switch kind {
		case "normal", "master", "replica", "slave", "pubsub":
			return func(*profile) bool { return kind == "normal" }, ""
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
		return func(p *profile) bool { return slices.Contains(ids, p.id) }, ""
	}
	return nil, errSyntax
}
