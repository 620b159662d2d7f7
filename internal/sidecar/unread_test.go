package sidecar

import (
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// hoarders is a sidecar that keeps 8 MB for all, with a value of 60 KB behind it.
func hoarders(t *testing.T) (car *Sidecar, on *UnixListener) {
	l := &lanes{socket: startEngine(t)}
	on = besides(t) // a unix socket's buffer is small
	car, _ = startSidecar(t, Options{Gateways: one(l.dial), Unix: on, Limits: Limits{Unread: 8 << 20, Drain: time.Second}})
	dialUnix(t, l.socket).login().expect("+OK\r\n", "SET", "k", strings.Repeat("v", 60<<10))
	return car, on
}

// unread is what applications have left unread, and how many are connected.
func unread(t *testing.T, car *Sidecar) (bytes, guests int) {
	inLoop(t, car, func() { bytes, guests = car.loops[0].unread, len(car.loops[0].guests) })
	return bytes, guests
}

// TestAllTogetherLeaveOnlySoMuchUnread on private lanes: the engine keeps the rest, and
// nobody is closed.
func TestAllTogetherLeaveOnlySoMuchUnread(t *testing.T) {
	car, on := hoarders(t)
	const each = 16
	all := make([]*client, 60) // 15 MB, if each were kept what one alone may be
	for i := range all {
		all[i] = dialUnix(t, on.Path).alone()
		all[i].write([]byte(strings.Repeat(string(resp.AppendCommand(nil, "GET", "k")), each)))
	}
	waitFor(t, func() bool {
		choked := 0
		inLoop(t, car, func() {
			for g := range car.loops[0].guests {
				if g.own != nil && g.own.choked {
					choked++
				}
			}
		})
		return choked == len(all)
	})
	if n, _ := unread(t, car); n > 8<<20 {
		t.Errorf("%d bytes are kept", n)
	}
	for _, c := range all {
		for range each {
			if got := c.reply(); len(got) != 60<<10+len("$61440\r\n\r\n") {
				t.Fatalf("%.100q", got)
			}
		}
	}
	if n, _ := unread(t, car); n != 0 {
		t.Errorf("%d bytes are counted when all are read", n)
	}
}

// TestWhoLeavesMostUnreadIsClosed, when replies that were all due at once come to more
// than all may leave.
func TestWhoLeavesMostUnreadIsClosed(t *testing.T) {
	car, on := hoarders(t)
	var all []*client
	for i, n := range []int{30, 50, 40, 45} { // of 60 KB each, the first three come to 7 MB
		c := dialUnix(t, on.Path).login()
		c.write([]byte(strings.Repeat(string(resp.AppendCommand(nil, "GET", "k")), n)))
		all = append(all, c)
		if i < 3 {
			waitFor(t, func() bool { return due(t, car) == 0 })
		}
	}
	waitFor(t, func() bool { _, guests := unread(t, car); return guests == 3 })
	for i, n := range []int{30, 0, 40, 45} {
		for range n {
			if got := all[i].reply(); len(got) < 60<<10 {
				t.Fatalf("%d: %.100q", i, got)
			}
		}
	}
}
