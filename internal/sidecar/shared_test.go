package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// TestASlowReaderThatResetsHarmsNobody: its write fails in the loop's hands.
func TestASlowReaderThatResetsHarmsNobody(t *testing.T) {
	car, l := pair(t)
	direct, other := dialUnix(t, l.socket).login(), dialCar(t, car).login()
	direct.expect("+OK\r\n", "SET", "big", strings.Repeat("v", 16<<20))
	for range 5 {
		slow := dialCar(t, car).login()
		slow.send("GET", "big")
		other.expect("+PONG\r\n", "PING")
		waitFor(t, func() (blocked bool) {
			inLoop(t, car, func() {
				for g := range car.loops[0].guests {
					blocked = blocked || g.socket.blocked
				}
			})
			return blocked
		})
		slow.tcp().SetLinger(0)
		slow.conn.Close()
		waitFor(t, func() bool { return connections(car) == 1 })
		other.expect("+PONG\r\n", "PING")
	}
}

// TestANewcomersLaneServesThoseWhoWait: one guest waits for the lane to be made
// again while another one's proof brings it.
func TestANewcomersLaneServesThoseWhoWait(t *testing.T) {
	m := startMeddler(t, startEngine(t), passOn)
	l := &lanes{socket: m.socket}
	var dials atomic.Int64
	redialling, let := make(chan struct{}), make(chan struct{})
	car, _ := startSidecar(t, Options{Limits: Limits{Drain: time.Second, Dial: patience}, Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if dials.Add(1) == 2 {
			close(redialling)
			<-let
		}
		return l.dial(ctx)
	})})
	first, newcomer := dialCar(t, car).login(), dialCar(t, car)
	m.cut()
	<-redialling
	first.send("PING")
	waitFor(t, func() (waits bool) {
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				waits = waits || g.phase == waiting
			}
		})
		return waits
	})
	newcomer.login()
	if got := first.reply(); got != "+PONG\r\n" {
		t.Errorf("%q", got)
	}
	close(let)
	first.expect("+PONG\r\n", "PING")
	newcomer.expect("+PONG\r\n", "PING")
}

// TestAnEndThatComesWithACommandIsSeen: bytes and FIN in one event.
func TestAnEndThatComesWithACommandIsSeen(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).login()
	c.expect("+PONG\r\n", "PING")
	release := holdLoop(t, car)
	c.send("PING")
	c.tcp().CloseWrite()
	release()
	if got := c.rest(); got != "+PONG\r\n" {
		t.Errorf("%q", got)
	}
}

// TestALanesEndThatComesWithAReplyIsSeen: the same on the other side.
func TestALanesEndThatComesWithAReplyIsSeen(t *testing.T) {
	var held atomic.Bool
	arrived, let := make(chan struct{}), make(chan struct{})
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if held.Load() && string(frame) == "$3\r\none\r\n" {
			close(arrived)
			<-let
			return frame, true
		}
		return frame, false
	})
	car, _ := behind(t, m, Limits{})
	c := dialCar(t, car).login()
	held.Store(true)
	c.send("ECHO", "one")
	c.send("ECHO", "two")
	<-arrived
	release := holdLoop(t, car)
	close(let)
	waitFor(t, func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.conns) == 0 })
	release()
	if got := c.reply(); got != "$3\r\none\r\n" && got != errorLine(errLost) {
		t.Errorf("%q", got)
	}
	if got := c.reply(); got != errorLine(errLost) {
		t.Errorf("%q", got)
	}
}

// TestAnAnswerOfOurOwnIsNotLostWithWhatComesBehind: it waits for the reply behind
// it, to save a system call, and must not fare like that one.
func TestAnAnswerOfOurOwnIsNotLostWithWhatComesBehind(t *testing.T) {
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		cut := string(frame) == "$4\r\nlost\r\n"
		if cut {
			frame = nil
		}
		return frame, cut
	})
	car, _ := behind(t, m, Limits{})
	c := dialCar(t, car).login()
	c.write(script("CLIENT SETNAME me\nECHO lost"))
	for _, want := range []string{"+OK\r\n", errorLine(errLost)} {
		if got := c.reply(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestAThrottledGuestCostsNoTime: the loop sleeps although a guest that doesn't
// read has more to say, and more to come.
func TestAThrottledGuestCostsNoTime(t *testing.T) {
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", 12<<20))
	slow := dialCar(t, car).login()
	slow.send("GET", "big")
	waitFor(t, func() (blocked bool) {
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				blocked = g.socket.blocked && g.own != nil && g.own.choked
			}
		})
		return blocked
	})
	slow.send("ECHO", "more")
	for range 20 {
		inLoop(t, car, func() {})
	}
	inLoop(t, car, func() {
		if len(car.loops[0].again) > 0 {
			t.Error("the loop comes back to a guest that can't go on")
		}
	})
	if got := slow.reply(); len(got) < 12<<20 {
		t.Errorf("%d bytes", len(got))
	}
	if got := slow.reply(); got != "$4\r\nmore\r\n" {
		t.Errorf("%q", got)
	}
}

// TestADrainingSidecarTakesNobodyIn: who connects meanwhile is refused at once
// rather than left waiting.
func TestADrainingSidecarTakesNobodyIn(t *testing.T) {
	let, asked := make(chan struct{}), make(chan struct{})
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if string(frame) == "$4\r\nslow\r\n" {
			close(asked)
			<-let
		}
		return frame, false
	})
	l := &lanes{socket: m.socket}
	car, stop := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: patience}})
	c := dialCar(t, car).login()
	c.send("ECHO", "slow")
	<-asked
	var stopping sync.WaitGroup
	stopping.Go(stop)
	waitFor(t, func() bool {
		conn, err := net.Dial("tcp", car.Addr().String())
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	close(let)
	if got := c.rest(); got != "$4\r\nslow\r\n" {
		t.Errorf("%q", got)
	}
	stopping.Wait()
}

// TestALargeReplyMakesItsGuestMoveOut, even if it came in small pieces.
func TestALargeReplyMakesItsGuestMoveOut(t *testing.T) {
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", 4<<20))
	c := dialCar(t, car).login()
	c.do("GET", "big")
	c.do("GET", "big")
	if n := alone(t, car); n != 1 {
		t.Errorf("%d lanes of their own after a large reply", n)
	}
}

// TestAnEngineThatIsFullForAWhileCostsNobodyItsConnection: only a refused
// password does.
func TestAnEngineThatIsFullForAWhileCostsNobodyItsConnection(t *testing.T) {
	m := startMeddler(t, startEngine(t), passOn)
	car, l := behind(t, m, Limits{})
	direct, c := dialUnix(t, m.engine).login(), dialCar(t, car).login()
	direct.expect("+OK\r\n", "CONFIG", "SET", "maxclients", "1")
	before := l.dialed.Load()
	m.cut()
	waitFor(t, func() bool { return l.dialed.Load() > before+1 })
	c.expect(errorLine(errAwayRefused+"the engine says ERR max number of clients reached"), "PING")
	newcomer := dialCar(t, car)
	newcomer.expect("-ERR max number of clients reached\r\n", "AUTH", password)
	newcomer.send("PING")
	if got := newcomer.rest(); got != "" { // no NOAUTH: a library would keep it
		t.Errorf("%q", got)
	}
	direct.expect("+OK\r\n", "CONFIG", "SET", "maxclients", "100")
	waitFor(t, func() bool { return c.do("PING") == "+PONG\r\n" })
	direct.do("CONFIG", "SET", "requirepass", "other")
	m.cut()
	if got := c.rest(); got != "" {
		t.Errorf("after the password was changed: %q", got)
	}
}

// TestALargeCommandBehindASlowOneIsNotKept: a guest with much to say waits for
// its turn with it in its own socket.
func TestALargeCommandBehindASlowOneIsNotKept(t *testing.T) {
	let, asked := make(chan struct{}), make(chan struct{})
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if string(frame) == "$4\r\nslow\r\n" {
			close(asked)
			<-let
		}
		return frame, false
	})
	car, _ := behind(t, m, Limits{})
	c := dialCar(t, car).login()
	c.send("ECHO", "slow")
	<-asked
	var writing sync.WaitGroup
	writing.Go(func() { c.send("SET", "k", strings.Repeat("v", 30<<20)) })
	most, last := 0, -1
	waitFor(t, func() bool { // until no more is taken
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				most = max(most, len(g.in))
			}
		})
		done := most == last && most > 0 || most > 1<<20
		last = most
		return done
	})
	if most > 1<<20 {
		t.Errorf("%d bytes are kept", most)
	}
	close(let)
	writing.Wait()
	for _, want := range []string{"$4\r\nslow\r\n", "+OK\r\n"} {
		if got := c.reply(); got != want {
			t.Errorf("%.100q, want %q", got, want)
		}
	}
}

// TestAReaderOfALargeValueDelaysNobody: it takes 300 KB/s of what comes far faster.
// Others don't wait for it, little is kept, and it isn't cut.
func TestAReaderOfALargeValueDelaysNobody(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", size))
	slow, other := dialCar(t, car).login(), dialCar(t, car).login()
	other.expect("+PONG\r\n", "PING")
	slow.tcp().SetReadBuffer(64 << 10)
	slow.send("GET", "big")
	read, began := 0, time.Now()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	slowest, held := time.Duration(0), 0
	for time.Since(began) < 4*time.Second { // it was cut after one, and others waited for all of it
		<-pace.C
		n, err := io.ReadFull(slow.conn, make([]byte, 3<<10))
		if read += n; err != nil {
			t.Fatalf("cut after %d bytes and %v: %v", read, time.Since(began), err)
		}
		before := time.Now()
		other.expect("+PONG\r\n", "PING")
		slowest = max(slowest, time.Since(before))
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				held = max(held, cap(g.out))
			}
		})
	}
	t.Logf("others waited up to %v; %d MB were held", slowest, held>>20)
	if list := other.do("CLIENT", "LIST"); strings.Count(list, "id=") != 2 {
		t.Errorf("%q", list)
	}
	if held > 4*seizeAt {
		t.Errorf("%d MB are held for who reads slowly", held>>20)
	}
	rest := int64(len(fmt.Sprintf("$%d\r\n\r\n", size)) + size - read)
	if n, err := io.CopyN(io.Discard, slow.conn, rest); err != nil {
		t.Errorf("%d bytes of the rest: %v", n, err)
	}
	slow.expect("+PONG\r\n", "PING")
}

// TestASeizedLaneTakesNobodysCommandAlong: what others had queued while the reply
// of the lane's owner passed goes over the next lane, in order.
func TestASeizedLaneTakesNobodysCommandAlong(t *testing.T) {
	t.Parallel()
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", 24<<20)) // more than both sockets and seizeAt take
	const others = 8
	var clients []*client
	for range others {
		clients = append(clients, dialCar(t, car).login())
	}
	for round := range 5 {
		slow := dialCar(t, car).login()
		slow.send("GET", "big") // and doesn't read
		for i := range 200 {
			for _, c := range clients {
				c.write(script(fmt.Sprintf("INCR r%d-%s\nCLIENT GETNAME\nECHO %d", round, c.conn.LocalAddr(), i)))
			}
			for _, c := range clients {
				for _, want := range []string{fmt.Sprintf(":%d\r\n", i+1), "$-1\r\n", fmt.Sprintf("$%d\r\n%d\r\n", len(fmt.Sprint(i)), i)} {
					if got := c.reply(); got != want {
						t.Fatalf("round %d, %d: %q, want %q", round, i, got, want)
					}
				}
			}
		}
		slow.conn.Close()
	}
}

// TestAReplyTooLargeToBeHeldCostsNobodyElse: it can't be told to stand in its place
// before all of it is there, so it is dropped; asked for again it has a lane of its own.
func TestAReplyTooLargeToBeHeldCostsNobodyElse(t *testing.T) {
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", 35<<20))
	large, other := dialCar(t, car).login(), dialCar(t, car).login()
	release := holdLoop(t, car)
	other.send("PING")
	large.write(script("ECHO before\nMGET big big\nECHO behind"))
	other.send("ECHO", "behind")
	release()
	for _, want := range []string{"+PONG\r\n", "$6\r\nbehind\r\n"} {
		if got := other.reply(); got != want {
			t.Errorf("another got %.100q, want %q", got, want)
		}
	}
	for _, want := range []string{"", errorLine(errTooLarge), "$6\r\nbehind\r\n"} {
		if got := large.reply(); got != want && want != "" && got != errorLine(errTooLarge) {
			t.Errorf("%.100q, want %q", got, want)
		}
	}
	large.send("MGET", "big", "big")
	for range 100 {
		other.expect("+PONG\r\n", "PING")
	}
	got := make([]byte, 70<<20)
	if _, err := io.ReadFull(large.conn, got); err != nil {
		t.Error(err)
	}
	if n := car.Status(t.Context()).LanesLost; n > 0 {
		t.Errorf("%d lanes were lost", n)
	}
}

// TestCommandsOfEverySizePass: around what is read at once and what is shared.
func TestCommandsOfEverySizePass(t *testing.T) {
	t.Parallel()
	car, _ := pair(t)
	echo := func(size int) []byte { // a command of so many bytes
		frame := resp.AppendCommand(nil, "ECHO", strings.Repeat("v", size))
		return resp.AppendCommand(nil, "ECHO", strings.Repeat("v", size-(len(frame)-size)))
	}
	block := func(size int) []byte {
		b := resp.AppendCommand(nil, "MULTI")
		for len(b) < size {
			b = resp.AppendCommand(b, "ECHO", strings.Repeat("w", min(1000, max(1, size-len(b)-40))))
		}
		return resp.AppendCommand(b, "EXEC")
	}
	direct := newBoth(t)
	for j, size := range []int{63 << 10, readSize - 1, readSize, readSize + 1, 65 << 10, maxShared + 1<<10, 2*readSize - 1, 2 * readSize, 2*readSize + 1, 4 * readSize} {
		for name, command := range map[string][]byte{"command": echo(size), "MULTI": block(size), "MULTI, exact": block(size - 14)} {
			for i, before := range []int{0, 1, 27, 100} {
				stream := resp.AppendCommand(nil, "AUTH", password)
				stream = append(stream, bytes.Repeat(script("PING"), before)...)
				stream = append(append(stream, command...), script("PING\nMULTI\nPING\nEXEC")...)
				stream = append(stream, command...)
				piece := []int{1 << 20, readSize, 1000 + before, readSize}[(i+j)%4]
				want, err := converse("unix", direct.direct, stream, []int{piece})
				if err != nil {
					t.Fatal(err)
				}
				got, err := converse("tcp", car.Addr().String(), stream, []int{piece})
				if err != nil {
					t.Fatalf("%s of %d behind %d PINGs in pieces of %d: %v", name, size, before, piece, err)
				}
				if d := firstDifference(want, got); d != "" {
					t.Errorf("%s of %d behind %d PINGs in pieces of %d: %s", name, size, before, piece, d)
				}
			}
		}
	}
}

// TestManyGuestsWithPipelines: each gets its own replies, over few lanes.
func TestManyGuestsWithPipelines(t *testing.T) {
	const guests, rounds, depth = 500, 10, 16
	car, l := pair(t)
	conns := make([]*client, guests)
	for id := range conns {
		conns[id] = dialCar(t, car).login()
	}
	var work sync.WaitGroup
	for id, c := range conns {
		work.Go(func() {
			for n := range rounds {
				var out, want []byte
				for i := range depth {
					text := fmt.Sprintf("guest %d, round %d, command %d", id, n, i)
					out = resp.AppendCommand(out, "ECHO", text)
					want = resp.AppendBulk(want, text)
				}
				got := make([]byte, len(want))
				if _, err := c.conn.Write(out); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(c.conn, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%v, %.200q", err, got)
					return
				}
			}
		})
	}
	work.Wait()
	if n := l.dialed.Load(); n != 1 {
		t.Errorf("%d lanes for guests that share", n)
	}
}

// TestAnEmptyNameTakesTheNameAway, as with redis-server.
func TestAnEmptyNameTakesTheNameAway(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).login()
	for _, words := range [][]string{{"HELLO", "2", "SETNAME", ""}, {"CLIENT", "SETNAME", ""}} {
		c.expect("+OK\r\n", "CLIENT", "SETNAME", "me")
		c.do(words...)
		c.expect("$-1\r\n", "CLIENT", "GETNAME")
	}
}

// TestWhoHasUsedAScriptIsClosedWithTheLane: the engine at the end of the next one may not
// have it, and a library loads it again only when it connects.
func TestWhoHasUsedAScriptIsClosedWithTheLane(t *testing.T) {
	m := startMeddler(t, startEngine(t), passOn)
	car, _ := behind(t, m, Limits{Own: time.Millisecond})
	loaded, ran, other := dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car).login()
	loaded.expect("$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n", "SCRIPT", "LOAD", "return 1")
	ran.expect(":1\r\n", "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "0")
	waitFor(t, func() bool { return alone(t, car) == 0 }) // all share the lane
	other.expect("+PONG\r\n", "PING")
	m.cut()
	for name, c := range map[string]*client{"loaded": loaded, "ran": ran} {
		if got := c.rest(); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	waitFor(t, func() bool { return other.do("PING") == "+PONG\r\n" })
}
