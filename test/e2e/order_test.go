package e2e_test

import (
	"flag"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/test/lab"
)

var orderRounds = flag.Int("order", 300, "how often each race of TestNobodyIsOvertaken is run")

// A race is what a program does over connections of its own, in this order, without
// waiting for replies in between, and how it tells that it was run in this order: by
// what comes over the first one, or by the last reply to the second.
type race struct {
	first, then string
	won         func(a *lab.Client, last string) bool
}

var races = map[string]race{
	"subscribe": {"SUBSCRIBE c", "PUBLISH c m", func(_ *lab.Client, last string) bool { return last == ":1\r\n" }},
	"xread": {"XREAD BLOCK 1000 STREAMS s $", "XADD s * f v", func(a *lab.Client, _ string) bool {
		return strings.Contains(a.Reply(), "$1\r\nv\r\n")
	}},
	"blpop": {"BLPOP q 0", "RPUSH q x\nLLEN q", func(_ *lab.Client, last string) bool { return last == ":0\r\n" }},
	"watch": {"WATCH k", "INCR k", func(a *lab.Client, _ string) bool {
		a.Reply()
		a.Do("MULTI")
		a.Do("SET", "k", "0")
		return a.Do("EXEC") == "_\r\n"
	}},
	"tracking": {"CLIENT TRACKING ON\nGET t", "INCR t", func(a *lab.Client, _ string) bool {
		a.Reply()
		if a.Reply() != "_\r\n" {
			return false
		}
		a.Send(lab.Encode("PING"))
		return strings.Contains(a.Reply(), "invalidate")
	}},
}

func commands(lines string) (raw string) {
	for line := range strings.Lines(lines) {
		raw += lab.Encode(strings.Fields(line)...)
	}
	return raw
}

// TestNobodyIsOvertaken on the way through sidecar, gateway and engine, by what the same
// program does later over another connection. The sidecar says itself when that would
// have taken too long, which this machine may do when it is busy.
func TestNobodyIsOvertaken(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "redis")
	d := lab.Up(t, "--unix", socket)
	connect := func(t *testing.T) *lab.Client { // over TCP each processor has a queue of its own
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		c := lab.NewClient(t, conn)
		c.Want("+OK\r\n", "AUTH", d.Password())
		return c
	}
	unordered := func() int64 {
		var s struct {
			Facts struct {
				Sidecar struct {
					Unordered int64 `json:"unordered"`
				} `json:"sidecar"`
			} `json:"facts"`
		}
		if err := admin.Call(t.Context(), filepath.Join(d.Dir, "admin.sock"), http.MethodGet, "/status", &s); err != nil {
			t.Fatal(err)
		}
		return s.Facts.Sidecar.Unordered
	}
	for name, r := range races {
		t.Run(name, func(t *testing.T) {
			b := connect(t)
			before := unordered()
			lost := 0
			pace := time.NewTicker(20 * time.Millisecond) // who always goes to a lane of his own isn't waited for
			defer pace.Stop()
			for range *orderRounds {
				<-pace.C
				a := connect(t)
				b.Do("PING") // nothing of it is left to be heard of
				b.Do("DEL", "s", "q", "k", "t")
				a.Do("HELLO", "3")
				a.Send(commands(r.first))
				b.Send(commands(r.then))
				last := ""
				for range strings.Lines(r.then) {
					last = b.Reply()
				}
				if !r.won(a, last) {
					lost++
				}
				a.Conn.Close()
			}
			excused := unordered() - before
			t.Logf("%d of %d were overtaken; %d were not waited for", lost, *orderRounds, excused)
			if int64(lost) > excused {
				t.Error("the sidecar doesn't know why")
			}
		})
	}
}
