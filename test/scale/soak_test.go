//go:build slow && linux

package scale_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var soakFor = flag.Duration("soak", 35*time.Second, "how long TestSoak works")

// place is a deployment under load. One is steady: nothing happens to it, so no
// error at all is excused there, and its gateway's memory can be watched. The
// other is restless: its gateway is restarted again and again, with the engine
// and all it holds.
type place struct {
	name    string
	site    *site
	sidecar *process
	age     atomic.Int64 // counts beginnings and ends of restarts
	changed atomic.Int64 // when it last counted, in nanoseconds
}

// grace is how long the cache may be away after a restart: a sidecar tries again
// within 5 s.
const grace = 8 * time.Second

func newPlace(t testing.TB, name string) *place {
	s := newSite(t)
	return &place{name: name, site: s, sidecar: s.startSidecar()}
}

// restart ends the gateway and starts it again.
func (p *place) restart(t testing.TB) {
	t.Helper()
	p.grow()
	if code := p.site.gateway.Stop(); code != 0 {
		t.Fatalf("the gateway ended with %d\n%s", code, p.site.gateway.Output())
	}
	p.site.startGateway()
	p.grow()
}

func (p *place) grow() {
	p.age.Add(1)
	p.changed.Store(time.Now().UnixNano())
}

// excuses says whether a failure of what began at a time may be the restart's.
func (p *place) excuses(began time.Time) bool {
	changed := p.changed.Load()
	return p.age.Load()%2 == 1 || changed != 0 && began.Before(time.Unix(0, changed).Add(grace))
}

// TestSoak: all that applications do, all at once, for as long as it is told,
// with every reply checked; while memory, goroutines and open files stay.
func TestSoak(t *testing.T) {
	steady, restless := newPlace(t, "steady"), newPlace(t, "restless")
	watched := []*watch{
		{name: "steady sidecar", process: steady.sidecar}, {name: "steady gateway", process: steady.site.gateway},
		{name: "restless sidecar", process: restless.sidecar},
	}
	for _, w := range watched {
		w.before = w.process.examine(t)
	}
	ctx, stop := context.WithTimeout(t.Context(), *soakFor)
	defer stop()
	var working sync.WaitGroup
	crew := &crew{t: t, stop: stop, done: map[string]int{}}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, p := range []*place{steady, restless} {
		for _, j := range jobs {
			for i := range j.workers {
				w := &worker{name: fmt.Sprintf("%s:%s:%d", p.name, j.name, i), place: p, rand: rand.New(rand.NewPCG(seed, uint64(i))), book: ledger{}}
				working.Go(func() { crew.work(ctx, w, p.name+" "+j.name, j.do) })
			}
		}
	}
	for _, w := range watched {
		working.Go(func() { w.watch(ctx, t) })
	}
	pause := min(max(*soakFor/4, 8*time.Second), 20*time.Second)
	for wait(ctx, pause) {
		if left, _ := ctx.Deadline(); time.Until(left) > 2*time.Second {
			restless.restart(t)
		}
	}
	working.Wait()
	crew.report(t)
	for _, w := range watched {
		w.judge(t)
	}
	for _, p := range []*process{steady.sidecar, steady.site.gateway, restless.sidecar, restless.site.gateway} {
		for line := range strings.Lines(p.Output()) {
			if strings.Contains(line, "DATA RACE") || strings.Contains(line, "level=ERROR") && p != restless.sidecar {
				t.Errorf("a process says: %s", line)
			}
		}
	}
}

// wait is false when ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// crew is all workers.
type crew struct {
	t    *testing.T
	stop func() // at the first failure

	mu      sync.Mutex
	done    map[string]int
	excused int
}

// work does a job until the time is over.
func (c *crew) work(ctx context.Context, w *worker, what string, do job) {
	defer w.leave()
	for ctx.Err() == nil {
		began := time.Now()
		err := do(w)
		c.count(what, err)
		if err == nil {
			continue
		}
		w.leave()
		if !excusable(err) || !w.place.excuses(began) {
			c.t.Errorf("%s: %v", w.name, err)
			c.stop()
			return
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func (c *crew) count(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.excused++
		return
	}
	c.done[what]++
}

// report says what was done; a job that was never done proves nothing.
func (c *crew) report(t *testing.T) {
	for _, p := range []string{"steady", "restless"} {
		for _, j := range jobs {
			if n := c.done[p+" "+j.name]; n == 0 {
				t.Errorf("%s %s: not once done", p, j.name)
			}
		}
	}
	t.Logf("done: %v; not done while the gateway restarted: %d", c.done, c.excused)
}

// watch is a process that is looked at each second.
type watch struct {
	name    string
	process *process
	before  vitals // idle
	samples []vitals
}

func (w *watch) watch(ctx context.Context, t *testing.T) {
	for wait(ctx, time.Second) {
		v, err := examine(w.process.PID(), w.process.socket)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
			return
		}
		w.samples = append(w.samples, v)
	}
}

// judge fails if the process grew under load, or doesn't come back to what it
// was: a lane that nobody uses stays for 10 s.
func (w *watch) judge(t *testing.T) {
	t.Helper()
	grew, summary := trend(w.samples, len(w.samples)/4)
	t.Logf("%s:%s", w.name, summary)
	for _, g := range grew {
		t.Errorf("%s: %s", w.name, g)
	}
	over := time.Now().Add(patience)
	for {
		v := w.process.examine(t)
		remains := v.Goroutines > w.before.Goroutines+4 || v.Files > w.before.Files+4 || v.Heap > w.before.Heap+3<<20
		if remains && time.Now().Before(over) {
			wait(t.Context(), 500*time.Millisecond)
			continue
		}
		t.Logf("%s, idle before and after: heap %.1f, %.1f MB; goroutines %d, %d; files %d, %d; most resident %d MB", w.name,
			float64(w.before.Heap)/(1<<20), float64(v.Heap)/(1<<20), w.before.Goroutines, v.Goroutines, w.before.Files, v.Files, v.Peak>>20)
		if remains {
			t.Errorf("%s: something stays behind when all have left", w.name)
		}
		return
	}
}
