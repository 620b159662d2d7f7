package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// users keeps the engine's users in step with the passwords that are good: over
// the supervisor's own connection, which alone may do that (docs/decisions/0060).
type users struct {
	engine  *Engine
	control *control
	secret  secrets
	policy  Policy // that the engine has
	torn    bool   // or doesn't wholly have: another one was begun with
	good    func() []passwords.Digest
	log     *slog.Logger

	has    []passwords.Digest // what the engine takes
	newest int64              // the last connection from before a password's end: the engine counts them up
	cut    time.Time          // when the default user's connections up to that one are ended; zero: there are none
}

// cutPause: who authenticates as the default user, without the sidecar, can't be
// told by password. So when one ends, the default user's connections from before
// the end are ended too. The pause lets those be done that were proving another
// password just then; it takes milliseconds.
const cutPause = 3 * time.Second

// follow brings the engine to what is good now. What it can't do because the
// engine is busy is done next time, from the beginning: each command can be
// repeated.
func (u *users) follow(ctx context.Context) error {
	if u.torn {
		if err := u.put(ctx, u.policy, u.policy); err != nil {
			return err
		}
	}
	good := u.good()
	if !slices.Equal(good, u.has) {
		if err := u.change(ctx, good); err != nil {
			return err
		}
	}
	if u.cut.IsZero() || time.Now().Before(u.cut) {
		return nil
	}
	ended, err := u.endDefault(ctx)
	if err != nil {
		return err
	}
	u.cut = time.Time{}
	if ended > 0 {
		u.log.Info("connections that may have come with a password that has ended were ended", "connections", ended)
	}
	return nil
}

// change makes first the users of what is new, then lets the default user take
// what is good and nothing else, then removes the users of what has ended, and
// with them their connections. So whoever is on the way in as one of them finds
// either everything or nothing.
func (u *users) change(ctx context.Context, good []passwords.Digest) error {
	added, ended := missing(good, u.has), missing(u.has, good)
	for _, user := range appUsers(u.engine.rights(u.policy), added)[1:] {
		// "reset" begins from nothing, should it be there in half.
		words := append([]string{u.secret.acl, "SETUSER", user[0], "reset"}, user[1:]...)
		if err := u.control.do(ctx, pingPatience, words...); err != nil {
			return err
		}
	}
	words := append([]string{u.secret.acl, "SETUSER", defaultUser, "resetpass"}, hashes(good)...)
	if err := u.control.do(ctx, pingPatience, words...); err != nil {
		return err
	}
	for _, d := range ended {
		if err := u.control.do(ctx, pingPatience, u.secret.acl, "DELUSER", d.User()); err != nil {
			return err
		}
	}
	if len(ended) > 0 {
		err := u.control.clients(ctx, func(c connection) { u.newest = max(u.newest, c.id) })
		if err != nil {
			return err
		}
		u.cut = time.Now().Add(cutPause)
	}
	u.has = good
	u.log.Info("the application's passwords have changed", "added", called(added), "ended", called(ended))
	return nil
}

// missing is what all has and some has not.
func missing(all, some []passwords.Digest) (left []passwords.Digest) {
	for _, d := range all {
		if !slices.Contains(some, d) {
			left = append(left, d)
		}
	}
	return left
}

func called(digests []passwords.Digest) (names []string) {
	for _, d := range digests {
		names = append(names, d.Name())
	}
	return names
}

// endDefault ends the connections of the default user from before the end.
func (u *users) endDefault(ctx context.Context) (ended int, err error) {
	var old []int64
	err = u.control.clients(ctx, func(c connection) {
		if c.user == defaultUser && c.id <= u.newest {
			old = append(old, c.id)
		}
	})
	if err != nil {
		return 0, err
	}
	return u.end(ctx, old)
}

// end ends connections; one that has gone meanwhile is no error.
func (u *users) end(ctx context.Context, ids []int64) (ended int, err error) {
	for _, id := range ids {
		if err := u.control.do(ctx, pingPatience, "CLIENT", "KILL", "ID", strconv.FormatInt(id, 10)); err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

// A connection is a line of CLIENT LIST.
type connection struct {
	id    int64
	user  string
	flags string // P: it subscribes, t: it is told of keys (CLIENT TRACKING)
}

// mostConnections is every client that a policy can allow, and a few of ours.
const mostConnections = mostMaxClients + 1000

// maxField is more than what we read of a field of CLIENT LIST. Others are names
// of the application's, of any length, without a space or a line end.
const maxField = 64

// readConnections reads the text of CLIENT LIST; one line with its end for each.
// There are no more than any policy allows: who answers with more was taken over.
func readConnections(r io.ByteReader, found func(connection)) error {
	var c connection
	lines := 0
	field := make([]byte, 0, maxField)
	for {
		b, err := r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if b != ' ' && b != '\n' {
			if len(field) < maxField {
				field = append(field, b)
			}
			continue
		}
		c.set(string(field))
		field = field[:0]
		if b == '\n' {
			if lines++; lines > mostConnections {
				return errTooMuch
			}
			found(c)
			c = connection{}
		}
	}
}

func (c *connection) set(field string) {
	name, value, _ := strings.Cut(field, "=")
	switch name {
	case "id":
		c.id, _ = strconv.ParseInt(value, 10, 64) // the engine's own number
	case "user":
		c.user = value
	case "flags":
		c.flags = value
	}
}

// clients asks for CLIENT LIST, whose reply is too large to be held.
func (c *control) clients(ctx context.Context, found func(connection)) error {
	stop, err := c.send(ctx, pingPatience, "CLIENT", "LIST")
	if err != nil {
		return err
	}
	defer stop()
	head, err := c.reply(ctx)
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(strings.TrimSpace(head[1:]), 10, 64)
	if head[0] != '$' || err != nil || size < 0 {
		return fmt.Errorf("it answers CLIENT LIST with no list")
	}
	text := io.LimitReader(c.r, size)
	if err := readConnections(bufio.NewReader(text), found); err != nil {
		return err
	}
	_, err = c.r.Discard(len("\r\n"))
	return err
}
