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
	"strconv"
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
	shuffle func(n int, swap func(i, j int))
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
	alive   int  // goroutines
	acted   bool // one of them has
	made    int  // connections
	rooms   []int
	tick    int // one in so many steps a little time passes

	faults []fault
	struck bool // something has failed
	lost   bool // an engine has lost its data
	frozen map[*eventloop.Socket]time.Duration
	taken  map[string]bool // elements of lists
	takes  int
	acts   []act
}

// gate is a gateway with its engine.
type gate struct {
	name    string
	hand    *gateway.ByHand
	engine  *engine
	down    time.Duration // until then nobody listens
	silent  time.Duration // until then nobody answers
	revoked time.Duration
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

// act is what may happen next, to which of its kind. An engine's connection is its
// gateway's.
type act struct {
	kind     actKind
	gate, of int32
}

type actKind int32

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
		frozen: map[*eventloop.Socket]time.Duration{}, taken: map[string]bool{}}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	w.shuffle = w.rng.Shuffle
	rand.Reader = seeded{mathrand.NewChaCha8(key)}
	eventloop.Begin(w.rng.IntN)
	recollect()
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
		if now() < g.revoked {
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
		w.trace(fmt.Sprintf("%6d %12v  ", w.steps, now()) + fmt.Sprintf(format, a...))
	}
}

// epoch is when synctest's time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// now is how long a world has been there: all its times are told so.
func now() time.Duration { return time.Duration(time.Now().UnixNano() - epoch) }

// note adds to the hash of all that has happened.
func (w *world) note(what string, n ...int) {
	for i := range len(what) {
		w.hash = (w.hash ^ uint64(what[i])) * 1099511628211
	}
	for _, k := range n {
		w.hash = (w.hash ^ uint64(k)) * 1099511628211
	}
	if w.trace != nil {
		w.tell("%s %d", what, slices.Clone(n)) // n itself stays on the stack
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
	late := now() + 2*time.Minute
	for w.failure == "" && !w.empty() {
		if now() > late {
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
	at := now()
	w.strike(at)
	if w.chance(w.tick) {
		w.sleep(time.Duration(w.rng.IntN(3_000_000)))
		at = now()
	}
	w.list(at)
	if len(w.acts) == 0 {
		w.pass(at)
	} else {
		w.do(w.acts[w.rng.IntN(len(w.acts))], at)
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
func (w *world) list(now time.Duration) {
	w.acts = w.acts[:0]
	for i, s := range eventloop.Arriving() {
		if len(w.frozen) == 0 || now >= w.frozen[s] {
			w.may(arrives, 0, i)
		}
	}
	for loop := range w.car.Loops() {
		if w.car.Ready(loop) {
			w.may(carTurns, 0, loop)
		}
	}
	for i, g := range w.gates {
		if g.hand.Ready() {
			w.may(gateTurns, i, 0)
		}
		if now < g.engine.busy {
			continue
		}
		for k, c := range g.engine.conns {
			if c.ready(now) {
				w.may(engineTurns, i, k)
			}
		}
	}
	for i, a := range w.apps {
		if a.s == nil && w.steps >= a.begins || a.s != nil && a.ready(now) {
			w.may(appTurns, 0, i)
		}
	}
	for i, d := range w.dials {
		if now >= d.to.silent {
			w.may(dialEnds, 0, i)
		}
	}
}

func (w *world) may(kind actKind, gate, of int) {
	w.acts = append(w.acts, act{kind, int32(gate), int32(of)})
}

func (w *world) do(a act, now time.Duration) {
	switch a.kind {
	case arrives:
		s := eventloop.Arriving()[a.of]
		n := s.OnTheWay()
		switch w.rng.IntN(16) {
		case 0:
			n = min(n, 1)
		case 1, 2:
			n = w.rng.IntN(n + 1)
		}
		w.noteOf("arrives at", s, n)
		s.Deliver(n)
	case carTurns:
		w.note("sidecar turns", int(a.of))
		w.car.Turn(int(a.of), w.shuffle)
		w.others()
	case gateTurns:
		w.note("gateway turns", int(a.gate))
		w.gates[a.gate].hand.Turn()
	case engineTurns:
		c, most := w.gates[a.gate].engine.conns[a.of], len(w.buf)
		if w.chance(4) {
			most = 1 + w.rng.IntN(1000)
		}
		w.note("engine turns", c.number, most)
		c.turn(now, most)
	case appTurns:
		if a := w.apps[a.of]; a.s == nil {
			w.connect(a)
		} else {
			a.turn(now)
		}
	case dialEnds:
		w.answer(w.dials[a.of], now)
		w.others()
	}
	if eventloop.Stirred() {
		w.others()
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
	app, car := eventloop.Pair("application "+strconv.Itoa(a.id), w.chance(2), w.room(), w.room())
	a.s, a.since = app, now()
	w.note("connects", a.id)
	w.car.Welcome(car.FD())
}

// dialled is the sidecar's dial, in a goroutine of its own.
func (w *world) dialled(ctx context.Context, to *gate) (net.Conn, error) {
	d := &dial{to, make(chan dialled, 1)}
	w.dials = append(w.dials, d)
	w.acted = true
	select {
	case r := <-d.answer:
		return r.conn, r.err
	case <-ctx.Done():
		w.dials = slices.DeleteFunc(w.dials, func(other *dial) bool { return other == d })
		w.acted = true
		return nil, ctx.Err()
	}
}

// answer ends a dial.
func (w *world) answer(d *dial, now time.Duration) {
	w.dials = slices.DeleteFunc(w.dials, func(other *dial) bool { return other == d })
	if now < d.to.down {
		w.note("refuses " + d.to.name)
		d.answer <- dialled{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
		return
	}
	w.made++
	w.note("accepts "+d.to.name, w.made)
	near, far := eventloop.Pair("lane "+strconv.Itoa(w.made), false, w.room(), w.room())
	gateEnd, engineEnd := eventloop.Pair("engine "+strconv.Itoa(w.made), true, 4096+w.room(), 4096+w.room())
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

// others lets goroutines come to where they wait, those that are to be begun each alone.
// What may have given one something to do is followed by it.
func (w *world) others() {
	for len(w.spawned) > 0 {
		f := w.spawned[0]
		w.spawned = w.spawned[1:]
		w.alive++
		w.acted = true
		go func() {
			f()
			w.alive--
			w.acted = true
		}()
		w.await()
	}
	w.await()
}

// await waits for goroutines. If one has done anything, time passes, so that no two of them
// have the same deadline: which one would be first, nothing says.
func (w *world) await() {
	if w.alive == 0 && !w.acted {
		return
	}
	synctest.Wait()
	for eventloop.Acted() || w.acted {
		w.acted = false
		time.Sleep(time.Nanosecond)
		synctest.Wait()
	}
}

func (w *world) sleep(d time.Duration) {
	w.note("time passes", int(d))
	time.Sleep(d)
	w.others()
}

// patience is how long an application may get nowhere: above every bound of the product
// in time, one after the other.
const patience = 3 * time.Minute

// pass lets time pass until something can happen.
func (w *world) pass(now time.Duration) {
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
				consider(max(d, g.engine.busy-now))
			}
		}
		if len(w.dials) > 0 {
			consider(g.silent - now)
		}
	}
	for _, s := range eventloop.Arriving() {
		consider(w.frozen[s] - now)
	}
	for _, a := range w.apps {
		if a.s == nil {
			w.steps = max(w.steps, a.begins)
			consider(0)
			continue
		}
		d := a.wakes(now)
		consider(d)
		if !a.done && d < 0 && now-a.since > patience && !(a.listens && len(a.due) == 0 && !w.onlyListeners()) {
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
