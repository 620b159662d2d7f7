package sidecar

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// TestWhoOnlyWritesIsToldItsLast: most libraries send all of a pipeline before they
// read. Who is ended meanwhile must get to where it reads that.
func TestWhoOnlyWritesIsToldItsLast(t *testing.T) {
	for name, ends := range map[string]func(*client, *lanes){
		"by a protocol error": func(c *client, _ *lanes) { c.write([]byte("*1\r\n+x\r\n")) },
		"by QUIT":             func(c *client, _ *lanes) { c.send("QUIT") },
	} {
		t.Run(name, func(t *testing.T) {
			car, l := pair(t)
			c := dialCar(t, car).login()
			echo := resp.AppendCommand(nil, "ECHO", strings.Repeat("x", 1000))
			c.write(bytes.Repeat(echo, 10_000))
			ends(c, l)
			c.write(bytes.Repeat(echo, 50_000))
			rest := c.rest()
			if n := strings.Count(rest, "$1000\r\n"); n != 10_000 {
				t.Errorf("%d replies, then %.100q", n, rest[max(0, len(rest)-100):])
			}
		})
	}
}

// TestASelectThatFailsWhileTheSidecarGoesOn: the guest that waited for it has used the
// cache that was left.
func TestASelectThatFailsWhileTheSidecarGoesOn(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	var closed atomic.Bool
	begun, let := make(chan struct{}, 1), make(chan struct{})
	car, _ := startSidecar(t, Options{Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if closed.Load() {
			begun <- struct{}{}
			<-let
			return nil, net.ErrClosed
		}
		return l.dial(ctx)
	}), Limits: Limits{Stall: time.Hour}})
	c := dialCar(t, car).login()
	c.expect("+PONG\r\n", "PING")
	closed.Store(true)
	c.send("SELECT", "1")
	<-begun
	inLoop(t, car, func() {
		car.gateways.mu.Lock()
		car.gateways.current.generation++
		now := car.gateways.current.generation
		car.gateways.mu.Unlock()
		car.loops[0].forsake(now)
	})
	closed.Store(false)
	close(let)
	if got := c.reply(); got != string(errorReply(errAway)) {
		t.Errorf("%q", got)
	}
	c.send("PING")
	if got := c.rest(); got != "" {
		t.Errorf("%q", got)
	}
}

// TestADrainDoesntWaitForTheRestOfACommand: nobody reads it.
func TestADrainDoesntWaitForTheRestOfACommand(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, stop := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: 2 * patience}})
	c := dialCar(t, car).login()
	c.write([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + strings.Repeat("x", 3*maxShared)))
	waitFor(t, func() (body bool) {
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				body = g.own != nil && g.course.body && len(g.in) == 0
			}
		})
		return body
	})
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("it waits")
	}
}

// TestWhoHasEndedGetsNothingOutOfTurn: the engine ends a client that waits when it ends,
// and what we would have answered behind that is no answer to what it waited for.
func TestWhoHasEndedGetsNothingOutOfTurn(t *testing.T) {
	car, l := pair(t)
	for _, c := range []*client{dialUnix(t, l.socket).login(), dialCar(t, car).login()} {
		c.send("BLPOP", "none", "0")
		c.send("CONFIG", "GET", "save")
		c.conn.(patientConn).Conn.(interface{ CloseWrite() error }).CloseWrite()
		if got := c.rest(); got != "" {
			t.Errorf("%q", got)
		}
	}
}
