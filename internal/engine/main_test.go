package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain is the shim first: the engine's process is this binary until it
// has locked itself down.
func TestMain(m *testing.M) {
	sandbox.Main()
	if os.Getenv(parentEnv) != "" {
		fmt.Fprintln(os.Stderr, beParent())
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests. Two cores are shared by many.
const patience = 60 * time.Second

// password is the application's in all tests.
const password = "a password of the tests"

func digest(s string) string { return passwords.Of([]byte(s)).String() }

// good is passwords that are good, always.
func good(words ...string) func() []passwords.Digest {
	var digests []passwords.Digest
	for _, word := range words {
		digests = append(digests, passwords.Of([]byte(word)))
	}
	return func() []passwords.Digest { return digests }
}

// A running is an engine that a test has started, with all that it may look at.
type running struct {
	*Engine
	t      *testing.T
	log    *logBuffer
	dir    string
	secret secrets // of the latest start
	mu     sync.Mutex
	stop   func() error // ends Run and gives what it returned
}

// start runs an engine until the test ends. A change adjusts it before.
func start(t *testing.T, o Options, change ...func(*running)) *running {
	t.Helper()
	r := &running{t: t, log: &logBuffer{}}
	if o.Passwords == nil {
		o.Passwords = good(password)
	}
	o.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Engine = e
	rendered := e.configuration
	e.configuration = func(s secrets, good []passwords.Digest) string {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.secret = s
		return rendered(s, good)
	}
	for _, c := range change {
		c(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- e.Run(ctx, func() { close(ready) }) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("Run did not return")
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Logf("our log:\n%s", r.log)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("Run: %v\n%s", err, r.log)
	case <-time.After(patience):
		t.Fatalf("not ready\n%s", r.log)
	}
	e.mu.Lock()
	r.dir = strings.TrimSuffix(e.socket, "/"+socketName)
	e.mu.Unlock()
	return r
}

// app is a connection that has proven the application's password.
func (r *running) app() *client {
	r.t.Helper()
	c := r.raw()
	if got := c.do("AUTH", password); got != "OK" {
		r.t.Fatalf("AUTH: %v", got)
	}
	return c
}

// own is a connection as the supervisor's user.
func (r *running) own() *client {
	r.t.Helper()
	c := r.raw()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := c.do("AUTH", supervisor, r.secret.password); got != "OK" {
		r.t.Fatalf("AUTH %s: %v", supervisor, got)
	}
	return c
}

// raw is a connection that has not said who it is.
func (r *running) raw() *client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := r.Dial(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return &client{t: r.t, conn: conn, r: bufio.NewReader(conn)}
}

// waitFor looks until the condition holds: for what gives no event to wait on,
// such as another process's end.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", patience, what)
		case <-look.C:
		}
	}
}

// A client speaks RESP to the engine, for tests.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// A refusal is an error reply.
type refusal string

// do sends a command and gives its reply.
func (c *client) do(args ...string) any {
	c.t.Helper()
	c.send(string(appendCommand(nil, args...)))
	return c.reply()
}

func (c *client) send(bytes string) {
	c.t.Helper()
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, bytes); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// reply reads one reply; a closed connection is the value io.EOF.
func (c *client) reply() any {
	c.t.Helper()
	v, err := readReply(c.r)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			c.t.Fatalf("no reply: %v", err)
		}
		return io.EOF
	}
	return v
}

func readReply(r *bufio.Reader) (any, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := head[0], strings.TrimRight(head[1:], "\r\n")
	switch kind {
	case '+', ':', ',', '(', '#':
		return rest, nil
	case '-':
		return refusal(rest), nil
	case '_':
		return nil, nil
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return nil, err
	}
	switch kind {
	case '$', '=', '!':
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		list := make([]any, n)
		for i := range list {
			if list[i], err = readReply(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("reply of unknown kind %q", kind)
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
