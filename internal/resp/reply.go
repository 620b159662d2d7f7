package resp

import "bytes"

// A ReplyScanner finds the ends of replies in a stream, RESP2 or RESP3, of
// any size and nesting, by a few counters: values still to come, and where in
// the current value it stands. It consumes all that it is offered. The zero
// value is ready.
//
// Streamed aggregates and strings ("$?", "*?") are refused: no engine sends
// them.
type ReplyScanner struct {
	values int64 // values still to come in this frame; 0 between frames
	skip   int64 // with place atBulk: bytes still to come, line end apart
	place  place
	kind   byte // type of the header being read
	first  byte // type of the frame
	fresh  bool // the frame's first value has not begun yet
	digits uint8
	length [maxDigits]byte // the header's text

	said  [maxError]byte // of a frame that is an error: the beginning of its text
	saidN uint8
}

// maxError is as much as is kept of an error's text: engines' refusals name the
// command within it.
const maxError = 128

// maxDigits is enough for every length that is accepted.
const maxDigits = 20

// maxValues bounds the values of one frame, and a bulk's bytes: beyond any
// engine's memory, and far from overflow.
const maxValues = 1 << 48

type place uint8

const (
	atType   place = iota // at a value's first byte
	atLine                // within a line that is a value
	atHeader              // within a length
	atLF                  // behind the carriage return of a line that is a value
	atSizeLF              // behind the carriage return of a length
	atBulk                // within a bulk's bytes
	atBulkCR              // at a bulk's line end
	atBulkLF
)

// Between says whether the scanner stands between two frames.
func (s *ReplyScanner) Between() bool { return s.values == 0 && s.place == atType }

// Kind is the type byte of the frame that is being scanned, or was last; '>'
// is a push, which answers no command.
func (s *ReplyScanner) Kind() byte { return s.first }

// Error is the beginning of the text of the frame that was scanned last, up to 128
// bytes, if it was an error; else nil. It is good until the next call of Scan.
func (s *ReplyScanner) Error() []byte {
	if s.first != '-' {
		return nil
	}
	return s.said[:s.saidN]
}

// Scan goes on to the end of the current frame. It consumes n bytes of b: all
// of them with More, up to the frame's end with Whole.
func (s *ReplyScanner) Scan(b []byte) (n int, o Outcome) {
	if len(b) == 0 {
		return 0, More
	}
	if s.Between() {
		if n := wholeBulk(b); n > 0 {
			s.first, s.fresh = '$', false
			return n, Whole
		}
		s.values, s.first, s.fresh, s.saidN = 1, b[0], true, 0
	}
	for n < len(b) {
		k, ok := s.step(b[n:])
		n += k
		if !ok {
			return n, Malformed
		}
		if s.values == 0 && s.place == atType {
			return n, Whole
		}
	}
	return n, More
}

// wholeBulk is the size of the bulk that b begins with, if it is there to its
// end; else 0. Most replies are one.
func wholeBulk(b []byte) int {
	if b[0] != '$' {
		return 0
	}
	length, n := count(b)
	if n += int(length); n == 0 || n+2 > len(b) || b[n] != '\r' || b[n+1] != '\n' {
		return 0
	}
	return n + 2
}

// step takes the next few bytes, at least one.
func (s *ReplyScanner) step(b []byte) (n int, ok bool) {
	switch s.place {
	case atType:
		return 1, s.begin(b[0])
	case atLine:
		end := bytes.IndexAny(b, "\r\n")
		if s.first == '-' {
			text := b
			if end >= 0 {
				text = b[:end]
			}
			s.saidN += uint8(copy(s.said[s.saidN:], text))
		}
		if end < 0 {
			return len(b), true
		}
		s.place = atLF
		return end + 1, b[end] == '\r'
	case atLF:
		s.endValue()
		return 1, b[0] == '\n'
	case atHeader:
		return 1, s.headerByte(b[0])
	case atSizeLF:
		return 1, b[0] == '\n' && s.sized()
	case atBulk:
		k := min(s.skip, int64(len(b)))
		s.skip -= k
		if s.skip == 0 {
			s.place = atBulkCR
		}
		return int(k), true
	case atBulkCR:
		s.place = atBulkLF
		return 1, b[0] == '\r'
	default: // atBulkLF
		s.endValue()
		return 1, b[0] == '\n'
	}
}

func (s *ReplyScanner) begin(kind byte) bool {
	switch kind {
	case '+', '-', ':', '_', '#', ',', '(':
		s.place = atLine
	case '$', '=', '!', '*', '~', '%', '|', '>':
		s.place, s.kind, s.digits = atHeader, kind, 0
	default:
		return false
	}
	return true
}

func (s *ReplyScanner) headerByte(c byte) bool {
	if c == '\r' {
		s.place = atSizeLF
		return true
	}
	if int(s.digits) == len(s.length) {
		return false
	}
	s.length[s.digits] = c
	s.digits++
	return true
}

// sized acts on a length that is complete.
func (s *ReplyScanner) sized() bool {
	n, ok := number(s.length[:s.digits])
	if !ok || n < -1 || n > maxValues {
		return false
	}
	if n == -1 { // RESP2's null
		s.endValue()
		return s.kind == '$' || s.kind == '*'
	}
	switch s.kind {
	case '$', '=', '!':
		s.skip, s.place = n, atBulk
		if n == 0 {
			s.place = atBulkCR
		}
		return true
	case '%':
		s.values += 2*n - 1
	case '|': // stands before the value that it describes
		s.values += 2 * n
	case '>': // it is a frame, or comes on top of the one around it
		s.values += n
		if s.fresh {
			s.values--
		}
	default:
		s.values += n - 1
	}
	s.place, s.fresh = atType, false
	return s.values <= maxValues
}

func (s *ReplyScanner) endValue() {
	s.values--
	s.fresh = false
	s.place = atType
}
