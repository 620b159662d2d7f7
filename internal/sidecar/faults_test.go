package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// These are faults that there were, each as an application meets it.

// TestADatabaseChosenInATransactionIsKept: SELECT takes effect inside EXEC's reply,
// and so does a name.
func TestADatabaseChosenInATransactionIsKept(t *testing.T) {
	for name, pieces := range map[string]bool{"in pieces": true, "at once": false} {
		t.Run(name, func(t *testing.T) {
			car, _ := quickPair(t)
			other := dialCar(t, car).login()
			c := dialCar(t, car).login()
			transaction := []string{"MULTI", "SELECT 1", "CLIENT SETNAME me", "SET who db1", "EXEC"}
			if pieces {
				for _, line := range transaction {
					c.do(strings.Fields(line)...)
				}
			} else {
				c.write(script(strings.Join(transaction, "\n")))
				for range transaction {
					c.reply()
				}
			}
			for range 100 { // it has all the time to go back
				other.expect("+PONG\r\n", "PING")
				if got := c.do("GET", "who"); got != "$3\r\ndb1\r\n" {
					t.Fatalf("%q", got)
				}
			}
			c.expect("$2\r\nme\r\n", "CLIENT", "GETNAME")
			other.expect("$-1\r\n", "GET", "who")
		})
	}
}

// TestAStrangerCostsNoTunnelConnection, whatever it sends without a password: it is
// answered here, as redis-server would.
func TestAStrangerCostsNoTunnelConnection(t *testing.T) {
	b := newBoth(t)
	for _, lines := range []string{
		"FOO", "FOO a b", "GET", "SET a", "HELLO", "HELLO 3", "HELLO 2 SETNAME x", "HELLO 4", "HELLO x", "HELLO 03", "HELLO 3 SETNAME", "HELLO 3 AUTH x", "HELLO 3 NOSUCH",
		"AUTH", "AUTH a b c", "CLIENT", "CLIENT NOSUCH", "CLIENT NOSUCH x", "OBJECT NOSUCH", "SUBSCRIBE", "SUBSCRIBE a", "BLPOP q 0", "MULTI", "EXEC", "EXEC x", "DISCARD", "WATCH", "WATCH a",
		"SELECT", "SELECT 1", "QUIT x", "RESET x", "RESET", "EVAL", "EVAL return(1) 0", "CLIENT REPLY OFF", "CLIENT INFO", "MONITOR", "XREAD BLOCK 0 STREAMS s 0",
		"POST x", "Host: x", "FOO " + strings.Repeat("x", 300) + " " + strings.Repeat("y", 300), "FOO " + strings.Repeat("z ", 9), strings.Repeat("f", 200) + " a",
	} {
		for kind, stream := range map[string][]byte{"RESP": script(lines), "inline": []byte(lines + "\r\n")} {
			want, got := b.compare(t, stream)
			if want != got {
				t.Errorf("%s, %.40q:\n   direct %q\n  sidecar %q", kind, lines, want, got)
			}
		}
	}
	for _, stream := range []string{"*2\r\n$3\r\nFOO\r\n$5\r\na\x00b\r\n\r\n", "*2\r\n$4\r\nA\r\nB\r\n$1\r\nc\r\n", "*1\r\n$0\r\n\r\n"} {
		if want, got := b.compare(t, []byte(stream)); want != got {
			t.Errorf("%q:\n   direct %q\n  sidecar %q", stream, want, got)
		}
	}
	if n := b.lanes.dialed.Load(); n > 0 {
		t.Errorf("%d tunnel connections for strangers", n)
	}
}

// TestWhatIsWrongCostsNoLaneOfItsOwn: an authenticated application's mistakes are
// answered without a private lane.
func TestWhatIsWrongCostsNoLaneOfItsOwn(t *testing.T) {
	b := newBoth(t)
	lines := "SELECT x\nSELECT +1\nSELECT 01\nSELECT -1\nSELECT 99999999999\nSELECT\nSELECT 1 2\nHELLO 9\nHELLO x\nHELLO 3 FOO\nHELLO 2 SETNAME a\\nb\nHELLO\nEXEC x\nDISCARD x\nUNWATCH x\nMULTI x\n" +
		"BLPOP q\nWATCH\nRESET x\nAUTH\nAUTH a b c\nCLIENT SETNAME\nCLIENT ID x\nCLIENT GETNAME x\nEVAL\nSUBSCRIBE\nWAIT\nWAIT 1"
	stream := append(script("AUTH "+password), script(lines)...)
	want, got := b.compare(t, stream)
	if d := firstDifference(hideIDs(want), hideIDs(got)); d != "" {
		t.Error(d)
	}
	if n := b.lanes.dialed.Load(); n > 1 {
		t.Errorf("%d lanes, want the shared one", n)
	}
}

// TestAPipelineThatIsSentBeforeItIsReadGoesThrough, as most client libraries send one.
func TestAPipelineThatIsSentBeforeItIsReadGoesThrough(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		commands      int
		command, want string
	}{
		"1,000,000 SETs":           {1_000_000, "SET key:0123456789 " + strings.Repeat("v", 80), "+OK\r\n"},
		"150,000 GETs of 256 B":    {150_000, "GET value", "$256\r\n" + strings.Repeat("w", 256) + "\r\n"},
		"300,000 answers of ours":  {300_000, "CLIENT GETNAME", "$-1\r\n"},
		"GETs and answers of ours": {50_000, "GET value\nCLIENT GETNAME", "$256\r\n" + strings.Repeat("w", 256) + "\r\n$-1\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			car, _ := pair(t)
			app := dialCar(t, car).login()
			app.expect("+OK\r\n", "SET", "value", strings.Repeat("w", 256))
			const each = 1000
			chunk := bytes.Repeat(script(c.command), each)
			for range c.commands / each {
				app.write(chunk)
			}
			want := []byte(strings.Repeat(c.want, each))
			got := make([]byte, len(want))
			for i := range c.commands / each {
				if _, err := io.ReadFull(app.conn, got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("after %d commands: %v, %.100q", i*each, err, got)
				}
			}
			app.expect("+PONG\r\n", "PING")
		})
	}
}

// TestLargeRepliesOfShortConnectionsCostNobodyACommand: each asks once for 70 MB, while
// others count.
func TestLargeRepliesOfShortConnectionsCostNobodyACommand(t *testing.T) {
	t.Parallel()
	car, l := pair(t)
	const size = 70 << 20
	dialUnix(t, l.socket).login().expect(fmt.Sprintf(":%d\r\n", size), "SETRANGE", "big", fmt.Sprint(size-1), "v")
	head := fmt.Sprintf("$%d\r\n", size)
	var over atomic.Bool
	var counting, asking sync.WaitGroup
	for i := range 8 {
		c := dialCar(t, car).login()
		counting.Go(func() {
			for n := 1; !over.Load(); n++ {
				c.send("INCR", fmt.Sprint("counter-", i))
				if got, err := c.next(func([]byte) {}); got != fmt.Sprintf(":%d\r\n", n) {
					t.Errorf("counter %d: %q, %v, want %d", i, got, err, n)
					return
				}
			}
		})
	}
	var whole atomic.Int64
	for range 2 {
		asking.Go(func() {
			for range 3 {
				c := quiet(t, car, func([]byte) {})
				if c == nil {
					return
				}
				c.conn.Write(script("GET big"))
				got := make([]byte, len(head))
				if _, err := io.ReadFull(c.conn, got); err == nil && string(got) == head {
					if _, err := io.CopyN(io.Discard, c.conn, size+2); err == nil {
						whole.Add(1)
					}
				}
				c.conn.Close()
			}
		})
	}
	asking.Wait()
	over.Store(true)
	counting.Wait()
	if n := whole.Load(); n < 3 { // the first to ask may find that it can't be held
		t.Errorf("%d of 6 large replies came", n)
	}
}

// TestAProtocolErrorLosesNoReplyBeforeIt, though what stands before it is answered here
// or makes replies uncountable.
func TestAProtocolErrorLosesNoReplyBeforeIt(t *testing.T) {
	b := newBoth(t)
	const wrong = "*1\r\n$abc\r\n"
	for _, lines := range []string{
		"CLIENT NOSUCH\nGET a", "NOSUCH\nGET a\nGET b", "CLIENT SETNAME x\nGET a\nCLIENT GETNAME", "SUBSCRIBE c\nPING", "MULTI\nSET a 1\nEXEC\nGET a", "MULTI\nSET a 1\nNOSUCH",
		"WATCH a\nGET a\nCLIENT GETNAME", "GET a\nCLIENT GETNAME", "CLIENT REPLY SKIP\nGET a\nGET b", "BLPOP q 0.01\nCLIENT GETNAME", "CLIENT GETNAME", "HELLO 3\nCLIENT TRACKING ON\nGET a\nNOSUCH",
	} {
		stream := append(script("AUTH "+password+"\n"+lines), wrong...)
		for range 5 {
			b.flush(t)
			want := answersTo(t, "unix", b.direct, stream)
			if got := answersTo(t, "tcp", b.car.Addr().String(), stream); hideIDs(got) != hideIDs(want) {
				t.Errorf("%q:\n   direct %q\n  sidecar %q", lines, want, got)
				break
			}
		}
	}
}

// answersTo writes once and reads until the other end closes.
func answersTo(t *testing.T, network, address string, stream []byte) string {
	c := dialAs(t, network, address)
	defer c.conn.Close()
	c.write(stream)
	return c.rest()
}

// TestABusyEngineIsNoCrossedReply: a script holds it, and it says so to everybody.
func TestABusyEngineIsNoCrossedReply(t *testing.T) {
	car, l := pair(t, "busy-reply-threshold 50")
	direct := dialUnix(t, l.socket).login()
	runner := dialUnix(t, l.socket).login()
	var clients []*client
	for range 4 {
		clients = append(clients, dialCar(t, car).login())
	}
	runner.send("EVAL", "while true do end", "0")
	waitFor(t, func() bool { return strings.HasPrefix(direct.do("PING"), "-BUSY ") })
	busy := 0
	for n := range 200 {
		for i, c := range clients {
			c.write(resp.AppendCommand(resp.AppendCommand(nil, "INCR", fmt.Sprint("c", i)), "ECHO", fmt.Sprint(n)))
		}
		for _, c := range clients {
			for range 2 {
				if got := c.reply(); !strings.HasPrefix(got, "-BUSY ") {
					t.Fatalf("%q", got)
				}
				busy++
			}
		}
	}
	direct.expect("+OK\r\n", "SCRIPT", "KILL")
	runner.reply()
	for i, c := range clients {
		c.expect(":1\r\n", "INCR", fmt.Sprint("c", i))
	}
	if s := car.Status(t.Context()); s.LanesLost > 0 || s.SharedLanes != 1 {
		t.Errorf("%d lanes were lost, there are %d", s.LanesLost, s.SharedLanes)
	}
	t.Logf("%d times -BUSY", busy)
}

// TestATransactionThatIsCutByAReadStaysOnTheSharedLane: its last bytes come with the
// next read.
func TestATransactionThatIsCutByAReadStaysOnTheSharedLane(t *testing.T) {
	car, l := pair(t)
	c := dialCar(t, car).login()
	const blocks = 3000
	block := script("MULTI\nINCR counter\nEXEC")
	for range 2 {
		if got := len(c.exchangeSome(bytes.Repeat(block, blocks), blocks*3)); got == 0 {
			t.Fatal("no answers")
		}
	}
	if n := l.dialed.Load(); n != 1 {
		t.Errorf("%d lanes, want the shared one", n)
	}
}

// exchangeSome writes, reads meanwhile, and returns so many replies.
func (c *client) exchangeSome(stream []byte, replies int) (all []string) {
	c.t.Helper()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.conn.Write(stream)
		wrote <- err
	}()
	for range replies {
		all = append(all, c.reply())
	}
	if err := <-wrote; err != nil {
		c.t.Fatal(err)
	}
	return all
}

// TestPipelinesOfClientListHoldUpNobody: the list is made once a turn, and others are
// answered while nobody reads the lists.
func TestPipelinesOfClientListHoldUpNobody(t *testing.T) {
	car, _ := pair(t)
	for range 300 {
		dialCar(t, car).login()
	}
	lister, other := dialCar(t, car).login(), dialCar(t, car).login()
	inLoop(t, car, func() {
		l := car.loops[0]
		if one, again := l.connections(), l.connections(); len(one) != 302 || &one[0] != &again[0] {
			t.Errorf("%d connections are listed, anew for each command", len(one))
		}
	})
	const lists = 300
	lister.write(bytes.Repeat(script("CLIENT LIST"), lists))
	for range 100 {
		other.expect("+PONG\r\n", "PING")
	}
	for range lists {
		if got := lister.reply(); strings.Count(got, "id=") != 302 {
			t.Fatalf("%d connections are listed", strings.Count(got, "id="))
		}
	}
}

// TestAskingAboutItselfPinsNobody: CLIENT INFO and its like leave nothing behind.
func TestAskingAboutItselfPinsNobody(t *testing.T) {
	car, _ := quickPair(t)
	for _, sub := range []string{"INFO", "GETREDIR", "TRACKINGINFO"} {
		c := dialCar(t, car).login()
		c.do("CLIENT", sub)
		waitFor(t, func() bool { return car.Status(t.Context()).OwnLanes == 0 })
		c.conn.Close()
	}
}

// TestRESETEndsThePrivateLane with all that was on it.
func TestRESETEndsThePrivateLane(t *testing.T) {
	car, l := pair(t)
	direct := dialUnix(t, l.socket).login()
	c := dialCar(t, car).login()
	c.expect("+OK\r\n", "WATCH", "k")
	c.write(script("MULTI\nSET k 1\nCLIENT GETNAME\nRESET\nGET k\nAUTH " + password + "\nGET k"))
	for _, want := range []string{"+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "+RESET\r\n", errorLine(errNoAuth), "+OK\r\n", "$-1\r\n"} {
		if got := c.reply(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if n := car.Status(t.Context()).OwnLanes; n != 0 {
		t.Errorf("%d private lanes", n)
	}
	direct.expect("$-1\r\n", "GET", "k")
}

// TestManyAnswersBehindABlockedCommandAllCome, though no more than so many are kept.
func TestManyAnswersBehindABlockedCommandAllCome(t *testing.T) {
	t.Parallel()
	car, _ := pair(t)
	refused := errorLine(notAllowed("save"))
	for _, c := range []struct{ command, want string }{
		{"SAVE", refused},
		{"CLIENT SETINFO LIB-VER 1", "+OK\r\n"},
		{"GET x\nSAVE", "$-1\r\n" + refused}, // its place is the last, taken between its head and its end
	} {
		for _, times := range []int{maxPlaces/2 - 1, maxPlaces/2 + 1, maxPlaces - 1, maxPlaces, 2*maxPlaces + 5} {
			app := dialCar(t, car).login()
			stream := append(script("BLPOP none 0.3\nCLIENT SETNAME x\nSAVE"), bytes.Repeat(script(c.command), times)...)
			wrote := make(chan error, 1)
			go func() { _, err := app.conn.Write(stream); wrote <- err }()
			want := "*-1\r\n+OK\r\n" + refused + strings.Repeat(c.want, times)
			got := make([]byte, len(want))
			if n, err := io.ReadFull(app.conn, got); err != nil || string(got) != want {
				t.Errorf("%d times %s: %d bytes of %d, %v", times, c.command, n, len(want), err)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		}
	}
}
