package sidecar

import (
	"bytes"
	"log/slog"
	"sync/atomic"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/lane"
)

// refusals knows which commands applications were refused, by the sidecar itself or by
// the engine's ACL. Applications get Redis's own words, which name no way out, and some
// libraries hide even those; so a person is told here, once a command: in the log, in
// Status and in the metrics.
//
// All names are the table's: there are as many as it has rows, whatever applications
// send. A script may answer with an error that looks like a refusal (redis.error_reply),
// so the counts are as good as the application's word; and who calls himself redoubt
// verify is counted as it.
//
// It may be called by any goroutine; refused and reply by the guest's loop.
type refusals struct {
	log    *slog.Logger
	opens  func(*command.Command) string
	counts []atomic.Int64 // by command.Index
	probes atomic.Int64   // refused to command.Prover
}

// A Refusal is a command that was refused to applications of this host.
type Refusal struct {
	Command string `json:"command" label:"command"` // as in the table: "eval", "config|set"
	By      string `json:"by" label:"by"`           // "sidecar", "engine"
	Times   int64  `json:"times" metric:"redoubt_refused_total" help:"Commands of applications that were refused since the start, by command, by the sidecar (docs/decisions/0030) or by the engine's ACL; redoubt explain says why, and what opens them."`
	Opens   string `json:"opens"` // what in the policy would open it
}

func newRefusals(log *slog.Logger, opens func(*command.Command) string) *refusals {
	if opens == nil {
		opens = func(*command.Command) string { return "" }
	}
	return &refusals{log: log, opens: opens, counts: make([]atomic.Int64, len(command.All())+1)}
}

// refused counts a refusal, and logs a command's first. What redoubt verify tries is no
// application's: it is counted apart.
func (r *refusals) refused(g *guest, c *command.Command) {
	if g.known.library == command.Prover {
		r.probes.Add(1)
		return
	}
	if r.counts[c.Index].Add(1) > 1 {
		return
	}
	reason := c.Reason
	if c.Class != command.Refused { // that one is about its way
		reason = "the cache host's policy closes it"
	}
	r.log.Warn("command refused", "command", c.Name, "by", refuser(c), "reason", reason, "opens", r.opens(c), "more", "redoubt explain "+c.Typed())
}

// reply looks whether an error of the engine is a refusal by its ACL, which names the
// command (acl.c, getAclErrorMessage): "NOPERM this user has no permissions to run the
// 'client|kill' command" of 7.0, "NOPERM User default has …" of later ones.
func (r *refusals) reply(of lane.Client, text []byte) {
	if !bytes.HasPrefix(text, []byte("NOPERM ")) {
		return
	}
	_, name, ok := bytes.Cut(text, []byte(" has no permissions to run the '"))
	name, _, closed := bytes.Cut(name, []byte("' command"))
	if !ok || !closed {
		return // about a key or a channel
	}
	name, sub, _ := bytes.Cut(name, []byte("|"))
	g, ok := of.(*guest)
	if c := command.Lookup(name, sub); ok && c.Known() {
		r.refused(g, c)
	}
}

// refuser is who refuses a command.
func refuser(c *command.Command) string {
	if c.Barred {
		return "sidecar"
	}
	return "engine"
}

// list is what was refused so far, in alphabetical order.
func (r *refusals) list() []Refusal {
	list := []Refusal{}
	for _, c := range command.All() {
		if n := r.counts[c.Index].Load(); n > 0 {
			list = append(list, Refusal{c.Name, refuser(c), n, r.opens(c)})
		}
	}
	return list
}
