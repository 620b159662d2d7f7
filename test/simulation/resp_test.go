//go:build simulation

package simulation

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A parser of the simulation's own, for the engine and the applications: what is under
// test must not judge itself.

// reply is a RESP value.
type reply struct {
	kind  byte
	text  string
	items []reply
	null  bool
}

func (r reply) String() string {
	switch {
	case r.null:
		return "nil"
	case len(r.items) > 0:
		var b strings.Builder
		for _, i := range r.items {
			b.WriteString(" " + i.String())
		}
		return string(r.kind) + "[" + b.String() + " ]"
	}
	return fmt.Sprintf("%c%.80s", r.kind, r.text)
}

// is says whether it is a simple string.
func (r reply) is(text string) bool { return r.kind == '+' && r.text == text }

// says whether it is an error that begins so.
func (r reply) fails(with string) bool { return r.kind == '-' && strings.HasPrefix(r.text, with) }

// parse takes a value off b; n is 0 if it isn't whole, and negative if it is none.
func parse(b []byte) (r reply, n int) {
	end := bytes.Index(b[:min(len(b), 4096)], []byte("\r\n"))
	if end < 0 {
		return r, 0
	}
	line := string(b[1:end])
	r.kind, n = b[0], end+2
	switch r.kind {
	case '+', '-', ':', '_', '#', ',':
		r.text, r.null = line, r.kind == '_'
		return r, n
	}
	size, err := strconv.Atoi(line)
	switch {
	case err != nil:
		return r, -1
	case size < 0:
		r.null = true
		return r, n
	}
	switch r.kind {
	case '$', '=':
		if len(b) < n+size+2 {
			return r, 0
		}
		if b[n+size] != '\r' {
			return r, -1
		}
		r.text = string(b[n : n+size])
		return r, n + size + 2
	case '%':
		size *= 2
	case '*', '>', '~':
	default:
		return r, -1
	}
	for range size {
		item, k := parse(b[n:])
		if k <= 0 {
			return r, k
		}
		r.items = append(r.items, item)
		n += k
	}
	return r, n
}

// behind is what follows n bytes.
func behind(b []byte, n int) []byte {
	if len(b)-n < 4096 {
		return b[:copy(b, b[n:])]
	}
	return b[n:]
}

// encode is a command as client libraries send it.
func encode(b []byte, words ...string) []byte {
	b = fmt.Appendf(b, "*%d\r\n", len(words))
	for _, w := range words {
		b = append(strconv.AppendInt(append(b, '$'), int64(len(w)), 10), "\r\n"...)
		b = append(append(b, w...), "\r\n"...)
	}
	return b
}

func bulk(b []byte, s string) []byte {
	b = append(strconv.AppendInt(append(b, '$'), int64(len(s)), 10), "\r\n"...)
	return append(append(b, s...), "\r\n"...)
}
