package sidecar

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestLanesAreRefreshedUnderLoadAndNothingIsLost has applications count, each
// with pipelines, while their lane gets one successor after the other.
func TestLanesAreRefreshedUnderLoadAndNothingIsLost(t *testing.T) {
	car, l := pair(t)
	const clients, refreshes, pipeline = 16, 20, 50
	var stop atomic.Bool
	var all sync.WaitGroup
	for i := range clients {
		conn, err := net.Dial("tcp", car.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		replies := bufio.NewReader(conn)
		fmt.Fprint(conn, lab.Encode("AUTH", password))
		if got, _ := replies.ReadString('\n'); got != "+OK\r\n" {
			t.Fatal(got)
		}
		all.Go(func() {
			batch := strings.Repeat(lab.Encode("INCR", fmt.Sprint("counter:", i)), pipeline)
			for n := 1; !stop.Load(); n += pipeline {
				conn.SetDeadline(time.Now().Add(patience))
				fmt.Fprint(conn, batch)
				for j := range pipeline {
					if got, err := replies.ReadString('\n'); got != fmt.Sprintf(":%d\r\n", n+j) {
						t.Errorf("client %d: %q, %v, want %d", i, got, err, n+j)
						return
					}
				}
			}
		})
	}
	for range refreshes {
		before := car.lane()
		car.Refresh()
		for late := time.Now().Add(patience); car.lane() == before; {
			if time.Now().After(late) {
				t.Fatal("no lane takes over")
			}
		}
	}
	stop.Store(true)
	all.Wait()
	c := lab.Connect(t, car.Addr().String(), password)
	if n := strings.Count(plainClients(t, l), "cmd="); n > 3 {
		t.Errorf("%d connections are left at the engine", n)
	}
	c.Want("+PONG\r\n", "PING")
}

// lane is the one group's.
func (c *Sidecar) lane() *link {
	answer := make(chan *link, 1)
	c.loops[0].post(func() {
		for _, g := range c.loops[0].groups {
			answer <- g.link
		}
	})
	return <-answer
}

// plainClients is the engine's own CLIENT LIST.
func plainClients(t *testing.T, l *lanes) string {
	t.Helper()
	conn, err := net.Dial("unix", l.socket)
	if err != nil {
		t.Fatal(err)
	}
	c := lab.NewClient(t, conn)
	c.Want("+OK\r\n", "AUTH", password)
	return c.Do("CLIENT", "LIST")
}

// TestARefreshDoesNotCutACommandInTwo: a large value is being sent, in pieces.
func TestARefreshDoesNotCutACommandInTwo(t *testing.T) {
	car, l := pair(t)
	slow, other := lab.Connect(t, car.Addr().String(), password), lab.Connect(t, car.Addr().String(), password)
	value := strings.Repeat("v", 4<<20)
	command := lab.Encode("SET", "large", value)
	slow.Send(command[:len(command)/2])
	other.Want("+PONG\r\n", "PING")
	dialed := l.dialed.Load()
	car.Refresh()
	for late := time.Now().Add(patience); l.dialed.Load() == dialed && time.Now().Before(late); {
		car.lane()
	}
	other.Want("+OK\r\n", "SET", "k", "v") // waits until the pause is over, at most
	slow.Send(command[len(command)/2:])
	if got := slow.Reply(); got != "+OK\r\n" {
		t.Errorf("%.80q", got)
	}
	other.Want(":4194304\r\n", "STRLEN", "large")
}

// TestALaneWhoseKeysAreWornGetsASuccessor, by bytes and by age, while an
// application counts over it; and a cache that can't be dialled then is not
// asked again and again, nor is the lane given up.
func TestALaneWhoseKeysAreWornGetsASuccessor(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	var away atomic.Bool
	var tried atomic.Int64
	car, _ := startSidecar(t, Options{Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if tried.Add(1); away.Load() {
			return nil, errors.New("away")
		}
		return l.dial(ctx)
	})})
	c, n := lab.Connect(t, car.Addr().String(), password), 0
	count := func() {
		n++
		c.Want(fmt.Sprintf(":%d\r\n", n), "INCR", "counter")
	}
	wear := func(change func(*link)) (before *link) {
		before = car.lane()
		done := make(chan struct{})
		car.loops[0].post(func() { change(before); close(done) })
		<-done
		return before
	}
	byBytes := func(k *link) { k.worn.bytes = k.wire.Carried() + 10_000 }
	byAge := func(k *link) { k.worn.at = time.Now() }
	for _, change := range []func(*link){byBytes, byAge} {
		before := wear(change)
		for late := time.Now().Add(patience); car.lane() == before; count() {
			if time.Now().After(late) {
				t.Fatal("no lane takes over")
			}
		}
		if w := car.lane().worn; w.bytes > 1<<35 || time.Until(w.at) > time.Hour {
			t.Errorf("the successor is to last until %+v", w)
		}
	}
	away.Store(true)
	dialled := tried.Load()
	before := wear(byAge)
	for late := time.Now().Add(patience); tried.Load() == dialled; count() {
		if time.Now().After(late) {
			t.Fatal("nothing is tried")
		}
	}
	for range 1000 {
		count()
	}
	if got := tried.Load() - dialled; got != 1 || car.lane() != before {
		t.Errorf("%d attempts; the lane is the same: %v", got, car.lane() == before)
	}
}
