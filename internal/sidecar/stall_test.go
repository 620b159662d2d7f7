package sidecar

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestASwallowedReplyDoesNotHangTheLane: the engine drops the reply to a lone
// guest's command. Nobody else's may be sent before that guest's has come, so
// without a bound all would wait for ever.
func TestASwallowedReplyDoesNotHangTheLane(t *testing.T) {
	t.Parallel()
	var swallowed atomic.Bool
	m := startMeddler(t, startEngine(t), func(frame []byte) ([]byte, bool) {
		if bytes.Contains(frame, []byte("swallow-me")) && !swallowed.Swap(true) {
			return nil, false
		}
		return frame, false
	})
	car, _ := behind(t, m, Limits{Stall: patience})
	a, b := dialCar(t, car).login(), dialCar(t, car).login()
	a.expect("+OK\r\n", "SET", "k", "swallow-me")
	a.send("GET", "k")
	waitFor(t, swallowed.Load)
	inLoop(t, car, func() { car.limits.Stall = 200 * time.Millisecond }) // which all else may take, on a busy machine
	began := time.Now()
	for reply := ""; reply != "+PONG\r\n"; { // at first what was under way fails with the lane
		reply = b.do("PING")
		if reply != "+PONG\r\n" && !strings.Contains(reply, "redoubt:") || time.Since(began) > patience {
			t.Fatalf("%q after %v", reply, time.Since(began))
		}
	}
	inLoop(t, car, func() { car.limits.Stall = patience })
	if got := a.reply(); got != errorLine(errLost) {
		t.Errorf("whose reply was swallowed got %q", got)
	}
	a.expect("$10\r\nswallow-me\r\n", "GET", "k")
}

// TestASlowReaderOfALargeReplyGetsAllOfIt: it reads steadily, but far more
// slowly than the reply comes, and the reply is larger than what is kept for it.
func TestASlowReaderOfALargeReplyGetsAllOfIt(t *testing.T) {
	const size = 3 * maxUnread
	car, _ := pair(t)
	dialCar(t, car).login().expect(fmt.Sprintf(":%d\r\n", size), "SETRANGE", "large", fmt.Sprint(size-1), "x")
	c := dialCar(t, car).login()
	c.send("GET", "large")
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	want := int64(len(fmt.Sprintf("$%d\r\n", size)) + size + 2)
	var got int64
	for got < want {
		<-pace.C
		n, err := io.CopyN(io.Discard, c.conn, min(256<<10, want-got))
		if got += n; err != nil {
			t.Fatalf("%d of %d bytes: %v", got, want, err)
		}
	}
	c.expect("+PONG\r\n", "PING")
}
