package verify

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzReply: whatever answers, a conversation ends with a reply or an error, within its
// bounds.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"+OK\r\n", "-NOPERM no\r\n", ":1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n+a\r\n+b\r\n", "*1000000000\r\n", "$9999999999\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n", "_\r\n", "=8\r\ntxt:abcd\r\n", "\r\n", "$-5\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		c := &conversation{conn: said{}, r: bufio.NewReader(strings.NewReader(answer))}
		reply, err := c.do("PING")
		if err != nil {
			return
		}
		if len(reply) > maxReply {
			t.Fatalf("%d bytes", len(reply))
		}
		code(reply)
		refusal(reply)
		readCommand([]any{bulk(reply)})
	})
}

// said is a connection on which only the answer matters.
type said struct{ net.Conn }

func (said) Write(b []byte) (int, error) { return len(b), nil }
func (said) SetDeadline(time.Time) error { return nil }

// FuzzCompareVersions: an order is one: it turns round with its arguments, and a version
// equals itself.
func FuzzCompareVersions(f *testing.F) {
	f.Add("5:7.0.15-1~deb12u10", "5:7.0.15-1")
	f.Add("", "~")
	f.Add("1.0a", "1.0+")
	f.Fuzz(func(t *testing.T, a, b string) {
		sign := func(n int) int { return max(-1, min(1, n)) }
		if compareVersions(a, a) != 0 || sign(compareVersions(a, b)) != -sign(compareVersions(b, a)) {
			t.Fatalf("%q %q", a, b)
		}
	})
}
