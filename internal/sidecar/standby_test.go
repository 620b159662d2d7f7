package sidecar

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ready says whether a lane is on standby.
func ready(t testing.TB, car *Sidecar) (ready bool) {
	inLoop(t, car, func() {
		for _, g := range car.loops[0].groups {
			ready = ready || g.standby != nil
		}
	})
	return ready
}

// TestWhoLeavesFindsALaneReady once somebody has left, while the cache can't be dialled.
// The lane knows its guest's name.
func TestWhoLeavesFindsALaneReady(t *testing.T) {
	car, ferry := overFerry(t, Limits{Dial: patience, Drain: time.Second})
	first, second, third := dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car).login()
	if ready(t, car) {
		t.Error("a lane is ready though nobody has needed one")
	}
	first.expect("+OK\r\n", "WATCH", "k")
	waitFor(t, func() bool { return ready(t, car) })
	let := ferry.shut(t)
	second.expect("+OK\r\n", "CLIENT", "SETNAME", "worker")
	second.write(script("PING\nSET k v\nWATCH k\nCLIENT GETNAME\nGET k"))
	for _, want := range []string{"+PONG\r\n", "+OK\r\n", "+OK\r\n", "$6\r\nworker\r\n", "$1\r\nv\r\n"} {
		if got := second.reply(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	third.send("WATCH", "k")
	let()
	if got := third.reply(); got != "+OK\r\n" {
		t.Errorf("%q", got)
	}
}

// TestALaneOnStandbyEnds with all that it rests on.
func TestALaneOnStandbyEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, car *Sidecar, m *meddler, c *client){
		"its connection": func(_ *testing.T, _ *Sidecar, m *meddler, _ *client) { m.cut() },
		"its time": func(t *testing.T, car *Sidecar, _ *meddler, _ *client) {
			inLoop(t, car, func() {
				for _, g := range car.loops[0].groups {
					g.standbyUntil = time.Now()
				}
			})
		},
		"its gateway": func(t *testing.T, car *Sidecar, _ *meddler, _ *client) {
			inLoop(t, car, func() { car.loops[0].forsake(2) })
		},
		"its guests": func(t *testing.T, car *Sidecar, _ *meddler, c *client) {
			c.conn.Close()
			waitFor(t, func() bool { return car.Status(t.Context()).Connections == 0 })
			inLoop(t, car, func() {
				for _, g := range car.loops[0].groups {
					g.idle = time.Now().Add(-linger)
				}
			})
		},
		"what it says": func(t *testing.T, car *Sidecar, _ *meddler, _ *client) {
			inLoop(t, car, func() {
				for _, g := range car.loops[0].groups {
					g.standby.conn.Write([]byte("PING\r\n"))
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := startMeddler(t, startEngine(t), passOn)
			car, _ := behind(t, m, Limits{})
			c := dialCar(t, car).alone()
			waitFor(t, func() bool { return ready(t, car) })
			end(t, car, m, c)
			waitFor(t, func() bool { return !ready(t, car) })
			if n := car.standbys.Load(); n != 0 {
				t.Errorf("%d are counted", n)
			}
			dialCar(t, car).alone() // and others find their way
		})
	}
}

// TestAFreshCertificateIsForLanesOnStandbyToo.
func TestAFreshCertificateIsForLanesOnStandbyToo(t *testing.T) {
	car, l := pair(t)
	c := dialCar(t, car).alone()
	waitFor(t, func() bool { return ready(t, car) })
	before := l.dialed.Load()
	car.Refresh()
	waitFor(t, func() bool { return l.dialed.Load() == before+2 && ready(t, car) }) // the shared one, and this
	c.expect("+PONG\r\n", "PING")
}

// TestLanesOnStandbyMakeRoom for those that are needed.
func TestLanesOnStandbyMakeRoom(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{OwnLanes: 2, Drain: time.Second}})
	dialCar(t, car).alone()
	waitFor(t, func() bool { return ready(t, car) })
	other := dialCar(t, car).login()
	other.expect("+OK\r\n", "SELECT", "1") // another group's is of no use
	other.expect("+OK\r\n", "WATCH", "k")
	third := dialCar(t, car).login()
	third.send("WATCH", "k")
	if got := third.reply(); !strings.Contains(got, "max number of clients") {
		t.Errorf("a third one: %q", got)
	}
}

// TestALaneOnStandbyThatLeadsNowhereIsGivenUp within the time that a dial may take.
func TestALaneOnStandbyThatLeadsNowhereIsGivenUp(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	m := startMeddler(t, startEngine(t), passOn)
	let := make(chan struct{})
	defer close(let)
	m.hold = func(commands []byte) {
		if silent.Load() && bytes.Contains(commands, []byte("WATCH")) {
			<-let
		}
	}
	car, _ := behind(t, m, Limits{Dial: 3 * time.Second})
	dialCar(t, car).alone()
	waitFor(t, func() bool { return ready(t, car) })
	silent.Store(true)
	c := dialCar(t, car).login()
	c.send("WATCH", "k")
	if got := c.rest(); got != "" {
		t.Errorf("%q", got)
	}
}
