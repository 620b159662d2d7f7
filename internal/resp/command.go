package resp

import "math"

// headArg is the longest argument that a [Head] shows. No command's or
// subcommand's name comes near it; one that is longer is unknown.
const headArg = 64

// Head is the beginning of a command: what is needed to tell what it is.
// Name and Sub point into the bytes that were scanned.
type Head struct {
	// Argc counts the command's arguments, its name included. 0 is an empty
	// command (blank line, *0, *-1), which has no reply and is dropped.
	Argc int
	// Name and Sub are the first two arguments, nil where absent or longer
	// than any name.
	Name, Sub []byte
	// Inline says that the command is a line of plain text, wholly within the
	// Len bytes: [AppendInline] makes a frame of it. It has no Argc yet.
	Inline bool
	// Len is how many bytes the head takes; the body follows.
	Len int
}

// A CommandScanner finds commands in a stream: Head at each command's first
// byte, then Body until that is whole. It keeps a few counters. The zero value
// is ready, with the bounds that hold before authentication.
type CommandScanner struct {
	// Authenticated lifts the bounds that hold before authentication. It may
	// be set at any time; a call that was Malformed for those bounds may then
	// be repeated (see [CommandScanner.NeedsAuth]).
	Authenticated bool
	// MaxBulk bounds one argument's bytes; 0 is the package's [MaxBulk].
	MaxBulk int64

	args  int64 // arguments of which no byte was seen yet
	skip  int64 // bytes of the current argument still to come, its CRLF apart
	bulk  bool  // within an argument: skip and a CRLF are still to come
	fault string
}

// Head looks at the command that b begins with. More means that b is to be
// offered again as a whole with more behind; Whole, that h.Len bytes were
// consumed. Unless h.Inline or h.Argc is 0, Body goes on from there.
func (s *CommandScanner) Head(b []byte) (h Head, o Outcome) {
	if len(b) == 0 {
		return h, More
	}
	if b[0] != '*' {
		return s.inline(b)
	}
	argc, n := count(b)
	ok := true
	if n == 0 {
		text, k, o := line(b)
		if o == Malformed {
			return h, s.fail("too big mbulk count string")
		}
		if o == More {
			return h, More
		}
		n = k
		argc, ok = number(text)
	}
	switch {
	case !ok || argc > MaxArgs:
		return h, s.fail("invalid multibulk length")
	case argc > MaxArgsBeforeAuth && !s.Authenticated:
		return h, s.fail(faultAuthArgs)
	case b[n-1] != '\n':
		return h, s.fail(faultLineEnd)
	case argc <= 0:
		return Head{Len: n}, Whole
	}
	h = Head{Argc: int(argc), Len: n}
	s.args, s.skip, s.bulk = argc, 0, false
	for _, arg := range []*[]byte{&h.Name, &h.Sub} {
		if s.args == 0 || s.bulk {
			break
		}
		if o := s.headArgument(b, &h, arg); o != Whole {
			return Head{}, o
		}
	}
	return h, Whole
}

// headArgument takes one argument into the head: all of it if it is short,
// else its length only.
func (s *CommandScanner) headArgument(b []byte, h *Head, arg *[]byte) Outcome {
	length, n, o := s.bulkHeader(b[h.Len:])
	if o != Whole {
		return o
	}
	start := h.Len + n
	if length > headArg {
		s.args--
		s.skip, s.bulk = length, true
		h.Len = start
		return Whole
	}
	end := start + int(length)
	if len(b) < end+2 {
		return More
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return s.fail(faultLineEnd)
	}
	*arg = b[start:end:end]
	s.args--
	h.Len = end + 2
	return Whole
}

// Body goes on to the end of the command that Head found. It consumes n bytes
// of b, which may be passed on whatever the outcome; with More, the bytes
// behind n are to be offered again.
func (s *CommandScanner) Body(b []byte) (n int, o Outcome) {
	for {
		if s.bulk {
			k := min(s.skip, int64(len(b)-n))
			s.skip -= k
			n += int(k)
			if s.skip > 0 || len(b)-n < 2 {
				return n, More
			}
			if b[n] != '\r' || b[n+1] != '\n' {
				return n, s.fail(faultLineEnd)
			}
			n += 2
			s.bulk = false
		}
		if s.args == 0 {
			return n, Whole
		}
		length, k, o := s.bulkHeader(b[n:])
		if o != Whole {
			return n, o
		}
		n += k
		s.args--
		s.skip, s.bulk = length, true
	}
}

// bulkHeader reads "$<length>\r\n" at the beginning of b.
func (s *CommandScanner) bulkHeader(b []byte) (length int64, n int, o Outcome) {
	length, n = count(b)
	ok := true
	if n == 0 {
		text, k, o := line(b)
		if o == Malformed {
			return 0, 0, s.fail("too big bulk count string")
		}
		if o == More {
			return 0, 0, More
		}
		n = k
		length, ok = number(text)
	}
	if b[0] != '$' {
		return 0, 0, s.fail("expected '$', got '" + printable(b[0]) + "'")
	}
	limit := s.MaxBulk
	if limit == 0 {
		limit = MaxBulk
	}
	switch {
	case !ok || length < 0 || length > limit || length > math.MaxInt-2:
		return 0, 0, s.fail("invalid bulk length")
	case length > MaxBulkBeforeAuth && !s.Authenticated:
		return 0, 0, s.fail(faultAuthBulk)
	case b[n-1] != '\n':
		return 0, 0, s.fail(faultLineEnd)
	}
	return length, n, Whole
}

const (
	faultAuthArgs = "unauthenticated multibulk length"
	faultAuthBulk = "unauthenticated bulk length"
	// Ours: redis-server doesn't look at these bytes.
	faultLineEnd = "expected CRLF"
)

// Fault says why the last scan was malformed, in redis-server's words; its
// error reply is "-ERR Protocol error: " and this.
func (s *CommandScanner) Fault() string { return s.fault }

// NeedsAuth says whether the last scan was malformed only for want of
// authentication.
func (s *CommandScanner) NeedsAuth() bool {
	return s.fault == faultAuthArgs || s.fault == faultAuthBulk
}

func (s *CommandScanner) fail(fault string) Outcome {
	s.fault = fault
	return Malformed
}

// printable is c as redis-server's error replies show it: a line end would
// break the reply, so it becomes a space (addReplyErrorFormat).
func printable(c byte) string {
	if c == '\r' || c == '\n' {
		return " "
	}
	return string([]byte{c})
}

// Args splits a whole command that a scanner has passed into its arguments,
// appended to dst. They point into b.
func Args(dst [][]byte, b []byte) [][]byte {
	text, i, o := line(b)
	argc, _ := number(text)
	for ; o == Whole && argc > 0 && i < len(b); argc-- {
		text, n, _ := line(b[i:])
		length, ok := number(text)
		if !ok || length < 0 || length > int64(len(b)-i-n) {
			break
		}
		i += n
		dst = append(dst, b[i:i+int(length):i+int(length)])
		i += int(length) + 2
	}
	return dst
}
