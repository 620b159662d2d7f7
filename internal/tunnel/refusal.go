package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// A refused is what a gateway lets a host know that it turns away.
type refused struct {
	words string
	cause error
}

func (r *refused) Error() string {
	if r.cause == nil {
		return r.words
	}
	return r.words + ": " + r.cause.Error()
}

func (r *refused) Unwrap() error { return r.cause }

// sorry begins the line that a gateway says to a host that has proved who it is and
// isn't served. It is an error of Redis, for an application that speaks TLS by itself:
// LOADING, since nothing has run and it may be tried again (docs/decisions/0032).
const sorry = "-LOADING redoubt: the gateway "

// Sorry is that line; why goes on where it ends.
func Sorry(why string) []byte { return []byte(sorry + why + "\r\n") }

// Declined reads the first reply on a tunnel: whether it is that line, as an error.
func Declined(reply []byte) error {
	why, ok := bytes.CutPrefix(reply, []byte(sorry))
	if !ok {
		return nil
	}
	return &refused{words: "the gateway " + string(bytes.TrimSpace(why))}
}

// Refusal puts in words that a gateway is there and turns this host away; "" when the
// error is another. An alert about a certificate is what the first Read returns.
func Refusal(err error) string {
	var r *refused
	if errors.As(err, &r) {
		return r.words
	}
	// crypto/tls gives a received alert no exported type: *net.OpError with this
	// Op, around the alert's text.
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	return fmt.Sprintf("the gateway refused this host's certificate (%v): its log says why", op.Err)
}
