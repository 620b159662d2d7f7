package sidecar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// alone counts the application connections that have lanes of their own.
func alone(t testing.TB, car *Sidecar) int { return int(car.own.Load()) }

// quickPair is a pair whose sessions go back as soon as they can.
func quickPair(t testing.TB, directives ...string) (*Sidecar, *lanes) {
	t.Helper()
	l := &lanes{socket: startEngine(t, directives...)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: time.Second, Own: time.Millisecond}})
	return car, l
}

// TestAGuestGoesBackToTheSharedLane when it no longer needs its own, and the
// application doesn't notice.
func TestAGuestGoesBackToTheSharedLane(t *testing.T) {
	car, l := quickPair(t)
	for name, needs := range map[string][]string{
		"blocking":    {"RPUSH q a", "BLPOP q 0"},
		"blocked":     {"BLPOP none 0.05"},
		"transaction": {"WATCH k", "MULTI", "SET k 1", "EXEC"},
		"discarded":   {"WATCH k", "MULTI", "DISCARD"},
		"unwatched":   {"WATCH k", "UNWATCH"},
		"script":      {"EVAL return(1) 0"},
		"large":       {"SET big " + strings.Repeat("x", 3*maxShared), "GET big"},
		"stream":      {"XREAD BLOCK 5 STREAMS s 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialCar(t, car).login()
			c.expect("+OK\r\n", "CLIENT", "SETNAME", name)
			id := c.do("CLIENT", "ID")
			before := l.dialed.Load()
			for _, command := range needs {
				c.do(strings.Fields(command)...)
			}
			waitFor(t, func() bool { return l.dialed.Load() > before }) // it needed one: another is made ready
			waitFor(t, func() bool { return alone(t, car) == 0 })
			c.expect("+PONG\r\n", "PING")
			c.expect(id, "CLIENT", "ID")
			if got := c.do("CLIENT", "GETNAME"); !strings.Contains(got, name) {
				t.Errorf("its name is %q", got)
			}
			if n := alone(t, car); n != 0 {
				t.Errorf("%d lanes of their own", n)
			}
			c.do(strings.Fields(needs[0])...) // and out again
		})
	}
}

// TestAGuestThatHasLeftStateStays: whatever only its own lane knows.
func TestAGuestThatHasLeftStateStays(t *testing.T) {
	car, _ := quickPair(t)
	other := dialCar(t, car).login()
	for name, leaves := range map[string][]string{
		"watching":     {"WATCH k"},
		"watch again":  {"WATCH k", "MULTI", "EXEC", "WATCH k"},
		"exec alone":   {"WATCH k", "EXEC"},
		"unwatch x":    {"WATCH k", "UNWATCH x"},
		"in multi":     {"MULTI"},
		"queued":       {"MULTI", "UNWATCH"},
		"subscribed":   {"SUBSCRIBE ch"},
		"tracking":     {"CLIENT TRACKING on"},
		"no reply":     {"CLIENT REPLY skip"},
		"unknown":      {"NOSUCH x"},
		"another user": {"BLPOP none 0.01", "AUTH " + password},
		"database":     {"MULTI", "SELECT 1", "EXEC"}, // learnt from no reply
		"name":         {"MULTI", "CLIENT SETNAME x", "EXEC"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialCar(t, car).login()
			c.write(script(strings.Join(leaves, "\n"))) // at once: it has no time to go back in between
			for _, command := range leaves {
				if command != "CLIENT REPLY skip" {
					c.reply()
				}
			}
			waitFor(t, func() bool { return alone(t, car) == 1 })
			// It is asked for many times over while other things go on.
			for range 50 {
				other.expect("+PONG\r\n", "PING")
				<-time.After(time.Millisecond)
			}
			if alone(t, car) != 1 {
				t.Error("it went back")
			}
			c.conn.Close()
			waitFor(t, func() bool { return alone(t, car) == 0 })
		})
	}
}

// TestAWatchIsNotLostOnTheWay: the one state that would be missed silently.
func TestAWatchIsNotLostOnTheWay(t *testing.T) {
	car, l := quickPair(t)
	other := dialUnix(t, l.socket).login()
	c := dialCar(t, car).login()
	c.do("BLPOP", "none", "0.01")
	for range 30 {
		c.expect("+OK\r\n", "WATCH", "k")
		<-time.After(3 * time.Millisecond)
		other.expect("+OK\r\n", "SET", "k", "changed")
		c.expect("+OK\r\n", "MULTI")
		c.expect("+QUEUED\r\n", "SET", "k", "mine")
		c.expect("*-1\r\n", "EXEC")
		<-time.After(3 * time.Millisecond)
	}
}

// TestCleanCommandsLeaveNothing by the engine's own word: what it tells of a
// connection is the same before and after.
func TestCleanCommandsLeaveNothing(t *testing.T) {
	socket := startEngine(t)
	arguments := map[string]string{
		"blpop": "q 0.01", "brpop": "q 0.01", "brpoplpush": "q r 0.01", "blmove": "q r LEFT LEFT 0.01", "blmpop": "0.01 1 q LEFT",
		"bzpopmin": "z 0.01", "bzpopmax": "z 0.01", "bzmpop": "0.01 1 z MIN", "xread": "BLOCK 1 STREAMS s 0", "xreadgroup": "GROUP g c BLOCK 1 STREAMS s >",
		"eval": "return(1) 0", "eval_ro": "return(1) 0", "evalsha": strings.Repeat("0", 40) + " 0", "evalsha_ro": strings.Repeat("0", 40) + " 0",
		"fcall": "f 0", "fcall_ro": "f 0", "wait": "0 1", "waitaof": "0 0 1",
		"client|info": "", "client|getredir": "", "client|trackinginfo": "",
	}
	followed := []string{"watch"} // by course
	state := func(c *client) (s []string) {
		for _, field := range strings.Fields(c.do("CLIENT", "INFO")) {
			switch name, _, _ := strings.Cut(field, "="); name {
			case "flags", "db", "sub", "psub", "ssub", "multi", "watch", "redir", "resp", "user", "name", "lib-name", "lib-ver":
				s = append(s, field)
			}
		}
		return s
	}
	for _, c := range command.All() {
		name := c.Name
		if c.OnShared != command.Leave || c.Returns != command.Always || slices.Contains(followed, name) {
			continue
		}
		words, ok := arguments[name]
		if !ok {
			t.Errorf("%s isn't tried", name)
			continue
		}
		c := dialUnix(t, socket).login()
		before := state(c)
		if len(before) < 8 {
			t.Fatalf("the engine tells only %q", before)
		}
		c.do(append(strings.Split(name, "|"), strings.Fields(words)...)...)
		if after := state(c); !slices.Equal(before, after) {
			t.Errorf("%s leaves %q of %q", name, after, before)
		}
	}
}

// TestAnAnswerOfOurOwnDoesNotWaitForWhatBlocks behind it, in the same write.
func TestAnAnswerOfOurOwnDoesNotWaitForWhatBlocks(t *testing.T) {
	car, _ := pair(t)
	first := dialCar(t, car).login()
	first.expect("+OK\r\n", "WATCH", "k")
	waitFor(t, func() bool { return ready(t, car) })
	c := dialCar(t, car)
	c.write(script("AUTH " + password + "\nBLPOP none 0"))
	if got := c.reply(); got != "+OK\r\n" {
		t.Errorf("%q", got)
	}
	first.expect(":1\r\n", "RPUSH", "none", "x")
	c.reply()
	c.write(script("CONFIG GET save\nBLPOP none 0"))
	if got := c.reply(); !strings.Contains(got, "save") {
		t.Errorf("%q", got)
	}
}
