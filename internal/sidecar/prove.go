package sidecar

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// How a credential is proved: with a fresh lane that nobody else uses yet.

// proven is what a proof found: a lane that is authenticated and in its
// database, or the engine's refusal, or why there was none of either.
type proven struct {
	conn    net.Conn
	from    uint64 // the generation of the route
	hello   []byte
	refusal []byte
	err     error
}

// final says whether a refusal is about the credential. Others pass: an engine
// that is full, loads its data or runs a script.
func (p proven) final() bool {
	for _, code := range []string{"-WRONGPASS ", "-NOAUTH ", "-NOPERM "} {
		if bytes.HasPrefix(p.refusal, []byte(code)) {
			return true
		}
	}
	return false
}

// noteReach notes what a proof found of whether the cache can be reached. What became of
// a lane to a gateway that was left meanwhile says nothing.
func (c *Sidecar) noteReach(p proven) {
	if p.from == 0 || p.from == c.gateways.now().generation {
		c.reached(p.err)
	}
}

// closeUnless closes a lane that nobody takes.
func (p proven) closeUnless(taken bool) {
	if !taken && p.conn != nil {
		p.conn.Close()
	}
}

// prove makes a fresh lane and brings it to where a guest is: HELLO, SELECT, CLIENT
// SETNAME, each alone, since some engines lose a failing reply when others are
// pending (redis/redis#15640). It runs in a goroutine of its own.
func (c *Sidecar) prove(ctx context.Context, who credential, protocol, db int, name string) proven {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Dial)
	defer cancel()
	select {
	case c.proving <- struct{}{}:
		defer func() { <-c.proving }()
	case <-ctx.Done():
		return proven{err: ctx.Err()}
	}
	conn, from, err := c.gateways.dial(ctx)
	if err != nil {
		return proven{err: err}
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	p := proven{conn: conn, from: from}
	p.hello, p.err = login(conn, who, protocol)
	if p.err == nil && p.hello[0] == '-' {
		p.refusal = p.hello
	}
	var then [][]byte
	if db != 0 {
		then = append(then, resp.AppendCommand(nil, "SELECT", strconv.Itoa(db)))
	}
	if name != "" {
		then = append(then, resp.AppendCommand(nil, "CLIENT", "SETNAME", name))
	}
	for _, command := range then {
		if p.err != nil || p.refusal != nil {
			break
		}
		var reply []byte
		if reply, p.err = exchange(conn, command); p.err == nil && reply[0] == '-' {
			p.refusal = reply
		}
	}
	if p.err != nil || p.refusal != nil {
		conn.Close()
		p.conn = nil
	}
	return p
}

// exchange sends one command over a connection that nobody else uses and reads its
// reply, which must be small and the only one.
func exchange(conn net.Conn, command []byte) ([]byte, error) {
	if _, err := conn.Write(command); err != nil {
		return nil, err
	}
	var scan resp.ReplyScanner
	reply := make([]byte, 0, 4<<10)
	for seen := 0; ; {
		n, err := conn.Read(reply[len(reply):cap(reply)])
		reply = reply[:len(reply)+n]
		k, o := scan.Scan(reply[seen:])
		seen += k
		switch {
		case o == resp.Malformed || o == resp.Whole && seen < len(reply) || len(reply) == cap(reply):
			return nil, errUnreadable
		case o == resp.Whole:
			return reply, nil
		case err != nil:
			return nil, err
		}
	}
}
