package sidecar

import (
	"strings"
	"testing"
)

// TestNobodyRedirectsInvalidations: with CLIENT TRACKING … REDIRECT a session has the
// engine write into another one's connection. However it is written, it is refused, and
// tracking without it works.
func TestNobodyRedirectsInvalidations(t *testing.T) {
	car, l := pair(t)
	direct := dialUnix(t, l.socket).login()
	victim := dialCar(t, car).login()
	victim.expect("*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1\r\n", "SUBSCRIBE", "__redis__:invalidate")
	id := "0"
	for line := range strings.Lines(direct.do("CLIENT", "LIST", "TYPE", "pubsub")) {
		for field := range strings.FieldsSeq(line) {
			if value, ok := strings.CutPrefix(field, "id="); ok {
				id = value
			}
		}
	}
	if id == "0" {
		t.Fatal("the engine lists no subscriber")
	}
	refused := func(reply string) bool {
		return strings.Contains(reply, "REDIRECT") || strings.Contains(reply, "redoubt refuses client|tracking") || strings.HasPrefix(reply, "-EXECABORT")
	}
	for what, lines := range map[string]string{
		"plainly":           "CLIENT TRACKING ON REDIRECT " + id,
		"in mixed case":     "cLiEnT tRaCkInG on ReDiReCt " + id,
		"at the end":        "CLIENT TRACKING ON BCAST PREFIX redirect NOLOOP REDIRECT " + id,
		"in a transaction":  "MULTI\nCLIENT TRACKING ON REDIRECT " + id + "\nEXEC",
		"while subscribing": "HELLO 3\nSUBSCRIBE elsewhere\nCLIENT TRACKING ON REDIRECT " + id,
		"uncounted":         "HELLO 3\nCLIENT REPLY ON\nCLIENT TRACKING ON REDIRECT " + id,
	} {
		for kind, text := range map[string]string{"as RESP": string(script(lines)), "inline": strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n"} {
			c := dialCar(t, car).login()
			c.write([]byte(text))
			last := ""
			for range strings.Count(lines, "\n") + 1 {
				last = c.reply()
			}
			if !refused(last) {
				t.Errorf("%s, %s: %q", what, kind, last)
			}
			for line := range strings.Lines(direct.do("CLIENT", "LIST")) {
				if strings.Contains(line, "redir="+id+" ") {
					t.Errorf("%s, %s: the engine redirects: %s", what, kind, line)
				}
			}
			c.conn.Close()
		}
	}
	own := dialCar(t, car).login()
	own.do("HELLO", "3")
	own.expect("+OK\r\n", "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "REDIRECT")
	direct.do("SET", "REDIRECT-1", "x")
	if got := own.reply(); !strings.Contains(got, "invalidate") || !strings.Contains(got, "REDIRECT-1") {
		t.Errorf("tracking on the connection itself: %q", got)
	}
}
