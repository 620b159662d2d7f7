package sidecar

import (
	"bytes"
	"context"
	"maps"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// What CONFIG GET tells of the engine's memory, which the policy of the cache host
// decides: clients look whether keys may be evicted. It is read from INFO, which
// applications may ask too, so that both say the same: once for each gateway that is
// gone on to and each time that a lane is lost.

// settings are what CONFIG GET tells of every engine that we render.
var settings = map[string]string{
	"appendonly":             "no",
	"databases":              "16",
	"notify-keyspace-events": "",
	"replica-read-only":      "yes",
	"save":                   "",
	"slave-read-only":        "yes",
	"timeout":                "0",
}

// learnMemory asks the engine over a fresh shared lane, if there is one.
func (c *Sidecar) learnMemory(ctx context.Context, p *proven) {
	conn := p.conn
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.Dial)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	reply, err := exchange(conn, resp.AppendCommand(nil, "INFO", "memory"))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		p.conn, p.err = nil, err
		return
	}
	known := maps.Clone(settings)
	for _, s := range []struct{ info, name string }{{"maxmemory", "maxmemory"}, {"maxmemory_policy", "maxmemory-policy"}} {
		_, rest, found := bytes.Cut(reply, []byte("\n"+s.info+":"))
		if value, _, ended := bytes.Cut(rest, []byte("\r\n")); found && ended { // else it may not ask
			known[s.name] = string(value)
		}
	}
	c.settings.Store(&known)
}
