package sidecar

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// A door is a gateway that can be made silent, or closed, for who dials.
type door struct {
	lanes
	mu    sync.Mutex
	state string // "": open
	dials int
}

func (d *door) dialed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials
}

func (d *door) set(state string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

func (d *door) dial(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	d.dials++
	state := d.state
	d.mu.Unlock()
	switch state {
	case "silent":
		<-ctx.Done()
		return nil, ctx.Err()
	case "closed":
		return nil, fmt.Errorf("%s: closed before its handshake", d.socket)
	case "gone":
		return nil, fmt.Errorf("%s: %w", d.socket, syscall.ECONNREFUSED)
	}
	return d.lanes.dial(ctx)
}

// cut ends the connections that came through.
func (d *door) cut(t *testing.T) {
	dialUnix(t, d.socket).login().do("CLIENT", "KILL", "TYPE", "normal")
}

// twoDoors is a sidecar with two gateways, each with an engine of its own in which
// "who" is its name.
func twoDoors(t *testing.T) (*Sidecar, *journal, []*door) {
	t.Helper()
	doors := make([]*door, 2)
	var gateways []Gateway
	for i := range doors {
		doors[i] = &door{lanes: lanes{socket: startEngine(t)}}
		name := fmt.Sprintf("cache-%d", i+1)
		dialUnix(t, doors[i].socket).login().expect("+OK\r\n", "SET", "who", name)
		gateways = append(gateways, Gateway{Name: name, Dial: doors[i].dial})
	}
	log := new(journal)
	car, _ := startSidecar(t, Options{Gateways: gateways, Log: logTo(log), Limits: Limits{Drain: time.Second}})
	return car, log, doors
}

func (c *client) expectWho(want string) {
	c.t.Helper()
	c.expect(fmt.Sprintf("$%d\r\n%s\r\n", len(want), want), "GET", "who")
}

func uses(t *testing.T, car *Sidecar, name string, steps int64) {
	t.Helper()
	if s := car.Status(t.Context()); s.Current() != name || s.Steps != steps || len(s.Gateways) != 2 {
		t.Errorf("it uses %s after %d steps, want %s after %d", s.Current(), s.Steps, name, steps)
	}
}

func TestASilentGatewayCostsASecond(t *testing.T) {
	car, log, doors := twoDoors(t)
	doors[0].set("silent")
	bound := lab.Promised(t, 3*attemptMost)
	began := time.Now()
	var many sync.WaitGroup
	for range 30 { // however many come at once
		many.Go(func() { dialCar(t, car).login().expectWho("cache-2") })
	}
	many.Wait()
	if took, most := time.Since(began), bound(); took < attemptMost || took > most {
		t.Errorf("took %v, more than %v", took, most)
	}
	uses(t, car, "cache-2", 1)
	if n := strings.Count(log.String(), "gone on to another gateway"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

// TestTheSidecarStaysWhereItWent though the gateway that it prefers is back.
func TestTheSidecarStaysWhereItWent(t *testing.T) {
	car, _, doors := twoDoors(t)
	doors[0].set("closed")
	dialCar(t, car).login().expectWho("cache-2")
	doors[0].set("")
	for range 3 {
		c := dialCar(t, car).login()
		c.expectWho("cache-2")
		c.expect("+OK\r\n", "WATCH", "who") // a lane of its own
		c.expectWho("cache-2")
		c.expect("+OK\r\n", "SELECT", "1") // another lane
		c.expect("$-1\r\n", "GET", "who")
	}
	uses(t, car, "cache-2", 1)
	doors[1].set("closed") // back only when that one is gone
	doors[1].cut(t)
	waitFor(t, func() bool { return car.Status(t.Context()).Steps == 2 })
	dialCar(t, car).login().expectWho("cache-1")
}

// TestAConnectionEndsWithItsGateway: shared, waiting for a lane, in a session, not
// yet authenticated.
func TestAConnectionEndsWithItsGateway(t *testing.T) {
	car, _, doors := twoDoors(t)
	shared, own, reset, stranger := dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car).login(), dialCar(t, car)
	for _, c := range []*client{shared, own, reset} {
		c.expectWho("cache-1")
	}
	own.expect("+OK\r\n", "WATCH", "who")
	reset.expect("+RESET\r\n", "RESET") // who it was is forgotten, what it has seen is not
	stranger.expect(errorLine(errNoAuth), "GET", "who")
	doors[0].set("closed")
	doors[0].cut(t)
	for name, c := range map[string]*client{"shared": shared, "own": own, "reset": reset} {
		if got := c.rest(); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	stranger.login().expectWho("cache-2")
	uses(t, car, "cache-2", 1)
}

// TestWhoWaitsForALaneIsClosed when the sidecar goes on meanwhile.
func TestWhoWaitsForALaneIsClosed(t *testing.T) {
	car, _, doors := twoDoors(t)
	c := dialCar(t, car).login()
	before := doors[0].dialed()
	doors[0].set("silent")
	doors[0].cut(t)
	waitFor(t, func() bool { return doors[0].dialed() > before })
	c.send("GET", "who")
	if got := c.rest(); got != "" {
		t.Errorf("%q", got)
	}
	dialCar(t, car).login().expectWho("cache-2")
}

// TestAGatewayThatOnlyTakesNoMoreIsNotLeft: its lanes live, and new ones are refused.
func TestAGatewayThatOnlyTakesNoMoreIsNotLeft(t *testing.T) {
	for _, state := range []string{"closed", "silent"} {
		car, _, doors := twoDoors(t)
		c := dialCar(t, car).login()
		c.expectWho("cache-1")
		doors[0].set(state)
		newcomer := dialCar(t, car)
		newcomer.expect("+OK\r\n", "AUTH", password) // by the lane that there is
		newcomer.send("SELECT", "1")                 // by no lane: it must not go on in the database that it was in
		if got := newcomer.rest(); got != errorLine(errAway) {
			t.Errorf("%q", got)
		}
		c.expectWho("cache-1")
		uses(t, car, "cache-1", 0)
	}
}

// TestAGatewayThatEndsIsLeft: its lanes live until it has drained, and nobody listens.
func TestAGatewayThatEndsIsLeft(t *testing.T) {
	car, _, doors := twoDoors(t)
	c, other := dialCar(t, car).login(), dialCar(t, car).login()
	c.expectWho("cache-1")
	doors[0].set("gone")
	other.send("SELECT", "1")
	if got := other.rest(); got != "" {
		t.Errorf("%q", got)
	}
	if got := c.rest(); got != "" {
		t.Errorf("%q", got)
	}
	dialCar(t, car).login().expectWho("cache-2")
}

// TestALaneThatFallsSilentIsLookedInto: the gateway can't be dialled either, so the
// sidecar doesn't wait until the lane's stall is over.
func TestALaneThatFallsSilentIsLookedInto(t *testing.T) {
	t.Parallel()
	car, _, doors := twoDoors(t)
	c := dialCar(t, car).login()
	c.expectWho("cache-1")
	dialUnix(t, doors[0].socket).login().expect("+OK\r\n", "CLIENT", "PAUSE", "60000", "ALL")
	doors[0].set("silent")
	bound := lab.Promised(t, 8*time.Second) // Limits.Stall is 10
	began := time.Now()
	c.send("GET", "who")
	if got := c.rest(); got != errorLine(errLost) {
		t.Errorf("%q", got)
	}
	if took, most := time.Since(began), bound(); took > most {
		t.Errorf("took %v, more than %v", took, most)
	}
	dialCar(t, car).login().expectWho("cache-2")
}

// TestABusyEngineIsWaitedFor: its gateway answers.
func TestABusyEngineIsWaitedFor(t *testing.T) {
	t.Parallel()
	car, _, doors := twoDoors(t)
	c := dialCar(t, car).login()
	c.expectWho("cache-1")
	before := doors[0].dialed()
	dialUnix(t, doors[0].socket).login().expect("+OK\r\n", "CLIENT", "PAUSE", "8000", "ALL")
	c.send("GET", "who")
	waitFor(t, func() bool { return doors[0].dialed() > before }) // it is looked into
	if got := c.reply(); got != "$7\r\ncache-1\r\n" {
		t.Errorf("%q", got)
	}
	uses(t, car, "cache-1", 0)
}
