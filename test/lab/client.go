package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answerTimeout bounds each answer of a Client.
const answerTimeout = time.Minute

// Client is one plain connection that speaks RESP and shows every byte of the
// answers. It shares no code with the product, on purpose.
type Client struct {
	t       testing.TB
	Conn    net.Conn
	replies *bufio.Reader
}

// NewClient speaks over a connection that the caller made.
func NewClient(t testing.TB, conn net.Conn) *Client {
	t.Cleanup(func() { conn.Close() })
	return &Client{t: t, Conn: conn, replies: bufio.NewReader(conn)}
}

// Connect opens a connection to a sidecar and, with a password, authenticates.
func Connect(t testing.TB, address, password string) *Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, answerTimeout)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(t, conn)
	if password != "" {
		c.Want("+OK\r\n", "AUTH", password)
	}
	return c
}

// Connect opens an authenticated connection to the deployment's sidecar.
func (d *Deployment) Connect(t testing.TB) *Client {
	t.Helper()
	return Connect(t, d.Sidecar, d.Password())
}

// Do sends a command and returns the whole reply, as it came.
func (c *Client) Do(args ...string) string {
	c.t.Helper()
	c.Send(Encode(args...))
	return c.Reply()
}

// Want is Do with the only right answer.
func (c *Client) Want(want string, args ...string) {
	c.t.Helper()
	if got := c.Do(args...); got != want {
		c.t.Fatalf("%q: got %q, want %q", args[0], got, want)
	}
}

// Send writes bytes as they are.
func (c *Client) Send(raw string) {
	c.t.Helper()
	c.Conn.SetDeadline(time.Now().Add(answerTimeout))
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.t.Fatal(err)
	}
}

// Reply reads one reply.
func (c *Client) Reply() string {
	c.t.Helper()
	reply, err := c.TryReply()
	if err != nil {
		c.t.Fatalf("no whole reply: %v (so far %q)", err, reply)
	}
	return reply
}

// TryReply reads one reply, or says why there is none.
func (c *Client) TryReply() (string, error) {
	c.Conn.SetDeadline(time.Now().Add(answerTimeout))
	var b strings.Builder
	err := c.read(&b)
	return b.String(), err
}

func (c *Client) read(b *strings.Builder) error {
	line, err := c.replies.ReadString('\n')
	b.WriteString(line)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		return nil
	case '$', '=':
		if n < 0 {
			return nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(c.replies, body)
		b.Write(body)
		return err
	case '%':
		n *= 2
	case '*', '~', '>':
	default:
		return fmt.Errorf("no RESP: %q", line)
	}
	for range n {
		if err := c.read(b); err != nil {
			return err
		}
	}
	return nil
}

// Encode writes a command in RESP.
func Encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}
