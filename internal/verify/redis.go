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

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A conversation is a connection to a Redis, over which checks try commands.
type conversation struct {
	conn net.Conn
	in   *counted
	r    *bufio.Reader
}

// counted counts what is read.
type counted struct {
	io.Reader
	bytes int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.bytes += n
	return n, err
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
	in := &counted{Reader: conn}
	return &conversation{conn, in, bufio.NewReader(in)}
}

// heard says whether the other end has sent anything at all.
func (c *conversation) heard() bool { return c.in.bytes > 0 }

func (c *conversation) close() { c.conn.Close() }

// do sends one command and gives its reply as text: "+OK", "-NOPERM …", ":1",
// "$value", "*a b" for an array, "$" for none.
func (c *conversation) do(args ...string) (string, error) {
	return c.raw(respCommand(args))
}

// raw sends bytes and reads one reply.
func (c *conversation) raw(bytes string) (string, error) {
	v, err := c.exchange(bytes)
	return text(v), err
}

// ask sends one command and gives its reply as a value.
func (c *conversation) ask(args ...string) (any, error) {
	return c.exchange(respCommand(args))
}

func (c *conversation) exchange(bytes string) (any, error) {
	if err := c.conn.SetDeadline(time.Now().Add(replyWithin)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c.conn, bytes); err != nil {
		return nil, err
	}
	left := maxReply
	return c.reply(&left, 0)
}

var errReply = errors.New("the answer is no RESP")

// bulk is a bulk string; a line of another kind is a string with its first
// character; an array or map is []any; what isn't there is nil.
type bulk string

// text is a reply as do gives it.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bulk:
		return "$" + string(v)
	case []any:
		words := make([]string, 0, len(v))
		for _, item := range v {
			if word := text(item); word != "" {
				words = append(words, word[1:])
			}
		}
		return "*" + strings.Join(words, " ")
	}
	return "$"
}

func (c *conversation) reply(left *int, depth int) (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if *left -= len(line); line == "" || *left < 0 || depth > maxNesting {
		return nil, errReply
	}
	switch line[0] {
	case '+', '-', ':', ',', '#', '(':
		return line, nil
	case '_':
		return nil, nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n > *left {
		return nil, errReply
	}
	if n < 0 {
		return nil, nil
	}
	switch line[0] {
	case '$', '=', '!':
		text := make([]byte, n+2)
		_, err := io.ReadFull(c.r, text)
		*left -= n
		return bulk(text[:n]), err
	case '%':
		n *= 2
		fallthrough
	case '*', '~':
		items := make([]any, 0, min(n, 1024))
		for range n {
			item, err := c.reply(left, depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		return items, nil
	}
	return nil, errReply
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

func respCommand(args []string) string { return string(resp.AppendCommand(nil, args...)) }

// versionOf asks the engine what it is.
func versionOf(c *conversation) (engine.Version, error) {
	reply, err := c.do("INFO", "server")
	if err != nil {
		return engine.Version{}, err
	}
	return engine.VersionFromInfo(reply)
}
