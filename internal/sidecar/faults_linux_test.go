package sidecar

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGuestsDontWaitForASuccessorThatFails: the lane that there is must do.
func TestGuestsDontWaitForASuccessorThatFails(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	var dials atomic.Int64
	let := make(chan struct{})
	car, _ := startSidecar(t, Options{Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return l.dial(ctx)
		}
		<-let
		conn, err := l.dial(ctx)
		return struct{ net.Conn }{conn}, err // without a descriptor, as where none is left
	})})
	a, b := dialCar(t, car).login(), dialCar(t, car).login()
	a.expect("+PONG\r\n", "PING")
	car.Refresh()
	waitFor(t, func() bool { return dials.Load() > 1 })
	release := holdLoop(t, car)
	close(let)
	waitFor(t, func() bool { // until the successor is there
		car.loops[0].mu.Lock()
		defer car.loops[0].mu.Unlock()
		return len(car.loops[0].posts) > 0
	})
	b.send("PING") // comes with it
	release()
	if got := b.reply(); got != "+PONG\r\n" {
		t.Errorf("%q", got)
	}
	a.expect("+PONG\r\n", "PING")
}

// TestTooManyGroups: who would need one more has a private lane, and who needs none more
// shares as ever.
func TestTooManyGroups(t *testing.T) {
	l := &lanes{socket: startEngine(t, fmt.Sprint("databases ", maxGroups+10))}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: time.Second, Own: time.Millisecond}})
	for db := range maxGroups {
		c := dialCar(t, car).login()
		c.expect("+OK\r\n", "SELECT", fmt.Sprint(db))
	}
	c := dialCar(t, car).login()
	c.expect("+OK\r\n", "SELECT", fmt.Sprint(maxGroups))
	c.expect("+OK\r\n", "SET", "k", "mine")
	if n := alone(t, car); n != 1 {
		t.Errorf("%d private lanes, want that of the last", n)
	}
	for range 3 {
		newcomer := dialCar(t, car).login()
		newcomer.expect("$-1\r\n", "GET", "k")
		newcomer.expect("+OK\r\n", "SELECT", "7")
		c.expect("$4\r\nmine\r\n", "GET", "k")
	}
	if n := alone(t, car); n != 1 {
		t.Errorf("%d private lanes: who shares a group needs none", n)
	}
	c.expect("+OK\r\n", "SELECT", "3")
	c.expect("$-1\r\n", "GET", "k")
	c.conn.Close()
	waitFor(t, func() bool { return alone(t, car) == 0 })
}

// TestApplicationsThatVanishAreFoundOut by the kernel.
func TestApplicationsThatVanishAreFoundOut(t *testing.T) {
	car, _ := pair(t)
	dialCar(t, car).login()
	inLoop(t, car, func() {
		for g := range car.loops[0].guests {
			if on, err := unix.GetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); on == 0 || err != nil {
				t.Errorf("SO_KEEPALIVE is %d, %v", on, err)
			}
			if idle, err := unix.GetsockoptInt(g.fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); idle != 300 || err != nil {
				t.Errorf("TCP_KEEPIDLE is %d, %v", idle, err)
			}
		}
	})
}

// TestASidecarThatCantListenLeavesNothingOpen.
func TestASidecarThatCantListenLeavesNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := descriptors(t)
	for range 10 {
		for _, o := range []Options{{Listen: taken.Addr().String()}, {Listen: "127.0.0.1:0", Unix: &UnixListener{Path: "/nowhere/s"}}} {
			o.Gateways = one((&lanes{}).dial)
			if _, err := New(o); err == nil {
				t.Fatal("it listens")
			}
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}
