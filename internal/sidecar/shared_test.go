package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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
				for g := range car.loop.guests {
					blocked = blocked || g.blocked
				}
			})
			return blocked
		})
		slow.conn.(*net.TCPConn).SetLinger(0)
		slow.conn.Close()
		waitFor(t, func() bool { return len(car.all()) == 1 })
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
	car, _ := startSidecar(t, Options{Limits: Limits{Drain: time.Second, Dial: patience}, Dial: func(ctx context.Context) (net.Conn, error) {
		if dials.Add(1) == 2 {
			close(redialling)
			<-let
		}
		return l.dial(ctx)
	}})
	waiting, newcomer := dialCar(t, car).login(), dialCar(t, car)
	m.cut()
	<-redialling
	waiting.send("PING")
	waitFor(t, func() (waits bool) {
		inLoop(t, car, func() {
			for g := range car.loop.guests {
				waits = waits || g.waiting
			}
		})
		return waits
	})
	newcomer.login()
	if got := waiting.reply(); got != "+PONG\r\n" {
		t.Errorf("%q", got)
	}
	close(let)
	waiting.expect("+PONG\r\n", "PING")
	newcomer.expect("+PONG\r\n", "PING")
}

// TestAnEndThatComesWithACommandIsSeen: bytes and FIN in one event.
func TestAnEndThatComesWithACommandIsSeen(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).login()
	c.expect("+PONG\r\n", "PING")
	release := holdLoop(t, car)
	c.send("PING")
	c.conn.(*net.TCPConn).CloseWrite()
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

// TestAnAnswerOfOurOwnDoesNotWaitForTheEngine's: what stands first goes first.
func TestAnAnswerOfOurOwnDoesNotWaitForWhatComesBehind(t *testing.T) {
	let := make(chan struct{})
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if string(frame) == "$4\r\nslow\r\n" {
			<-let
		}
		return frame, false
	})
	car, _ := behind(t, m, Limits{})
	c := dialCar(t, car).login()
	defer close(let)
	c.write(script("CLIENT SETNAME me\nECHO slow"))
	c.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if got := c.reply(); got != "+OK\r\n" {
		t.Errorf("%q", got)
	}
}

// TestAThrottledGuestCostsNoTime: the loop sleeps although a guest that doesn't
// read has more to say.
func TestAThrottledGuestCostsNoTime(t *testing.T) {
	car, l := pair(t)
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "big", strings.Repeat("v", 12<<20))
	slow := dialCar(t, car).login()
	slow.send("GET", "big")
	var g *guest
	waitFor(t, func() (blocked bool) {
		inLoop(t, car, func() {
			for g = range car.loop.guests {
			}
			blocked = g.blocked && g.pending == 0
		})
		return blocked
	})
	slow.send("ECHO", "more")
	for range 20 {
		inLoop(t, car, func() {})
	}
	inLoop(t, car, func() {
		if len(car.loop.again) > 0 {
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
	car, stop := startSidecar(t, Options{Dial: l.dial, Limits: Limits{Drain: patience}})
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
	before := l.dialed.Load()
	c.do("GET", "big")
	c.do("GET", "big")
	if n := l.dialed.Load(); n != before+1 {
		t.Errorf("%d lanes after a large reply, want one more than %d", n, before)
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
	c.expect(errorLine(errAway), "PING")
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
			for g := range car.loop.guests {
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

var _ = fmt.Sprint
