//go:build simulation

package simulation

import (
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// fault is what goes wrong at a step.
type fault struct {
	kind faultKind
	step int
	gate *gate // nil: any
}

type faultKind int

const (
	cutLane faultKind = iota
	freezeLane
	gatewayRestarts
	gatewayDrains
	gatewayIsSilent
	engineRestarts
	engineIsBusy
	revoked // at the gateway
	distrusted
	refreshed
	carDrains
	noDescriptor // the next dial's connection has none
	faultKinds
)

var faultNames = [faultKinds]string{"a lane is cut", "a lane is frozen", "a gateway restarts", "a gateway drains", "a gateway is silent", "an engine restarts",
	"an engine is busy", "the sidecar is revoked", "the sidecar cuts lanes", "lanes are refreshed", "the sidecar drains", "a dial has no descriptor"}

// planFaults draws them. A quarter of all worlds has none, in another nothing happens
// but what nobody may notice, and in a third one that goes wrong besides.
func (w *world) planFaults() {
	manner := w.rng.IntN(4)
	if manner == 0 {
		return
	}
	for range 1 + w.rng.IntN(5) {
		kind, step := faultKind(w.rng.IntN(int(faultKinds))), w.rng.IntN(100)*(1+w.rng.IntN(10))
		if kind == carDrains && !w.chance(5) { // after it nothing much happens
			kind = cutLane
		}
		if manner < 3 {
			kind = refreshed
		}
		w.faults = append(w.faults, fault{kind: kind, step: step})
		if manner == 2 {
			w.faults = append(w.faults, fault{kind: noDescriptor, step: step})
		}
	}
	w.order()
}

func (w *world) order() {
	slices.SortStableFunc(w.faults, func(a, b fault) int { return a.step - b.step })
}

// bad takes a fault that waits for its occasion.
func (w *world) bad(kind faultKind) bool {
	for i, f := range w.faults {
		if f.kind == kind && f.step <= w.steps {
			w.faults = slices.Delete(w.faults, i, i+1)
			w.struck = true
			return true
		}
	}
	return false
}

// strike does what is to go wrong by now.
func (w *world) strike(now time.Duration) {
	for i := 0; i < len(w.faults); {
		f := w.faults[i]
		if f.step > w.steps {
			return
		}
		if f.kind == noDescriptor && f.step+500 > w.steps && !w.allDone() {
			i++
			continue
		}
		w.faults = slices.Delete(w.faults, i, i+1)
		if f.kind == noDescriptor {
			continue
		}
		w.note(faultNames[f.kind])
		w.struck = w.struck || f.kind != refreshed
		w.happen(f, now)
	}
}

// while is how long something lasts.
func (w *world) while(most time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64([]time.Duration{20 * time.Millisecond, time.Second, most}[w.rng.IntN(3)])))
}

func (w *world) happen(f fault, now time.Duration) {
	g := f.gate
	if g == nil {
		g = w.gates[w.rng.IntN(len(w.gates))]
	}
	switch f.kind {
	case cutLane, freezeLane:
		w.lanes = slices.DeleteFunc(w.lanes, (*eventloop.Socket).Closed)
		if len(w.lanes) == 0 {
			return
		}
		lane := w.lanes[w.rng.IntN(len(w.lanes))]
		if f.kind == cutLane {
			lane.Cut()
			return
		}
		until := now + w.while(15*time.Second)
		w.frozen[lane], w.frozen[lane.Peer()] = until, until
	case gatewayRestarts:
		g.hand.Kill()
		w.start(g)
		g.down = now + w.while(5*time.Second)
	case gatewayDrains:
		g.hand.Drain(w.while(3 * time.Second))
		g.down = now + time.Hour
		w.faults = append(w.faults, fault{gatewayRestarts, w.steps + w.rng.IntN(500), g})
		w.order()
	case gatewayIsSilent:
		g.silent = now + w.while(8*time.Second)
	case engineRestarts:
		g.engine.restart()
		w.lost = true
	case engineIsBusy:
		g.engine.busy = now + w.while(7*time.Second)
	case revoked:
		g.revoked = now + w.while(3*time.Second)
		g.hand.Judge()
	case distrusted:
		w.car.Cut(func() bool { return w.chance(2) })
	case refreshed:
		w.car.Refresh()
	case carDrains:
		w.car.Drain()
	}
}
