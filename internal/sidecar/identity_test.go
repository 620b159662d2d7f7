package sidecar

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestAConnectionKeepsItsID, whatever lane it is on and whatever it is asked by.
func TestAConnectionKeepsItsID(t *testing.T) {
	car, _ := pair(t, locked...)
	c := dialCar(t, car).login()
	id := strings.Trim(c.do("CLIENT", "ID"), ":\r\n")
	number := regexp.MustCompile(`(?:\$2\r\nid\r\n:|^:|id=)(\d+)`)
	for i, line := range strings.Split("HELLO 2\nCLIENT ID\nBLPOP nothing 0.01\nCLIENT ID\nHELLO 2\nHELLO 3\nHELLO 3 SETNAME x\nCLIENT INFO\nCLIENT ID\nNOSUCH\nCLIENT ID\nSUBSCRIBE news\nCLIENT ID\nCLIENT LIST", "\n") {
		reply := c.do(strings.Fields(line)...)
		found := number.FindStringSubmatch(reply)
		if strings.HasPrefix(line, "CLIENT") || strings.HasPrefix(line, "HELLO") {
			if found == nil || found[1] != id {
				t.Errorf("step %d, %s: %q, want the id %s", i, line, reply, id)
			}
		}
	}
	// Errors of HELLO may be longer than any id's reply.
	long := strings.Repeat("x", 5000)
	c.expect("-ERR Syntax error in HELLO option '"+long+"'\r\n", "HELLO", "3", long)
	c.expect("+PONG\r\n", "PING")
}

// TestCLIENTLISTTellsWhatAConnectionDoes, as a plain engine does.
func TestCLIENTLISTTellsWhatAConnectionDoes(t *testing.T) {
	car, l := pair(t)
	fields := func(line string) string {
		var kept []string
		for f := range strings.FieldsSeq(line) {
			switch name, _, _ := strings.Cut(f, "="); name {
			case "name", "flags", "db", "redir", "resp", "cmd":
				kept = append(kept, f)
			}
		}
		return strings.Join(kept, " ")
	}
	var made []*client
	for i, open := range []func() *client{func() *client { return dialUnix(t, l.socket) }, func() *client { return dialCar(t, car) }} {
		for name, lines := range map[string]string{
			"blocked":    "BLPOP nothing 0",
			"stream":     "XREAD BLOCK 0 STREAMS nothing $",
			"multi":      "MULTI",
			"tracking":   "HELLO 3\nCLIENT TRACKING ON",
			"tracked":    "HELLO 3\nCLIENT TRACKING ON\nCLIENT TRACKING OFF",
			"subscribed": "SUBSCRIBE news",
			"patterns":   "HELLO 3\nPSUBSCRIBE news",
			"unblocked":  "BLPOP nothing 0.01",
		} {
			c := open().login()
			c.do("CLIENT", "SETNAME", fmt.Sprint(name, i))
			for _, line := range strings.Split(lines, "\n") {
				if strings.HasSuffix(line, " $") || line == "BLPOP nothing 0" {
					c.send(strings.Fields(line)...)
				} else {
					c.do(strings.Fields(line)...)
				}
			}
			made = append(made, c)
		}
	}
	look := func(c *client, i int, kind ...string) map[string]string {
		seen := map[string]string{}
		for line := range strings.Lines(c.do(append([]string{"CLIENT", "LIST"}, kind...)...)) {
			_, rest, _ := strings.Cut(line, " name=")
			if name, _, _ := strings.Cut(rest, " "); strings.HasSuffix(name, fmt.Sprint(i)) {
				seen[strings.TrimSuffix(name, fmt.Sprint(i))] = strings.ReplaceAll(fields(line), "flags=U", "flags=N")
			}
		}
		return seen
	}
	direct, mine := dialUnix(t, l.socket).login(), dialCar(t, car).login()
	last := ""
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	for _, kind := range [][]string{nil, {"TYPE", "pubsub"}, {"TYPE", "normal"}, {"TYPE", "replica"}} {
		waitFor(t, func() bool {
			a, b := look(direct, 0, kind...), look(mine, 1, kind...)
			for name, line := range a {
				line = strings.Replace(strings.Replace(line, "bU", "b", 1), name+"0", name+"1", 1)
				line = strings.NewReplacer("PU", "P", "xU", "x", "tU", "t").Replace(line)
				a[name] = line
			}
			last = fmt.Sprintf("%q: %v, want %v", kind, b, a)
			return fmt.Sprint(a) == fmt.Sprint(b)
		})
	}
	info := made[len(made)-1].conn.LocalAddr().String()
	if list := mine.do("CLIENT", "LIST"); !strings.Contains(list, " addr="+info+" laddr="+car.Addr().String()+" ") {
		t.Errorf("no line with addr=%s: %s", info, list)
	}
}

// TestOnARefusedCommandAnswersGoOn: what is unknown, and what the ACL refuses, gets one
// reply each. Only what is answered otherwise ends the count.
func TestOnARefusedCommandAnswersGoOn(t *testing.T) {
	car, _ := pair(t, append(locked, `user default on >`+password+` ~* &news &other +@all -psubscribe`)...)
	big := strings.Repeat("x", 100_000)
	for name, lines := range map[string]string{
		"unknown":                  "NOSUCH a",
		"unknown, large":           "NOSUCH " + big,
		"unknown, in a pipeline":   "GET k\nNOSUCH a\nGET k\nNOSUCH b\nSET k v",
		"unknown subcommand":       "CLIENT NOSUCH",
		"unknown, in MULTI":        "MULTI\nNOSUCH\nEXEC",
		"refused":                  "PSUBSCRIBE a",
		"a channel refused":        "SUBSCRIBE secret",
		"too few":                  "SUBSCRIBE",
		"subscribed with RESP3":    "HELLO 3\nSUBSCRIBE news other\nGET k\nUNSUBSCRIBE\nSUBSCRIBE secret\nSUBSCRIBE news\nPUBLISH other 1",
		"messages while in doubt":  "HELLO 3\nSUBSCRIBE news\nPUBLISH news subscribe\nNOSUCH\nPUBLISH news subscribe",
		"tracking while in doubt":  "HELLO 3\nCLIENT TRACKING ON BCAST\nSET k v\nNOSUCH\nSET k w",
		"nothing was subscribed 3": "HELLO 3\nUNSUBSCRIBE\nPUNSUBSCRIBE x",
	} {
		c := dialCar(t, car).login()
		got := c.exchange(script(lines + "\nCONFIG GET save\nACL WHOAMI\nROLE\nCLUSTER INFO\nECHO end"))
		tail := "default\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n-ERR This instance has cluster support disabled\r\n$3\r\nend\r\n+OK\r\n"
		if !strings.HasSuffix(got, "$4\r\nsave\r\n$0\r\n\r\n$7\r\n"+tail) {
			t.Errorf("%s: %.2000q", name, got)
		}
	}
}

// TestARefusedCommandKeepsNoLane: who has asked for what doesn't exist goes back to the
// shared lane.
func TestARefusedCommandKeepsNoLane(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Own: 1}})
	c := dialCar(t, car).login()
	c.do("NOSUCH")
	waitFor(t, func() bool { c.do("PING"); return car.Status(t.Context()).OwnLanes == 0 })
}

// TestOneIsHeardThatLeavesInDoubt: an application that ends behind a command of which
// nobody knows yet what comes is closed.
func TestOneIsHeardThatLeavesInDoubt(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).login()
	c.write(script("SUBSCRIBE news\nNOSUCH\nPING"))
	c.tcp().CloseWrite()
	c.rest()
	waitFor(t, func() bool { return connections(car) == 0 })
}
