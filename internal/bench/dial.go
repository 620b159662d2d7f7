package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// answerTimeout bounds what isn't measured: connect, handshake, AUTH, SET. A
// peer with 500 connections before it may take its time.
const answerTimeout = 10 * time.Second

// target is where a load is sent.
type target struct {
	address  string
	unix     string // the path of its unix socket; "": it has none
	password string
	tls      *tls.Config // nil: plain TCP
	byUnix   bool        // the load goes there
}

// link is a connection that was made in the blocking way.
type link struct {
	wire *eventloop.Wire
	tls  *tls.Conn // nil: plain TCP
}

// open connects. Where the target speaks TLS, the first request brings the
// handshake.
func open(ctx context.Context, t target) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	network, address := "tcp", t.address
	if t.byUnix {
		network, address = "unix", t.unix
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{wire: eventloop.NewWire(raw)}
	if t.tls != nil {
		l.tls = tls.Client(l.wire, t.tls)
	}
	return l, nil
}

// dial connects and authenticates.
func dial(ctx context.Context, t target) (*link, error) {
	l, err := open(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := l.do(resp.AppendCommand(nil, "AUTH", t.password), []byte("+OK\r\n")); err != nil {
		l.wire.Close()
		return nil, fmt.Errorf("AUTH: %w", err)
	}
	return l, nil
}

func (l *link) conn() net.Conn {
	if l.tls != nil {
		return l.tls
	}
	return l.wire
}

// do sends a request and compares the reply with the only right one.
func (l *link) do(request, want []byte) error {
	conn := l.conn()
	if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	got := make([]byte, len(want))
	for n := 0; n < len(want); {
		m, err := conn.Read(got[n:])
		if err != nil {
			return closedEarly(err)
		}
		if n += m; !bytes.HasPrefix(want, got[:n]) {
			return wrongReply(got[:n])
		}
	}
	return nil
}

// closedEarly puts an end in words.
func closedEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the connection was closed")
	}
	return err
}

// wrongReply tells of an error reply by its text, which has no data in it.
func wrongReply(got []byte) error {
	if text, isError := strings.CutPrefix(string(got), "-"); isError {
		text, _, _ = strings.Cut(text, "\r")
		return fmt.Errorf("the answer was the error %q", text)
	}
	return errors.New("a reply is not the one that belongs to the request")
}
