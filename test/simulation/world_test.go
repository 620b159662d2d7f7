//go:build simulation

package simulation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
)

// world is a sidecar, its gateways with their engines, and applications, in one
// goroutine. What happens next is drawn from a seed; time passes when nothing can
// happen, and a little when the seed says so (testing/synctest).
type world struct {
	seed    uint64
	rng     *mathrand.Rand
	trace   func(string)
	hash    uint64
	steps   int
	buf     []byte
	failure string

	car     *sidecar.ByHand
	gates   []*gate
	apps    []*app
	crowd   int // how many there will be
	dials   []*dial
	lanes   []*eventloop.Socket // the sidecar's ends
	spawned []func()
	alive   int // goroutines
	made    int // connections
	rooms   []int
	tick    int // one in so many steps a little time passes

	faults []fault
	struck bool // something has failed
	lost   bool // an engine has lost its data
	frozen map[*eventloop.Socket]time.Time
	taken  map[string]bool // elements of lists
	takes  int
	acts   []act
}

// gate is a gateway with its engine.
type gate struct {
	name    string
	hand    *gateway.ByHand
	engine  *engine
	down    time.Time // until then nobody listens
	silent  time.Time // until then nobody answers
	revoked time.Time
}

// dial is one of the sidecar's that is under way.
type dial struct {
	to     *gate
	answer chan dialled
}

type dialled struct {
	conn net.Conn
	err  error
}

// act is what may happen next.
type act struct {
	kind actKind
	loop int // of the sidecar
	s    *eventloop.Socket
	gate *gate
	c    *connection
	app  *app
	dial *dial
}

type actKind int

const (
	arrives actKind = iota
	carTurns
	gateTurns
	engineTurns
	appTurns
	dialEnds
)

// seeded is crypto/rand's, for as long as a world lives.
type seeded struct{ *mathrand.ChaCha8 }

// buffer is what is read of a socket, and good until the next read.
var buffer = make([]byte, 64<<10)

func newWorld(seed uint64, trace func(string)) *world {
	w := &world{seed: seed, rng: mathrand.New(mathrand.NewPCG(seed, 0)), trace: trace, hash: 14695981039346656037, buf: buffer,
		frozen: map[*eventloop.Socket]time.Time{}, taken: map[string]bool{}}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.Reader = seeded{mathrand.NewChaCha8(key)}
	eventloop.Begin(w.rng.IntN)
	w.rooms = [][]int{{512, 4 << 10}, {4 << 10, 64 << 10}, {64 << 10, 256 << 10}}[w.rng.IntN(3)]
	w.tick = 20 + w.rng.IntN(400)
	var known []sidecar.Gateway
	for i := range 1 + w.rng.IntN(2) {
		g := &gate{name: string(rune('A' + i))}
		g.engine = newEngine(w, g.name)
		w.start(g)
		w.gates = append(w.gates, g)
		known = append(known, sidecar.Gateway{Name: g.name, Dial: func(ctx context.Context) (net.Conn, error) { return w.dialled(ctx, g) }})
	}
	car, err := sidecar.NewByHand(sidecar.Options{Gateways: known, FencePerGuest: w.chance(4), Loops: max(1, w.rng.IntN(4))}, func(f func()) { w.spawned = append(w.spawned, f) })
	if err != nil {
		panic(err)
	}
	w.car = car
	w.crowd = 1 + w.rng.IntN(6)
	for id := range w.crowd {
		w.apps = append(w.apps, w.application(id))
	}
	w.planFaults()
	return w
}

func (w *world) start(g *gate) {
	hand, err := gateway.NewByHand(func() error {
		if time.Now().Before(g.revoked) {
			return errors.New("revoked")
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	g.hand = hand
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

func (w *world) fail(format string, a ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, a...)
		w.tell("FAILED: %s", w.failure)
	}
}

func (w *world) tell(format string, a ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%6d %12v  ", w.steps, time.Since(epoch)) + fmt.Sprintf(format, a...))
	}
}

// epoch is when synctest's time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// note adds to the hash of all that has happened.
func (w *world) note(what string, n ...int) {
	for i := range len(what) {
		w.hash = (w.hash ^ uint64(what[i])) * 1099511628211
	}
	for _, k := range n {
		w.hash = (w.hash ^ uint64(k)) * 1099511628211
	}
	if w.trace != nil {
		w.tell("%s %d", what, n)
	}
}

// run is the life of a world. It returns what went wrong.
func (w *world) run() string {
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprintf("seed %d, step %d: %v", w.seed, w.steps, r))
		}
	}()
	for w.failure == "" && !w.allDone() {
		w.step()
	}
	late := time.Now().Add(2 * time.Minute)
	for w.failure == "" && !w.empty() {
		if time.Now().After(late) {
			w.fail("something stays when all applications have gone:\n%s", w.state())
		}
		w.step()
	}
	if w.failure == "" && !w.struck {
		w.balance()
	}
	w.end()
	return w.failure
}

func (w *world) allDone() bool {
	return !slices.ContainsFunc(w.apps, func(a *app) bool { return !a.done })
}

// onlyListeners says whether all who aren't done wait for messages only.
func (w *world) onlyListeners() bool {
	return !slices.ContainsFunc(w.apps, func(a *app) bool {
		return !a.done && !(a.listens && len(a.due) == 0 && len(a.program) == 0)
	})
}

// empty says whether nothing is left of what applications had.
func (w *world) empty() bool {
	shared, private := w.car.Lanes()
	left := w.car.Guests() + shared + private + len(w.dials) + w.alive
	for _, g := range w.gates {
		left += g.hand.Live() + len(g.engine.conns)
	}
	return left == 0
}

// balance compares what engines gave with what applications got, when nothing failed
// and nobody went without waiting.
func (w *world) balance() {
	popped, went := 0, false
	for _, g := range w.gates {
		for _, n := range g.engine.popped {
			popped += n
		}
	}
	for _, a := range w.apps {
		went = went || a.finish == aborts || a.finish == halfCloses
	}
	if popped != w.takes && !went {
		w.fail("%d elements were popped, and %d came", popped, w.takes)
	}
}

// published is how many messages went out to a listener.
func (w *world) published(a *app) (n int) {
	for _, g := range w.gates {
		n += g.engine.published[channelOf(a.id)]
	}
	return n
}

func (w *world) popped(o *op, r reply) string {
	switch {
	case r.null:
		return ""
	case len(r.items) != 2 || r.items[0].text != o.words[1] || !strings.HasPrefix(r.items[1].text, "e"):
		return "that is no element of its list"
	case w.taken[r.items[1].text]:
		return "somebody had that element already"
	}
	w.taken[r.items[1].text] = true
	w.takes++
	return ""
}

// end takes the world down.
func (w *world) end() {
	w.car.End()
	w.spawned = nil
	for _, g := range w.gates {
		g.hand.Kill()
	}
	synctest.Wait()
}

const mostSteps = 400_000

// step lets one thing happen.
func (w *world) step() {
	w.steps++
	now := time.Now()
	w.strike(now)
	if w.chance(w.tick) {
		w.sleep(time.Duration(w.rng.IntN(3_000_000)))
	}
	w.list(now)
	if len(w.acts) == 0 {
		w.pass(now)
	} else {
		w.do(w.acts[w.rng.IntN(len(w.acts))], now)
	}
	if w.steps%16 == 0 {
		w.check()
	}
	if w.steps > mostSteps {
		w.fail("it doesn't end:\n%s", w.state())
	}
}

func (w *world) check() {
	err := w.car.Check()
	for _, g := range w.gates {
		err = errors.Join(err, g.hand.Check())
	}
	if err != nil {
		w.fail("%v\n%s", err, w.state())
	}
}

// list lists what may happen.
func (w *world) list(now time.Time) {
	w.acts = w.acts[:0]
	for _, s := range eventloop.Arriving() {
		if until, ok := w.frozen[s]; !ok || !now.Before(until) {
			w.acts = append(w.acts, act{kind: arrives, s: s})
		}
	}
	for loop := range w.car.Loops() {
		if w.car.Ready(loop) {
			w.acts = append(w.acts, act{kind: carTurns, loop: loop})
		}
	}
	for _, g := range w.gates {
		if g.hand.Ready() {
			w.acts = append(w.acts, act{kind: gateTurns, gate: g})
		}
		for _, c := range g.engine.conns {
			if c.ready(now) {
				w.acts = append(w.acts, act{kind: engineTurns, c: c})
			}
		}
	}
	for _, a := range w.apps {
		if a.s == nil && w.steps >= a.begins || a.s != nil && a.ready(now) {
			w.acts = append(w.acts, act{kind: appTurns, app: a})
		}
	}
	for _, d := range w.dials {
		if !now.Before(d.to.silent) {
			w.acts = append(w.acts, act{kind: dialEnds, dial: d})
		}
	}
}

func (w *world) do(a act, now time.Time) {
	switch a.kind {
	case arrives:
		n := a.s.OnTheWay()
		switch w.rng.IntN(16) {
		case 0:
			n = min(n, 1)
		case 1, 2:
			n = w.rng.IntN(n + 1)
		}
		w.noteOf("arrives at", a.s, n)
		a.s.Deliver(n)
		w.settle()
	case carTurns:
		w.note("sidecar turns", a.loop)
		w.car.Turn(a.loop, w.rng.Shuffle)
		w.settle()
	case gateTurns:
		w.note("gateway turns", slices.Index(w.gates, a.gate))
		a.gate.hand.Turn()
	case engineTurns:
		most := len(w.buf)
		if w.chance(4) {
			most = 1 + w.rng.IntN(1000)
		}
		w.note("engine turns", a.c.number, most)
		a.c.turn(now, most)
	case appTurns:
		if a.app.s == nil {
			w.connect(a.app)
			return
		}
		a.app.turn(now)
	case dialEnds:
		w.answer(a.dial, now)
		w.settle()
	}
}

func (w *world) noteOf(what string, s *eventloop.Socket, n int) {
	if w.trace != nil {
		what += " " + s.Name
	}
	w.note(what, s.FD(), n)
}

// room is how much a new connection holds each way.
func (w *world) room() int { return w.rooms[0] + w.rng.IntN(w.rooms[1]) }

func (w *world) connect(a *app) {
	w.made++
	app, car := eventloop.Pair(fmt.Sprintf("application %d", a.id), w.chance(2), w.room(), w.room())
	a.s, a.since = app, time.Now()
	w.note("connects", a.id)
	w.car.Welcome(car.FD())
}

// dialled is the sidecar's dial, in a goroutine of its own.
func (w *world) dialled(ctx context.Context, to *gate) (net.Conn, error) {
	d := &dial{to, make(chan dialled, 1)}
	w.dials = append(w.dials, d)
	select {
	case r := <-d.answer:
		return r.conn, r.err
	case <-ctx.Done():
		w.dials = slices.DeleteFunc(w.dials, func(other *dial) bool { return other == d })
		return nil, ctx.Err()
	}
}

// answer ends a dial.
func (w *world) answer(d *dial, now time.Time) {
	w.dials = slices.DeleteFunc(w.dials, func(other *dial) bool { return other == d })
	if now.Before(d.to.down) {
		w.note("refuses " + d.to.name)
		d.answer <- dialled{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
		return
	}
	w.made++
	w.note("accepts "+d.to.name, w.made)
	near, far := eventloop.Pair(fmt.Sprintf("lane %d", w.made), false, w.room(), w.room())
	gateEnd, engineEnd := eventloop.Pair(fmt.Sprintf("engine %s %d", d.to.name, w.made), true, 4096+w.room(), 4096+w.room())
	if err := d.to.hand.Relay(far.Conn(), gateEnd.Conn()); err != nil {
		panic(err)
	}
	d.to.engine.accept(engineEnd)
	w.lanes = append(slices.DeleteFunc(w.lanes, (*eventloop.Socket).Closed), near)
	conn := near.Conn()
	if w.bad(noDescriptor) {
		w.note("no descriptor")
		conn = struct{ net.Conn }{conn}
	}
	d.answer <- dialled{conn: conn}
}

// settle lets goroutines do what they can, each alone.
func (w *world) settle() {
	for len(w.spawned) > 0 {
		f := w.spawned[0]
		w.spawned = w.spawned[1:]
		w.alive++
		go func() {
			f()
			w.alive--
		}()
		w.others()
	}
	w.others()
}

// others lets goroutines come to where they wait. Time passes, so that no two of them
// have the same deadline: which one would be first, nothing says.
func (w *world) others() {
	if w.alive > 0 {
		time.Sleep(time.Nanosecond)
		synctest.Wait()
	}
}

func (w *world) sleep(d time.Duration) {
	w.note("time passes", int(d))
	time.Sleep(d)
	w.settle()
}

// patience is how long an application may get nowhere: above every bound of the product
// in time, one after the other.
const patience = 3 * time.Minute

// pass lets time pass until something can happen.
func (w *world) pass(now time.Time) {
	next := time.Duration(-1)
	consider := func(d time.Duration) {
		if d >= 0 && (next < 0 || d < next) {
			next = d
		}
	}
	for loop := range w.car.Loops() {
		consider(w.car.Due(loop))
	}
	for _, g := range w.gates {
		consider(g.hand.Due())
		for _, c := range g.engine.conns {
			if d := c.due(now); d >= 0 || len(c.out) > 0 || c.s.Readable() {
				consider(max(d, g.engine.busy.Sub(now)))
			}
		}
		if len(w.dials) > 0 {
			consider(g.silent.Sub(now))
		}
	}
	for _, s := range eventloop.Arriving() {
		consider(w.frozen[s].Sub(now))
	}
	for _, a := range w.apps {
		if a.s == nil {
			w.steps = max(w.steps, a.begins)
			consider(0)
			continue
		}
		d := a.wakes(now)
		consider(d)
		if !a.done && d < 0 && now.Sub(a.since) > patience && !(a.listens && len(a.due) == 0 && !w.onlyListeners()) {
			w.fail("application %d waits for nothing: %d replies due, %d commands and %d bytes not sent\n%s", a.id, len(a.due), len(a.program), len(a.out), w.state())
			return
		}
	}
	if len(w.faults) > 0 {
		w.faults[0].step = min(w.faults[0].step, w.steps+20)
		if next < 0 {
			next = 0
		}
	}
	most := 50 * time.Millisecond
	if w.allDone() {
		most = 500 * time.Millisecond
	}
	switch {
	case w.alive > 0 && (next < 0 || next > most):
		next = most // a goroutine may have something to say
	case next < 0 && w.waits():
		w.fail("nothing will ever happen\n%s", w.state())
		return
	case next < 0:
		next = time.Second
	}
	w.sleep(next + 1)
}

// waits says whether an application does.
func (w *world) waits() bool {
	return slices.ContainsFunc(w.apps, func(a *app) bool { return !a.done })
}

// state describes what there is.
func (w *world) state() string {
	lines := w.car.Tell()
	for _, a := range w.apps {
		lines = append(lines, fmt.Sprintf("application %d: done %v, %d due, %d to come, %d bytes unsent, silent %v, half shut %v", a.id, a.done, len(a.due), len(a.program), len(a.out), a.silent, a.halfShut))
		if a.s != nil {
			lines = append(lines, fmt.Sprintf("  readable %v, sends %v, closed %v", a.s.Readable(), a.s.Sends(), a.s.Closed()))
		}
	}
	for _, g := range w.gates {
		lines = append(lines, fmt.Sprintf("gateway %s: %d relays; engine: %d connections", g.name, g.hand.Live(), len(g.engine.conns)))
		for _, c := range g.engine.conns {
			lines = append(lines, fmt.Sprintf("  connection %d: in %d, out %d, blocked %v", c.number, len(c.in), len(c.out), c.blocked != nil))
		}
	}
	lines = append(lines, fmt.Sprintf("%d dials, %d goroutines, %d sockets are written to, %d faults to come", len(w.dials), w.alive, len(eventloop.Arriving()), len(w.faults)))
	return strings.Join(lines, "\n")
}
