package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// errBusy is the engine's answer while a script runs: alive, but not serving.
var errBusy = errors.New("busy with a script")

// control is the supervisor's own connection, kept for the engine's whole life
// so that it can't be crowded out by maxclients. It speaks just enough RESP for
// commands whose reply is one line, and CLIENT LIST.
type control struct {
	conn net.Conn
	r    *bufio.Reader
	told int // bytes of text that it was answered with (maxAuditText)
}

// newControl dials the socket and proves the password. It gives up at ctx's end.
func newControl(ctx context.Context, socket, password string) (*control, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	c := &control{conn: conn, r: bufio.NewReaderSize(conn, 512)}
	if err := c.do(ctx, pingPatience, "AUTH", supervisor, password); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// ping asks for a sign of life.
func (c *control) ping(ctx context.Context) error {
	return c.do(ctx, pingPatience, "PING")
}

// do sends one command and reads its one-line reply; ctx's end cuts it short.
func (c *control) do(ctx context.Context, patience time.Duration, args ...string) error {
	stop, err := c.send(ctx, patience, args...)
	if err != nil {
		return err
	}
	defer stop()
	reply, err := c.reply(ctx)
	if err == nil && reply[0] != '+' && reply[0] != ':' {
		err = errors.New("its reply is of no kind that was asked for")
	}
	return err
}

// send sends one command. Until stop is called the end of ctx, or of patience,
// ends what is read of its reply.
func (c *control) send(ctx context.Context, patience time.Duration, args ...string) (stop func() bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	stop = context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	if _, err := c.conn.Write(appendCommand(nil, args...)); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// reply reads the first line of a reply. An error reply is an error, which
// repeats nothing of it but its code.
func (c *control) reply(ctx context.Context) (string, error) {
	line, err := c.r.ReadSlice('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		// Were we ourselves stopped for that long (a suspended host, a starved
		// one), then the answer lies there by now, and must not cost the cache.
		c.conn.SetDeadline(time.Now().Add(lastLook))
		line, err = c.r.ReadSlice('\n')
	}
	reply := string(line)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(reply, "-BUSY "):
		return "", errBusy
	case reply[0] == '-':
		return "", refusedError{errorCode(reply)}
	}
	return reply, nil
}

// refusedError is an error reply, of which only the code is kept.
type refusedError struct{ code string }

func (e refusedError) Error() string { return "it answers our own user with an error (" + e.code + ")" }

func (c *control) close() { c.conn.Close() }

// errorCode is the first word of an error reply, if it is one of Redis's codes.
func errorCode(reply string) string {
	code, _, _ := strings.Cut(strings.TrimPrefix(reply, "-"), " ")
	if len(code) > 16 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || code == "" {
		return "no code"
	}
	return code
}

// appendCommand frames a command: an array of bulk strings.
func appendCommand(b []byte, args ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(args))
	for _, arg := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b
}
