//go:build slow && linux

package scale_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// app is an application's connection. It shares no code with the product.
type app struct {
	conn *net.TCPConn
	in   *bufio.Reader
}

// An errorReply is an error that was the answer.
type errorReply string

func (e errorReply) Error() string { return "the answer was the error " + strconv.Quote(string(e)) }

// connect opens a connection from one of 200 addresses (see greet).
func connect(address string, source int) (*app, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+source%200))}}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &app{conn: conn.(*net.TCPConn), in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (a *app) close() { a.conn.Close() }

// reset closes without a farewell, as a process that is killed with bytes unread.
func (a *app) reset() {
	a.conn.SetLinger(0)
	a.conn.Close()
}

func (a *app) send(commands ...string) error {
	a.conn.SetDeadline(time.Now().Add(patience))
	_, err := io.WriteString(a.conn, strings.Join(commands, ""))
	return err
}

// do asks and returns the reply: a string, an int, nil, or a slice of replies.
func (a *app) do(args ...string) (any, error) {
	if err := a.send(lab.Encode(args...)); err != nil {
		return nil, err
	}
	return a.reply()
}

// want is do with the only right answer.
func (a *app) want(want any, args ...string) error {
	got, err := a.do(args...)
	return expect(args[0], want, got, err)
}

// expect compares a reply with the only right one.
func expect(what string, want, got any, err error) error {
	if err == nil && fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		return wrong(fmt.Sprintf("%s: got %.100q, want %.100q", what, fmt.Sprint(got), fmt.Sprint(want)))
	}
	return err
}

// reply reads one reply. Within an array an error is an element.
func (a *app) reply() (any, error) {
	a.conn.SetDeadline(time.Now().Add(patience))
	v, err := a.value()
	if e, ok := v.(errorReply); ok && err == nil {
		return nil, e
	}
	return v, err
}

func (a *app) value() (any, error) {
	line, err := a.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	text := strings.TrimSuffix(line[1:], "\r\n")
	n, notNumber := strconv.Atoi(text)
	switch kind := line[0]; {
	case kind == '+':
		return text, nil
	case kind == '-':
		return errorReply(text), nil
	case kind == '_', kind == '$' && n < 0, kind == '*' && n < 0:
		return nil, nil
	case notNumber != nil:
	case kind == ':':
		return n, nil
	case kind == '$':
		body := make([]byte, n+2)
		if _, err := io.ReadFull(a.in, body); err != nil {
			return nil, err
		}
		return string(body[:n]), nil
	case kind == '*', kind == '>', kind == '%':
		if kind == '%' {
			n *= 2
		}
		list := make([]any, n)
		for i := range list {
			if list[i], err = a.value(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, wrong(fmt.Sprintf("no RESP: %q", line))
}

// wrong is an answer that nothing excuses.
type wrong string

func (w wrong) Error() string { return string(w) }

// excusable says whether an error may be had while the cache is away.
func excusable(err error) bool {
	var bad wrong
	if errors.As(err, &bad) {
		return false
	}
	var reply errorReply
	if !errors.As(err, &reply) {
		return true // the connection
	}
	return strings.HasPrefix(string(reply), "LOADING redoubt: the cache cannot be reached") ||
		strings.HasPrefix(string(reply), "ERR redoubt: connection to the cache was lost")
}
