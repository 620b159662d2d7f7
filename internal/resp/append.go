package resp

import "strconv"

// The append functions write one frame, or the header of one, behind dst.

// AppendArray appends the header of an array (or command) of n values.
func AppendArray(dst []byte, n int) []byte { return header(dst, '*', n) }

// AppendMap appends the header of a map of n pairs: RESP3's own, or in RESP2
// an array of twice as many.
func AppendMap(dst []byte, protocol, n int) []byte {
	if protocol < 3 {
		return header(dst, '*', 2*n)
	}
	return header(dst, '%', n)
}

// AppendBulk appends a bulk string.
func AppendBulk[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = header(dst, '$', len(s))
	dst = append(dst, s...)
	return append(dst, "\r\n"...)
}

// AppendText appends text for people: a verbatim string in RESP3, a bulk
// string in RESP2 (addReplyVerbatim of redis-server).
func AppendText(dst []byte, protocol int, s string) []byte {
	if protocol < 3 {
		return AppendBulk(dst, s)
	}
	dst = header(dst, '=', len(s)+4)
	dst = append(dst, "txt:"...)
	dst = append(dst, s...)
	return append(dst, "\r\n"...)
}

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte {
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, v, 10)
	return append(dst, "\r\n"...)
}

// AppendNull appends the absence of a value: RESP3's own, or in RESP2 a bulk
// string's.
func AppendNull(dst []byte, protocol int) []byte {
	if protocol < 3 {
		return append(dst, "$-1\r\n"...)
	}
	return append(dst, "_\r\n"...)
}

// AppendSimple appends a simple string such as OK.
func AppendSimple(dst []byte, s string) []byte { return oneLine(dst, '+', s) }

// AppendError appends an error; s begins with its code ("ERR …").
func AppendError(dst []byte, s string) []byte { return oneLine(dst, '-', s) }

// AppendCommand appends a command.
func AppendCommand[T ~string | ~[]byte](dst []byte, args ...T) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendBulk(dst, a)
	}
	return dst
}

func header(dst []byte, kind byte, n int) []byte {
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, "\r\n"...)
}

// oneLine keeps s on its line whatever it holds, as addReplyErrorFormat does:
// a text with a peer's bytes in it must not begin another frame.
func oneLine(dst []byte, kind byte, s string) []byte {
	dst = append(dst, kind)
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, "\r\n"...)
}
