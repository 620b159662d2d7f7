package resp

import (
	"bytes"
	"errors"
)

// inline finds the line of plain text that b begins with. As redis-server
// does (strchr), it doesn't see a line end behind a NUL.
func (s *CommandScanner) inline(b []byte) (h Head, o Outcome) {
	window := b[:min(len(b), MaxInline+1)]
	end := bytes.IndexByte(window, '\n')
	if end >= 0 && bytes.IndexByte(window[:end], 0) >= 0 {
		end = -1
	}
	switch {
	case end < 0 && len(b) > MaxInline:
		return h, s.fail("too big inline request")
	case end < 0:
		return h, More
	}
	h = Head{Inline: true, Len: end + 1}
	if blank(b[:end]) {
		h.Inline = false
	}
	return h, Whole
}

var errUnbalanced = errors.New("unbalanced quotes in request")

// AppendInline appends the inline command line (the bytes of a [Head] with
// Inline set) to dst as a frame. A line without arguments appends nothing.
// Its only error is redis-server's "unbalanced quotes in request".
func AppendInline(dst, line []byte) ([]byte, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	var text, arg []byte
	argc := 0
	for {
		line = bytes.TrimLeft(line, space)
		if len(line) == 0 {
			break
		}
		var ok bool
		if arg, line, ok = word(arg[:0], line); !ok {
			return dst, errUnbalanced
		}
		text = AppendBulk(text, arg)
		argc++
	}
	if argc == 0 {
		return dst, nil
	}
	return append(AppendArray(dst, argc), text...), nil
}

// Words splits a line into its arguments, as redis-server does those of an
// inline command and of its configuration file. Its only error is
// redis-server's "unbalanced quotes in request".
func Words(line string) (words []string, err error) {
	rest := []byte(line)
	for {
		rest = bytes.TrimLeft(rest, space)
		if len(rest) == 0 {
			return words, nil
		}
		arg, after, ok := word(nil, rest)
		if !ok {
			return nil, errUnbalanced
		}
		words, rest = append(words, string(arg)), after
	}
}

// space is what isspace of C takes for space.
const space = " \t\n\v\f\r"

func blank(b []byte) bool { return len(bytes.TrimLeft(b, space)) == 0 }

// word takes the first argument off line, as sdssplitargs of redis-server
// does: quotes may begin within a word, and must end one.
func word(dst, line []byte) (arg, rest []byte, ok bool) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"' || c == '\'':
			var n int
			if dst, n = quoted(dst, line[i+1:], c); n < 0 {
				return nil, nil, false
			}
			rest = line[i+1+n:]
			return dst, rest, len(rest) == 0 || isSpace(rest[0])
		case isSpace(c):
			return dst, line[i:], true
		default:
			dst = append(dst, c)
		}
	}
	return dst, nil, true
}

// quoted appends what stands between the quotes and returns how many bytes
// that and the closing quote take, or -1 if there is none.
func quoted(dst, line []byte, quote byte) ([]byte, int) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			return dst, i + 1
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			dst = append(dst, '\'')
			i++
		case c == '\\' && quote == '"' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			dst = append(dst, unhex(line[i+2])<<4|unhex(line[i+3]))
			i += 3
		case c == '\\' && quote == '"' && i+1 < len(line):
			i++
			dst = append(dst, unescape(line[i]))
		default:
			dst = append(dst, c)
		}
	}
	return dst, -1
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
