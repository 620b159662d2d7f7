package sidecar

import (
	"testing"
	"time"
)

// TestOtherLimitsAreForWhoComes, and end nobody who is there.
func TestOtherLimitsAreForWhoComes(t *testing.T) {
	car, _ := pair(t)
	first, second := dialCar(t, car).login(), dialCar(t, car).login()
	const subscribed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
	first.expect(subscribed, "SUBSCRIBE", "c")
	car.Change(Settings{Connections: 2, OwnLanes: 1})
	if got := dialCar(t, car).rest(); got != errorLine(errMaxClients) {
		t.Errorf("a third connection: %q", got)
	}
	second.expect("-"+errMaxClients+"\r\n", "SUBSCRIBE", "c")
	second.rest() // as ever, who can't have a lane of his own is closed
	waitFor(t, func() bool { return car.Status(t.Context()).Connections == 1 })
	second = dialCar(t, car).login()
	second.expect(":1\r\n", "PUBLISH", "c", "x")
	if got := first.reply(); got != "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n" {
		t.Errorf("who subscribed before: %q", got)
	}
	if s := car.Status(t.Context()); s.Most != 2 || s.MostOwn != 1 {
		t.Errorf("status: %+v", s)
	}
	car.Change(Settings{Connections: 3, OwnLanes: 2})
	second.expect(subscribed, "SUBSCRIBE", "c")
	dialCar(t, car).login().expect("+PONG\r\n", "PING")
}

// TestAnotherFenceGetsLanesThatAreMadeForIt, and their connections stay.
func TestAnotherFenceGetsLanesThatAreMadeForIt(t *testing.T) {
	car, _ := pair(t)
	c := dialCar(t, car).login()
	c.expect("+OK\r\n", "SET", "k", "v")
	for _, per := range []bool{true, false} {
		before := car.lane()
		s := *car.settingsNow()
		s.FencePerGuest = per
		car.Change(s)
		for late := time.Now().Add(patience); car.lane() == before; {
			if time.Now().After(late) {
				t.Fatal("no lane takes over")
			}
		}
		fence := make(chan bool, 1)
		car.loops[0].post(func() { fence <- car.loops[0].order[0].link.books.FencePerClient })
		if got := <-fence; got != per {
			t.Errorf("the fence is per guest: %v, want %v", got, per)
		}
		c.expect("$1\r\nv\r\n", "GET", "k")
	}
}
