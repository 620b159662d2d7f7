package sidecar

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSeveralLoops are one sidecar: connections are spread over them, and what is told
// of, done to, or bounded for all of them is so for those of every loop.
func TestSeveralLoops(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, stop := startSidecar(t, Options{Gateways: one(l.dial), Loops: 3, Limits: Limits{OwnLanes: 5, Drain: time.Second}})
	var all []*client
	for i := range 12 {
		c := dialCar(t, car).login()
		c.expect("+OK\r\n", "CLIENT", "SETNAME", fmt.Sprint("c", i))
		c.expect("+OK\r\n", "SET", fmt.Sprint("k", i), "v")
		all = append(all, c)
	}
	for i, one := range car.loops {
		if n := one.crowd.Load(); n != 4 {
			t.Errorf("loop %d has %d of 12 connections", i, n)
		}
	}
	if !car.Alive(t.Context()) {
		t.Error("not alive")
	}
	if s := car.Status(t.Context()); s.SharedLanes != 3 || s.Connections != 12 || s.Commands < 12 {
		t.Errorf("status: %+v", s)
	}
	all[1].expect("+OK\r\n", "MULTI") // on a private lane
	all[1].expect("*0\r\n", "EXEC")
	for _, c := range all[:2] {
		if list := c.do("CLIENT", "LIST"); strings.Count(list, "name=c") != 12 {
			t.Errorf("CLIENT LIST has %d connections", strings.Count(list, "name=c"))
		}
	}
	car.Refresh()
	all[0].expect("$1\r\nv\r\n", "GET", "k11")

	// limits.own_lanes is for all of them.
	for _, c := range all[:5] {
		c.expect("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", "SUBSCRIBE", "c")
	}
	all[5].expect("-"+errMaxClients+"\r\n", "SUBSCRIBE", "c")
	if n := car.Status(t.Context()).OwnLanes; n != 5 {
		t.Errorf("%d private lanes", n)
	}
	stop()
	for i, one := range car.loops {
		if n := one.crowd.Load(); n != 0 {
			t.Errorf("loop %d still counts %d connections", i, n)
		}
	}
}

// TestLoopsServeAtOnce what many connections ask, each its own.
func TestLoopsServeAtOnce(t *testing.T) {
	l := &lanes{socket: startEngine(t)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Loops: 4})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			c := dialCar(t, car).login()
			for n := range 100 {
				key := fmt.Sprint("k", i)
				if said := c.do("SET", key, fmt.Sprint(n)); said != "+OK\r\n" {
					t.Errorf("SET: %q", said)
				}
				if said, want := c.do("GET", key), fmt.Sprint(n); !strings.Contains(said, "\r\n"+want+"\r\n") {
					t.Errorf("GET: %q, want %q", said, want)
				}
			}
		})
	}
	all.Wait()
	if n := car.Status(t.Context()).SharedLanes; n != 4 {
		t.Errorf("%d shared lanes", n)
	}
}
