package sidecar

import (
	"bytes"
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// luggage is what a guest takes along when it becomes a session with a lane of
// its own.
type luggage struct {
	conn   net.Conn
	member *member
	known  known
	who    credential // to be proved again by the new lane; empty before authentication
	key    groupKey   // the guest's group
	unread []byte     // came from the application and is not consumed
	unsent []byte     // must go to the application first
}

// moveOut has a guest become a session once nothing is pending. It always
// returns false: the command at hand is the session's.
func (l *loop) moveOut(g *guest) bool {
	if g.pending > 0 {
		g.barrier = true
	} else {
		g.leaving = true
	}
	return false
}

// handOver makes the session. The command that made it necessary is the first
// of what is unread.
func (l *loop) handOver(g *guest) {
	conn, err := l.takeConn(g.fd)
	if err != nil {
		l.car.log.Error("an application connection could not be given a lane of its own", "cause", err)
		g.vanish()
		l.car.leave(g.member)
		return
	}
	bag := luggage{conn: conn, member: g.member, known: g.known, unread: bytes.Clone(g.in), unsent: bytes.Clone(g.out)}
	if g.group != nil {
		bag.who, bag.key = g.group.who.clone(), g.group.key
	}
	g.vanish()
	l.car.lodge(bag)
}

// takeConn makes an ordinary connection of a descriptor that the loop owns. The
// descriptor is closed in any case: closing it again would close another's.
func (l *loop) takeConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close() // FileConn makes a duplicate
	if err := l.poll.Remove(fd); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// lodge runs a session for a guest that has moved out.
func (c *Sidecar) lodge(bag luggage) {
	s := newSession(c, bag)
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	draining := c.draining
	c.mu.Unlock()
	c.work.Go(func() {
		returned := s.run(c.hard)
		c.mu.Lock()
		delete(c.sessions, s)
		c.mu.Unlock()
		if !returned {
			c.leave(bag.member)
		}
	})
	if draining {
		s.drain()
	}
}

// A refusedError is an error reply to what must succeed for a session to go on:
// the engine is full, say, or the password has ended since the guest gave it.
type refusedError string

func (refusedError) Error() string { return "the engine refuses the lane of a session" }

// text is the reply as sayFarewell takes it.
func (e refusedError) text() string { return strings.TrimRight(string(e[1:]), "\r\n") }

// moveIn brings a fresh lane to where the guest was: authenticated, with its
// protocol, database and name. One command at a time, as prove does.
func (s *session) moveIn(ctx context.Context, lane net.Conn) error {
	if len(s.who.user) == 0 {
		return nil // it had not authenticated
	}
	defer context.AfterFunc(ctx, func() { lane.SetDeadline(time.Unix(1, 0)) })()
	k := &s.known
	hello, err := login(lane, s.who, max(k.protocol, 2))
	if err != nil {
		return err
	}
	if hello[0] == '-' {
		return refusedError(hello)
	}
	var commands [][]byte
	if k.db != 0 {
		commands = append(commands, resp.AppendCommand(nil, "SELECT", strconv.Itoa(k.db)))
	}
	if k.name != "" {
		commands = append(commands, resp.AppendCommand(nil, "CLIENT", "SETNAME", k.name))
	}
	for _, command := range commands {
		reply, err := ask(lane, command)
		if err != nil {
			return err
		}
		if reply[0] == '-' {
			return refusedError(reply)
		}
	}
	clear(s.who.password)
	s.who = credential{}
	return nil
}

// detach hands a connection that was accepted by a goroutine to the loop.
func (c *Sidecar) detach(conn net.Conn) {
	w := eventloop.NewWire(conn)
	fd, err := w.Detach()
	if err != nil {
		c.log.Error("an application connection can't be driven by the loop", "cause", err)
		conn.Close()
		return
	}
	at := conn.LocalAddr()
	if !c.loop.post(func() { c.loop.welcome(fd, at) }) {
		eventloop.Close(fd)
	}
}
