package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// gate holds dials until it is opened, and counts them.
type gate struct {
	lanes
	began atomic.Int64
	open  chan struct{}
}

func (g *gate) dial(ctx context.Context) (net.Conn, error) {
	g.began.Add(1)
	select {
	case <-g.open:
		return g.lanes.dial(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func gated(t *testing.T) (*Sidecar, *gate, *journal) {
	t.Helper()
	g := &gate{lanes: lanes{socket: startEngine(t)}, open: make(chan struct{})}
	log := new(journal)
	car, _ := startSidecar(t, Options{Gateways: one(g.dial), Log: logTo(log), Limits: Limits{Drain: time.Second, Dial: patience}})
	return car, g, log
}

// taken waits until all that was sent to the sidecar before has been read.
func taken(t *testing.T, car *Sidecar) { dialCar(t, car).expect(errorLine(errNoAuth), "PING") }

func TestAThousandThatStartAtOnceCostOneHandshake(t *testing.T) {
	car, g, _ := gated(t)
	all := make([]*client, 1000)
	for i := range all {
		all[i] = dialCar(t, car)
		all[i].send("AUTH", password)
	}
	taken(t, car)
	close(g.open)
	for _, c := range all {
		if got := c.reply(); got != "+OK\r\n" {
			t.Fatalf("%q", got)
		}
	}
	all[999].expect("+PONG\r\n", "PING")
	if n := g.began.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

// guesses has so many connections try a wrong password each, all of them different.
func guesses(t *testing.T, car *Sidecar, n int) []*client {
	t.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = dialCar(t, car)
		all[i].send("AUTH", fmt.Sprintf("wrong-%d", i))
	}
	taken(t, car)
	return all
}

const wrongPassword = "-WRONGPASS "

// TestWrongPasswordsTakeNoPlacesOfHonestOnes: 1,500 are being guessed, and the gateway
// answers none of those.
func TestWrongPasswordsTakeNoPlacesOfHonestOnes(t *testing.T) {
	engine := startEngine(t)
	l := &lanes{socket: engine}
	var held atomic.Bool
	began, let := make(chan struct{}, 10_000), make(chan struct{})
	log := new(journal)
	car, _ := startSidecar(t, Options{Log: logTo(log), Limits: Limits{Drain: time.Second, Dial: patience}, Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if held.Load() {
			began <- struct{}{}
			select {
			case <-let:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return l.dial(ctx)
	})})
	honest := dialCar(t, car).login()
	held.Store(true)
	crowd := guesses(t, car, 1500)
	for range maxExaminers {
		<-began
	}
	held.Store(false)
	honest.expect("+OK\r\n", "SELECT", "1") // a lane for another database
	honest.expect("+PONG\r\n", "PING")
	if n := len(began); n != 0 {
		t.Errorf("%d more guesses than may be tried at a time", n)
	}
	newcomer := dialCar(t, car)
	newcomer.send("AUTH", "default", "another") // nobody knows it yet; it is wrong, too, but the last to come
	taken(t, car)
	close(let)
	if got := newcomer.reply(); !strings.HasPrefix(got, wrongPassword) {
		t.Errorf("%q", got)
	}
	for _, c := range crowd {
		if got := c.reply(); !strings.HasPrefix(got, wrongPassword) {
			t.Fatalf("%q", got)
		}
	}
	if n := l.dialed.Load(); n > 2+2*maxExaminers {
		t.Errorf("%d guesses cost %d connections to the gateway", len(crowd), n)
	}
	if strings.Contains(log.String(), "cannot be reached") {
		t.Errorf("a false alarm: %s", log.String())
	}
}

// TestWhoComesNowIsNotBehindACrowdOfGuesses: a stranger with the right password.
func TestWhoComesNowIsNotBehindACrowdOfGuesses(t *testing.T) {
	car, g, _ := gated(t)
	crowd := guesses(t, car, 1500)
	honest := dialCar(t, car)
	honest.send("AUTH", password)
	taken(t, car)
	close(g.open)
	if got := honest.reply(); got != "+OK\r\n" {
		t.Fatalf("%q", got)
	}
	if tried := tries(t, g.socket); tried > len(crowd)/2 { // two a guess
		t.Errorf("%d guesses were tried first", tried/2)
	}
}

// tries is how often the engine was asked about a password.
func tries(t *testing.T, socket string) int {
	t.Helper()
	stats := dialUnix(t, socket).login().do("INFO", "commandstats")
	_, after, _ := strings.Cut(stats, "cmdstat_hello:calls=")
	text, _, _ := strings.Cut(after, ",")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%q", stats)
	}
	return n
}

// TestAGuessThatWaitsTooLongIsToldSo and raises no alarm about the gateway.
func TestAGuessThatWaitsTooLongIsToldSo(t *testing.T) {
	g := &gate{lanes: lanes{socket: startEngine(t)}, open: make(chan struct{})}
	log := new(journal)
	car, _ := startSidecar(t, Options{Gateways: one(g.dial), Log: logTo(log), Limits: Limits{Drain: time.Second, Dial: 300 * time.Millisecond}})
	crowded := 0
	for _, c := range guesses(t, car, 3*maxExaminers) {
		if c.reply() == errorLine(errCrowded) {
			crowded++
		}
	}
	if crowded == 0 {
		t.Error("nobody was told")
	}
	if n := g.began.Load(); n > 2*maxExaminers {
		t.Errorf("%d dials", n)
	}
}

func TestAWrongPasswordIsRememberedForASecond(t *testing.T) {
	log := new(journal)
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Log: logTo(log)})
	c := dialCar(t, car)
	if got := c.do("AUTH", "nope"); !strings.HasPrefix(got, wrongPassword) {
		t.Fatalf("%q", got)
	}
	before, began := tries(t, l.socket), time.Now()
	for i := 0; time.Since(began) < wrongFor/2; i++ {
		if got := c.do("AUTH", "nope"); !strings.HasPrefix(got, wrongPassword) {
			t.Fatalf("%q", got)
		}
	}
	if after := tries(t, l.socket); time.Since(began) < wrongFor && after != before {
		t.Errorf("the engine was asked: %d times, and then %d", before, after)
	}
	if n := car.Status(t.Context()).WrongPasswords; n < 2 || strings.Count(log.String(), "a wrong password was given") != 1 {
		t.Errorf("%d wrong passwords are counted, and told of: %s", n, log.String())
	}
	admin := dialUnix(t, l.socket).login() // and it may become right
	admin.expect("+OK\r\n", "ACL", "SETUSER", "default", ">nope")
	waitFor(t, func() bool { return c.do("AUTH", "nope") == "+OK\r\n" })
}

func TestOnlySoManyHaveLanesOfTheirOwn(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{OwnLanes: 2, Drain: time.Second}})
	shared := dialCar(t, car).login()
	own := []*client{dialCar(t, car).alone(), dialCar(t, car).alone()}
	third := dialCar(t, car).login()
	third.send("WATCH", "k")
	if got := third.rest(); got != errorLine(errMaxClients) {
		t.Errorf("%q", got)
	}
	shared.expect("+OK\r\n", "SELECT", "1") // the others find room
	own[0].conn.Close()
	waitFor(t, func() bool { return car.Status(t.Context()).OwnLanes == 1 })
	dialCar(t, car).alone()
}

// TestStrangersWhoTalkDelayNobody: each is heard for a little of a turn, and who doesn't
// read his answers is closed, without a word in the log.
func TestStrangersWhoTalkDelayNobody(t *testing.T) {
	car, _, log := gated(t)
	talk := bytes.Repeat(resp.AppendCommand(nil, "PING"), 4000)
	c := dialCar(t, car)
	c.tcp().SetReadBuffer(4 << 10)
	release := holdLoop(t, car)
	c.write(talk)
	release()
	said := 0
	waitFor(t, func() bool {
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				said = g.said
			}
		})
		return said > 0
	})
	if said > 4*strangerRead {
		t.Errorf("%d bytes of answers in a turn", said)
	}
	for sent := 0; ; sent += len(talk) {
		if _, err := c.conn.Write(talk); err != nil {
			break
		}
		if sent > 16<<20 { // more than what both kernels hold
			t.Fatal("it talks on")
		}
	}
	if log.String() != "" {
		t.Error(log.String())
	}
}
