package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A conversation is a connection to a Redis, over which checks try commands. It
// speaks RESP2.
type conversation struct {
	conn net.Conn
	r    *bufio.Reader
}

// Bounds of a conversation.
const (
	replyWithin = 5 * time.Second
	maxReply    = 8 << 20 // COMMAND's is 300 KB
	maxNesting  = 16
)

// converse connects and, where there is a password, proves it.
func converse(ctx context.Context, network, address, user, password string) (*conversation, error) {
	conn, err := (&net.Dialer{Timeout: replyWithin}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := newConversation(conn)
	if password == "" {
		return c, nil
	}
	login := []string{"AUTH", password}
	if user != "" {
		login = []string{"AUTH", user, password}
	}
	reply, err := c.do(login...)
	if err == nil && reply != "+OK" {
		err = fmt.Errorf("the password is refused: %s", code(reply))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func newConversation(conn net.Conn) *conversation {
	return &conversation{conn, bufio.NewReader(conn)}
}

func (c *conversation) close() { c.conn.Close() }

// do sends one command and gives its reply as text: "+OK", "-NOPERM …", ":1",
// "$value", "*a b" for an array, "$" for none.
func (c *conversation) do(args ...string) (string, error) {
	return c.raw(string(resp.AppendCommand(nil, args...)))
}

// raw sends bytes and reads one reply.
func (c *conversation) raw(bytes string) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(replyWithin)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c.conn, bytes); err != nil {
		return "", err
	}
	left := maxReply
	return c.reply(&left, 0)
}

var errReply = errors.New("the answer is no RESP2")

func (c *conversation) reply(left *int, depth int) (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if *left -= len(line); line == "" || *left < 0 || depth > maxNesting {
		return "", errReply
	}
	switch kind := line[0]; kind {
	case '+', '-', ':':
		return line, nil
	case '$', '*':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n > *left {
			return "", errReply
		}
		if n < 0 {
			return "$", nil
		}
		if kind == '$' {
			text := make([]byte, n+2)
			_, err := io.ReadFull(c.r, text)
			*left -= n
			return "$" + string(text[:n]), err
		}
		items := make([]string, 0, min(n, 1024))
		for range n {
			item, err := c.reply(left, depth+1)
			if err != nil {
				return "", err
			}
			items = append(items, item[1:])
		}
		return "*" + strings.Join(items, " "), nil
	}
	return "", errReply
}

// code is the first word of an error reply, the rest of which may repeat what was
// sent; of another reply, its kind.
func code(reply string) string {
	if word, is := strings.CutPrefix(reply, "-"); is {
		word, _, _ = strings.Cut(word, " ")
		return word
	}
	return reply[:min(1, len(reply))]
}
