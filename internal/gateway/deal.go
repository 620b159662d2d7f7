package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// A new connection goes to the loop that will have least to do with it. In turn
// won't do: a busy host's lane carries all of its applications, an idle one's
// nothing, and two busy ones on one loop would share a CPU beside an idle one.
// What a loop has to do is told by the kernel: the CPU time of its thread, in which
// encryption and the sockets' kernel side are. It costs the loop nothing. (Where
// the kernel doesn't say, connections are dealt by their number.)
//
// A connection that has been dealt since the loops were last looked at counts as
// much as those that are there do on average; so a host's many connections after an
// outage, before anything has been carried, are dealt in turn. Nothing is moved
// later, but a busy sidecar's lanes have successors often (docs/decisions/0144),
// and each is dealt anew.

// lookEvery is the shortest time that a loop's CPU time is measured over.
const lookEvery = time.Second

// dealer chooses loops. It may be used by many goroutines.
type dealer struct {
	mu    sync.Mutex
	last  time.Time // of a look
	loads []load    // by loop
}

// load is what is known of a loop.
type load struct {
	cpu   time.Duration // of its thread, at the last look
	busy  float64       // of a CPU, between the last two looks
	fresh int           // connections dealt since
}

// carrier is what a dealer knows of a loop's own.
type carrier struct {
	thread  atomic.Int32 // that it runs on; 0: none yet
	carries atomic.Int32 // connections, from when they are dealt
}

// choose returns the index of the loop for another connection, and counts it.
func (d *dealer) choose(loops []*loop) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.loads == nil {
		d.loads = make([]load, len(loops))
	}
	if now := time.Now(); now.Sub(d.last) >= lookEvery {
		d.look(loops, now)
	}
	busy, carried := 0.0, int32(0)
	for i, l := range loops {
		busy, carried = busy+d.loads[i].busy, carried+l.carries.Load()
	}
	each := busy / float64(max(1, carried))
	least := 0
	for i := range loops {
		a, b := d.loads[i].with(each), d.loads[least].with(each)
		if a < b || a == b && loops[i].carries.Load() < loops[least].carries.Load() {
			least = i
		}
	}
	d.loads[least].fresh++
	loops[least].carries.Add(1)
	return least
}

// with is how busy a loop will be if each of the fresh connections makes it this
// much busier.
func (l load) with(each float64) float64 { return l.busy + float64(l.fresh)*each }

// look measures what the loops have done since the last look.
func (d *dealer) look(loops []*loop, now time.Time) {
	for i, l := range loops {
		cpu := time.Duration(0)
		if thread := l.thread.Load(); thread != 0 {
			cpu = eventloop.ThreadTime(int(thread))
		}
		d.loads[i] = load{cpu: cpu, busy: float64(cpu-d.loads[i].cpu) / float64(max(now.Sub(d.last), lookEvery))}
	}
	d.last = now
}
