package sidecar

import (
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// FuzzSession: whatever an application sends, as a guest or on a lane of its
// own, it gets whole replies and an end. A panic ends the test, a hang shows as
// a connection that wasn't closed.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"*1\r\n$-2\r\n\r\n", "*1\r\n$9223372036854775807\r\n", "PING\r\n*0\r\n\r\n", "*2\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n", "MULTI\r\nCONFIG GET save\r\nEXEC\r\n",
		"SUBSCRIBE a\r\nMONITOR\r\nPING\r\n", "CLIENT REPLY OFF\r\nSHUTDOWN\r\n", "HELLO 3\r\nCLIENT LIST\r\nRESET\r\nPING\r\n", "BLPOP q 0\r\nPING\r\n", "MULTI\r\nAUTH x\r\nEXEC\r\n",
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab", "\x00\r\n", "NOSUCH\r\n*x\r\n", "set \"a\r\n", "QUIT\r\nPING\r\n", "*2\r\n$8\r\nREPLCONF\r\n$3\r\nab",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	car, _ := pair(f, `rename-command MIGRATE ""`, "proto-max-bulk-len 1mb", "client-query-buffer-limit 2mb")
	f.Fuzz(func(t *testing.T, stream []byte, alone bool) {
		c := dialCar(t, car)
		defer c.conn.Close()
		c.login()
		if alone {
			c.expect("+OK\r\n", "WATCH", "nothing")
		}
		if _, err := c.conn.Write(stream); err == nil {
			_ = c.tcp().CloseWrite() // fails if the sidecar has closed, as it may
		}
		got := c.rest()
		if strings.HasSuffix(got, "timeout>") {
			t.Fatalf("%q: %q", stream, got)
		}
		var s resp.ReplyScanner
		for b := []byte(got); len(b) > 0; {
			n, o := s.Scan(b)
			if o == resp.Malformed {
				t.Fatalf("%q: malformed replies %q", stream, got)
			}
			b = b[n:]
		}
	})
}
