//go:build simulation

package simulation

import (
	"bytes"
	"fmt"
	"slices"
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

// parse takes a value off b; n is 0 if it isn't whole, and negative if it is none. It is
// good until the next.
func parse(b []byte) (r reply, n int) {
	items = items[:0]
	return parseItem(b)
}

// items are those of the last reply.
var items []reply

func parseItem(b []byte) (r reply, n int) {
	end := bytes.IndexByte(b[:min(len(b), 4096)], '\n') - 1
	switch {
	case end == -2:
		return r, 0
	case end < 1 || b[end] != '\r':
		return r, -1
	}
	r.kind, n = b[0], end+2
	switch r.kind {
	case '+', '-', ':', '_', '#', ',':
		r.text, r.null = text(b[1:end]), r.kind == '_'
		return r, n
	}
	size, err := strconv.Atoi(string(b[1:end]))
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
		r.text = text(b[n : n+size])
		return r, n + size + 2
	case '%':
		size *= 2
	case '*', '>', '~':
	default:
		return r, -1
	}
	first := len(items)
	items = slices.Grow(items, size)[:first+size]
	r.items = items[first:]
	for i := range r.items {
		var k int
		if r.items[i], k = parseItem(b[n:]); k <= 0 {
			return r, k
		}
		n += k
	}
	return r, n
}

// encode is a command as client libraries send it.
func encode(b []byte, words ...string) []byte {
	b = append(strconv.AppendInt(append(b, '*'), int64(len(words)), 10), "\r\n"...)
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
