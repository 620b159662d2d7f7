package resp

import "bytes"

// Outcome is what a scan came to.
type Outcome uint8

const (
	// More bytes are needed. What was not consumed is to be offered again,
	// with more behind it.
	More Outcome = iota
	// Whole: a frame (or its head) ends at the count returned.
	Whole
	// Malformed: no bytes that may follow can make this a frame.
	Malformed
)

func (o Outcome) String() string {
	switch o {
	case More:
		return "more"
	case Whole:
		return "whole"
	}
	return "malformed"
}

// Bounds of redis-server 7.0 (server.h, networking.c). They bound what a peer
// may announce; nothing is allocated for what was announced.
const (
	// MaxArgs bounds the arguments of a command (INT_MAX there too; it was
	// 1024*1024 before 7.0).
	MaxArgs = 1<<31 - 1
	// MaxBulk is the default of proto-max-bulk-len.
	MaxBulk = 512 << 20
	// MaxInline bounds an inline command and every header line
	// (PROTO_INLINE_MAX_SIZE).
	MaxInline = 64 << 10
	// MaxArgsBeforeAuth and MaxBulkBeforeAuth hold until a connection has
	// authenticated (CVE-2021-32675).
	MaxArgsBeforeAuth = 10
	MaxBulkBeforeAuth = 16 << 10
)

// number reads a decimal as string2ll of redis-server does: an optional
// minus, no plus, no leading zero, nothing else. Numbers above 2^62 are
// refused: far beyond every bound, and sums of a few can't overflow.
func number(b []byte) (v int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 19 || b[0] == '0' && (len(b) > 1 || negative) {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
		if v < 0 || v > 1<<62 {
			return 0, false
		}
	}
	if negative {
		v = -v
	}
	return v, true
}

// count reads a type byte, a small count and the line end, as nearly every
// header is; n is 0 when it is anything else, for line and number to judge.
func count(b []byte) (v int64, n int) {
	const digits = 7
	for i := 1; i < len(b) && i <= digits+1; i++ {
		c := b[i] - '0'
		if c > 9 {
			if i > 1 && b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' && (b[1] != '0' || i == 2) {
				return v, i + 2
			}
			return 0, 0
		}
		v = v*10 + int64(c)
	}
	return 0, 0
}

// line finds the header line that b begins with: its text without type byte
// and line end, and the count of its bytes with them. As in redis-server
// (strchr) a line is not judged before its carriage return and the byte
// behind have come, and a NUL hides what follows.
func line(b []byte) (text []byte, n int, o Outcome) {
	window := b[:min(len(b), MaxInline+1)]
	end := bytes.IndexByte(window, '\r')
	if end >= 0 && bytes.IndexByte(window[:end], 0) >= 0 {
		end = -1
	}
	switch {
	case end < 0 && len(b) > MaxInline:
		return nil, 0, Malformed
	case end < 0 || end+1 >= len(b):
		return nil, 0, More
	}
	return b[min(1, end):end], end + 2, Whole
}
