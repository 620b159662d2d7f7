package gateway

import (
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// TestAConnectionGoesToTheLoopWithLessToDo floods one connection of one of two
// running loops; none of those that come later may join it. Without a load they
// are dealt in turn, whoever has gone counted off.
func TestAConnectionGoesToTheLoopWithLessToDo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * cpusPerLoop))
	b := newBench(t)
	var running sync.WaitGroup
	for _, l := range b.loops.all {
		running.Go(l.run)
	}
	t.Cleanup(func() {
		b.loops.beginDrain(0)
		b.loops.lastCall()
		running.Wait()
	})
	r, peer, engine := b.connect()
	b.loops.add(r)
	carries := func() (n []int) {
		for _, l := range b.loops.all {
			n = append(n, int(l.carries.Load()))
		}
		return n
	}
	busy := slices.Index(carries(), 1)
	flooded, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	b.helpers.Go(func() { pour(peer, 1<<20) })
	b.helpers.Go(func() {
		for {
			if _, err := io.CopyN(io.Discard, engine, 16<<20); err != nil {
				return
			}
			select {
			case flooded <- struct{}{}:
			case <-over:
			}
		}
	})
	for range 3 { // each after a look at what the loops have done since the last
		select {
		case <-flooded:
		case <-time.After(time.Minute):
			t.Fatal("no flood")
		}
		b.loops.deal.last = time.Now().Add(-lookEvery)
		another, _, _ := b.connect()
		b.loops.add(another)
	}
	if n := carries(); n[busy] != 1 || n[1-busy] != 3 {
		t.Errorf("the loops carry %v, of which number %d is busy", n, busy)
	}
}

func TestConnectionsAreDealtByNumberWhileNothingIsCarried(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * cpusPerLoop))
	s, err := newLoops(func(*about) error { return nil }, func(*relay) {})
	must(t, err)
	defer s.close()
	for range 20 {
		s.deal.choose(s.all)
	}
	s.all[2].carries.Add(-2) // have ended
	for range 2 {
		if i := s.deal.choose(s.all); i != 2 {
			t.Errorf("dealt to loop %d", i)
		}
	}
	for i, l := range s.all {
		if n := l.carries.Load(); n != 5 {
			t.Errorf("loop %d carries %d", i, n)
		}
	}
}

// TestACarriedConnectionIsCountedUntilItEnds: what bury forgets would count for
// ever.
func TestACarriedConnectionIsCountedUntilItEnds(t *testing.T) {
	b := newBench(t)
	_, peer, engine := b.relay()
	if n := b.carries.Load(); n != 1 {
		t.Fatalf("%d are counted", n)
	}
	b.helpers.Go(func() { io.Copy(io.Discard, engine); engine.Close() })
	must(t, peer.NetConn().(*net.TCPConn).CloseWrite())
	b.helpers.Go(func() { io.Copy(io.Discard, peer.NetConn()); peer.NetConn().Close() })
	b.until("the end", func() bool { return b.live == 0 })
	if n := b.carries.Load(); n != 0 {
		t.Errorf("%d are counted", n)
	}
}

func TestAThreadsTimeIsTold(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := eventloop.ThreadTime(eventloop.Thread())
	for late := time.Now().Add(time.Minute); eventloop.ThreadTime(eventloop.Thread())-began < 10*time.Millisecond; {
		if time.Now().After(late) {
			t.Fatal("10 ms of CPU time are not told in a minute")
		}
	}
}
