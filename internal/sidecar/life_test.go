package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// These tests are about connections that end, stall, or carry much, most of all
// those with a lane of their own.

// alone authenticates and moves out to a lane of its own.
func (c *client) alone() *client {
	c.t.Helper()
	c.login().expect("+OK\r\n", "WATCH", "nothing")
	return c
}

func TestAFinishedApplicationCancelsWhatItWaitsFor(t *testing.T) {
	car, l := pair(t)
	direct := dialUnix(t, l.socket).login()
	for name, end := range map[string]func(c *client){
		"close":                func(c *client) { c.conn.Close() },
		"half-close":           func(c *client) { c.tcp().CloseWrite() },
		"reset":                func(c *client) { c.tcp().SetLinger(0); c.conn.Close() },
		"close behind a local": func(c *client) { c.send("CONFIG", "GET", "save"); c.conn.Close() },
		"close behind locals": func(c *client) {
			c.write(bytes.Repeat(script("CLIENT SETINFO LIB-VER 1"), maxPlaces+1000))
			c.conn.Close()
		},
		"close behind commands": func(c *client) { c.write(bytes.Repeat(resp.AppendCommand(nil, "PING"), 20_000)); c.conn.Close() },
		"close behind QUIT":     func(c *client) { c.send("QUIT"); c.conn.Close() },
		"close in mid-command":  func(c *client) { c.write([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab")); c.conn.Close() },
		"close in mid-refusal":  func(c *client) { c.write([]byte("*3\r\n$8\r\nREPLCONF\r\n$1\r\nk\r\n$5\r\nab")); c.conn.Close() },
	} {
		c := dialCar(t, car).login()
		c.send("BLPOP", "jobs", "0")
		waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:1\r") })
		end(c)
		waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:0\r") })
		direct.expect(":1\r\n", "RPUSH", "jobs", name)
		direct.expect(fmt.Sprintf("$%d\r\n%s\r\n", len(name), name), "LPOP", "jobs")
	}
	waitFor(t, func() bool { return connections(car) == 0 })
}

// TestNoElementIsLostWhenConsumersComeAndGo pops with consumers that close at
// any moment while a producer pushes: what was neither received nor on its way
// to a consumer that closed must be in the list.
func TestNoElementIsLostWhenConsumersComeAndGo(t *testing.T) {
	car, l := pair(t)
	direct := dialUnix(t, l.socket).login()
	closedWhileWaiting := 0
	for round := range 200 {
		c := dialCar(t, car).login()
		c.send("BLPOP", "jobs", "0")
		waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:1\r") })
		if round%2 == 0 {
			c.conn.Close()
			closedWhileWaiting++
			waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:0\r") })
			direct.do("RPUSH", "jobs", "x")
			direct.expect(":1\r\n", "LLEN", "jobs")
			direct.do("DEL", "jobs")
			continue
		}
		direct.do("RPUSH", "jobs", "x")
		if got := c.reply(); got != "*2\r\n$4\r\njobs\r\n$1\r\nx\r\n" {
			t.Fatalf("%q", got)
		}
		c.conn.Close()
	}
	if closedWhileWaiting != 100 {
		t.Errorf("%d consumers closed while waiting", closedWhileWaiting)
	}
}

func TestHalfClosedApplicationsStillGetTheirReplies(t *testing.T) {
	car, _ := pair(t)
	for i := range 40 {
		c := dialCar(t, car).login() // every other one stays a guest
		if i%2 == 0 {
			c.expect("+OK\r\n", "WATCH", "nothing")
		}
		c.write(script("SET a 1\nGET a\nCONFIG GET save\nPING"))
		if err := c.tcp().CloseWrite(); err != nil {
			t.Fatal(err)
		}
		// redis-server stops when it reads the end: what it has run by then is
		// answered, in order, and nothing else comes.
		got, all := c.rest(), "+OK\r\n$1\r\n1\r\n*2\r\n$4\r\nsave\r\n$0\r\n\r\n+PONG\r\n"
		if !strings.HasPrefix(all, got) {
			t.Fatalf("session %d: %q", i, got)
		}
	}
}

// meddled has a sidecar in front of a meddler that does this to the reply to
// ECHO abc, once release is closed.
func meddled(t *testing.T, say string, cut bool, release <-chan struct{}) (*Sidecar, *journal) {
	var log journal
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if string(frame) == echoed {
			<-release
			return []byte(say), cut
		}
		return frame, false
	})
	car, _ := startSidecar(t, Options{Gateways: one((&lanes{socket: m.socket}).dial), Log: logTo(&log)})
	return car, &log
}

// due counts the replies that guests wait for.
func due(t testing.TB, car *Sidecar) (n int) {
	inLoop(t, car, func() {
		for g := range car.loops[0].guests {
			n += g.pending
		}
	})
	return n
}

const echoed = "$3\r\nabc\r\n"

// TestALostLaneOfItsOwnClosesAGuestWithoutAWord: an error would say that a command has
// failed, and RQ's worker, whose BLPOP it was, ends on it. From a close it connects again.
func TestALostLaneOfItsOwnClosesAGuestWithoutAWord(t *testing.T) {
	for say, want := range map[string]string{
		"":             "",
		echoed:         echoed,
		echoed[:3]:     echoed[:3],
		echoed[:8]:     echoed[:8],
		"*2\r\n:1\r\n": "*2\r\n:1\r\n",
	} {
		release := make(chan struct{})
		car, log := meddled(t, say, true, release)
		c := dialCar(t, car).alone()
		c.write(script("ECHO abc\nECHO b\nECHO c\nCONFIG GET save\nECHO d\nECHO e"))
		waitFor(t, func() bool { return due(t, car) == 6 }) // all of them taken
		close(release)
		if got := c.rest(); got != want {
			t.Errorf("a lane that ends behind %q: %q, want %q", say, got, want)
		}
		if !strings.Contains(log.String(), "lane lost") {
			t.Errorf("the log has %q", log.String())
		}
	}
}

// TestALaneThatIsCutEndsItsGuest, and costs nothing any more, whether or not the
// application closes its end.
func TestALaneThatIsCutEndsItsGuest(t *testing.T) {
	m := startMeddler(t, startEngine(t), passOn)
	car, _ := behind(t, m, Limits{})
	idle, busy, subscribed := dialCar(t, car).alone(), dialCar(t, car).login(), dialCar(t, car).login()
	busy.send("BLPOP", "none", "0")
	subscribed.do("SUBSCRIBE", "a")
	direct := dialUnix(t, m.engine).login()
	waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:1\r") })
	m.cut()
	for name, c := range map[string]struct {
		*client
		want string
	}{"idle": {idle, ""}, "waiting": {busy, ""}, "subscribed": {subscribed, ""}} {
		if got := c.rest(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	waitFor(t, func() bool { return connections(car) == 0 }) // though no application has closed
	before := turns(t, car)
	<-time.After(200 * time.Millisecond)
	if n := turns(t, car) - before; n > 50 {
		t.Errorf("the loop turns %d times for nobody", n)
	}
}

// turns is how often the loop has turned.
func turns(t testing.TB, car *Sidecar) (n int64) {
	inLoop(t, car, func() { n = car.loops[0].turns })
	return n
}

func TestAnEngineThatBreaksTheProtocolLosesItsLane(t *testing.T) {
	for say, want := range map[string]string{
		"+A\r\n+B\r\n":        "+A\r\n", // one too many
		"+A\r\n$-1\r\n:1\r\n": "+A\r\n",
		"hello\r\n":           "", // no RESP: nothing of it is passed on
		"$5\r\nabcdefgh\r\n":  "", // a length that isn't so
		"*1\r\n$?\r\n":        "", // streamed types
	} {
		release := make(chan struct{})
		close(release)
		car, log := meddled(t, say, false, release)
		c := dialCar(t, car).alone()
		c.send("ECHO", "abc")
		if got := c.rest(); got != want {
			t.Errorf("%q: the application got %q, want %q", say, got, want)
		}
		if !strings.Contains(log.String(), "broke the protocol") || strings.Contains(log.String(), "abcdefgh") {
			t.Errorf("%q: logged %q", say, log.String())
		}
	}
}

func TestPushesPassBetweenReplies(t *testing.T) {
	car, l := pair(t, locked...)
	direct := dialUnix(t, l.socket).login()
	c := dialCar(t, car).login()
	c.do("HELLO", "3")
	c.expect("+OK\r\n", "CLIENT", "TRACKING", "ON")
	for i := range 200 {
		c.expect("_\r\n", "GET", "k")
		direct.do("SET", "k", "v")
		direct.do("DEL", "k")
		c.send("CONFIG", "GET", "save")
		c.send("ECHO", fmt.Sprint(i))
		var got []string
		for range 3 {
			got = append(got, c.reply()[:1])
		}
		// The push may stand anywhere, but whole, and only once.
		if order := strings.Join(got, ""); order != ">%$" && order != "%>$" && order != "%$>" {
			t.Fatalf("frames came as %q", order)
		}
	}
}

func TestASubscriberGetsAllMessagesInOrder(t *testing.T) {
	const messages = 100_000
	car, _ := pair(t)
	sub, pub := dialCar(t, car).login(), dialCar(t, car).login()
	sub.do("SUBSCRIBE", "news")
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		var b []byte
		for i := range messages {
			b = resp.AppendCommand(b, "PUBLISH", "news", fmt.Sprint(i))
			if len(b) > 32<<10 || i == messages-1 {
				if _, err := pub.conn.Write(b); err != nil {
					return
				}
				b = b[:0]
			}
		}
	}()
	var answered sync.WaitGroup
	answered.Go(func() { // the publisher's replies must be read, or it stalls
		_, _ = io.CopyN(io.Discard, pub.conn, messages*4)
	})
	want := new(bytes.Buffer)
	got := make([]byte, 64<<10)
	for next := 0; next < messages; {
		for want.Len() < 128<<10 && next < messages {
			want.Write(resp.AppendCommand(nil, "message", "news", fmt.Sprint(next)))
			next++
		}
		for want.Len() > 0 {
			n, err := sub.conn.Read(got[:min(len(got), want.Len())])
			if err != nil || !bytes.Equal(got[:n], want.Next(n)) {
				t.Fatalf("before message %d: %v", next, err)
			}
		}
	}
	<-wrote
	answered.Wait()
}

func TestManySessionsAtATime(t *testing.T) {
	const sessions, turns = 500, 40
	car, _ := pair(t)
	var all sync.WaitGroup
	for i := range sessions {
		c := dialCar(t, car)
		all.Go(func() {
			var stream []byte
			var want strings.Builder
			stream = resp.AppendCommand(stream, "AUTH", password)
			want.WriteString("+OK\r\n")
			for turn := range turns {
				v := fmt.Sprintf("%d.%d", i, turn)
				stream = resp.AppendCommand(stream, "ECHO", v)
				fmt.Fprintf(&want, "$%d\r\n%s\r\n", len(v), v)
			}
			want.WriteString("+OK\r\n")
			if got := c.exchange(stream, 100); got != want.String() {
				t.Errorf("session %d: %s", i, firstDifference(want.String(), got))
			}
		})
	}
	all.Wait()
}

func TestTooManyConnectionsAreTold(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Connections: 3}})
	var open []*client
	for range 3 {
		open = append(open, dialCar(t, car).login())
	}
	if got := dialCar(t, car).rest(); got != errorLine(errMaxClients) {
		t.Errorf("%q", got)
	}
	open[0].conn.Close()
	waitFor(t, func() bool { return connections(car) < 3 })
	dialCar(t, car).login().expect("+PONG\r\n", "PING")
}

// TestAnEndedGuestIsForgotten: a sidecar runs for months, so nothing that
// outlives a connection may hold on to it, or to its lane.
func TestAnEndedGuestIsForgotten(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).alone()
	var forgotten sync.WaitGroup
	forgotten.Add(2)
	gone := func(int) { forgotten.Done() }
	inLoop(t, car, func() {
		for g := range car.loops[0].guests {
			runtime.AddCleanup(g, gone, 0)
			runtime.AddCleanup(g.own, gone, 0)
		}
	})
	c.conn.Close()
	waitFor(t, func() bool { return connections(car) == 0 })
	all := make(chan struct{})
	go func() { defer close(all); forgotten.Wait() }()
	waitFor(t, func() bool {
		runtime.GC()
		select {
		case <-all:
			return true
		default:
			return false
		}
	})
}

func TestLongPipelines(t *testing.T) {
	const commands = 10_000
	car, _ := pair(t)
	c := dialCar(t, car).login()
	stream := bytes.Repeat(resp.AppendCommand(nil, "ECHO", "0123456789"), commands)
	want := strings.Repeat("$10\r\n0123456789\r\n", commands) + "+OK\r\n"
	if got := c.exchange(stream); got != want {
		t.Error(firstDifference(want, got))
	}
}

// TestASlowReaderSlowsOnlyItself asks for more than all buffers hold and
// doesn't read; others go on, and later all of it is there.
func TestASlowReaderSlowsOnlyItself(t *testing.T) {
	car, _ := pair(t)
	slow, quick := dialCar(t, car).login(), dialCar(t, car).login()
	value := strings.Repeat("v", 1<<20)
	slow.expect("+OK\r\n", "SET", "k", value)
	const times = 32
	before := rss(t)
	slow.write(bytes.Repeat(resp.AppendCommand(nil, "GET", "k"), times))
	for range 2000 {
		quick.expect("+PONG\r\n", "PING")
	}
	if grown := rss(t) - before; grown > 16<<20 {
		t.Errorf("%d MB more memory for a reader that doesn't read", grown>>20)
	}
	for i := range times {
		if got := slow.reply(); len(got) != len(value)+len("$1048576\r\n\r\n") {
			t.Fatalf("reply %d has %d bytes", i, len(got))
		}
	}
}

// forgetPeak has the kernel count this process's largest memory anew, and
// returns what it has now (proc(5): clear_refs, VmHWM).
func forgetPeak(t *testing.T) int {
	debug.FreeOSMemory() // what earlier tests left would hide what this one takes
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	return peak(t)
}

// peak is the largest memory since, in bytes.
func peak(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestAHugeValuePassesWithoutBeingHeld carries the largest value that Redis
// takes, both ways.
func TestAHugeValuePassesWithoutBeingHeld(t *testing.T) {
	const size = 128 << 20 // test/e2e has the largest
	l := &lanes{socket: startEngine(t, "maxmemory 0", "client-query-buffer-limit 1gb")}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: time.Second}})
	c := dialCar(t, car).login()
	before := forgetPeak(t)
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	began := time.Now()
	c.write(fmt.Appendf(nil, "*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n$%d\r\n", size))
	for sent := 0; sent < size; sent += len(block) {
		c.write(block)
	}
	c.write([]byte("\r\n"))
	if got := c.reply(); got != "+OK\r\n" {
		t.Fatalf("%q", got)
	}
	wrote := time.Since(began)
	c.send("GET", "huge")
	header := fmt.Sprintf("$%d\r\n", size)
	in := make([]byte, len(header))
	if _, err := io.ReadFull(c.conn, in); err != nil || string(in) != header {
		t.Fatalf("%q, %v", in, err)
	}
	in = make([]byte, len(block))
	for got := 0; got < size; got += len(in) {
		if _, err := io.ReadFull(c.conn, in); err != nil || !bytes.Equal(in, block) {
			t.Fatalf("after %d bytes: %v", got, err)
		}
	}
	if _, err := io.ReadFull(c.conn, in[:2]); err != nil || string(in[:2]) != "\r\n" {
		t.Fatalf("%q, %v", in[:2], err)
	}
	grown := peak(t) - before
	t.Logf("written in %v, read in %v, with %d MB more memory", wrote, time.Since(began)-wrote, grown>>20)
	if grown > 32<<20 {
		t.Errorf("%d MB more memory", grown>>20)
	}
	c.expect(":1\r\n", "DEL", "huge")
}

func TestRunDrainsWithinItsBound(t *testing.T) {
	t.Parallel()
	l := &lanes{socket: startEngine(t)}
	const drain = 2 * time.Second
	car, stop := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: drain}})
	idle, fresh, busy, blocked, subscribed := dialCar(t, car).alone(), dialCar(t, car), dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car).login()
	busy.send("BLPOP", "none", "0.1")
	blocked.send("BLPOP", "none", "0")
	subscribed.do("SUBSCRIBE", "a")
	direct := dialUnix(t, l.socket).login()
	waitFor(t, func() bool { return strings.Contains(direct.do("INFO", "clients"), "blocked_clients:2\r") })
	bound := lab.Promised(t, drain+2*time.Second) // the usual one is 5 s
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); stop() }()
	if got := busy.rest(); got != "*-1\r\n" {
		t.Errorf("what was under way: %q", got)
	}
	for name, c := range map[string]*client{"idle": idle, "fresh": fresh, "blocked": blocked, "subscribed": subscribed} {
		if got := c.rest(); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	<-done
	if took, most := time.Since(began), bound(); took > most {
		t.Errorf("Run took %v to end, more than %v", took, most)
	}
	if _, err := net.Dial("tcp", car.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}
