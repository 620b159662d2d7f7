package sidecar

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A ferry is what a sidecar's dials pass.
type ferry struct {
	lanes
	besides *UnixListener
	mu      sync.Mutex
	open    chan struct{}
}

// overFerry is a sidecar behind an open ferry.
func overFerry(t *testing.T, l Limits) (*Sidecar, *ferry) {
	t.Helper()
	f := &ferry{lanes: lanes{socket: startEngine(t)}, besides: besides(t), open: make(chan struct{})}
	close(f.open)
	car, _ := startSidecar(t, Options{Limits: l, Gateways: one(f.dial), Unix: f.besides})
	return car, f
}

func (f *ferry) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	open := f.open
	f.mu.Unlock()
	select {
	case <-open:
		return f.lanes.dial(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// shut has dials wait until they are let through.
func (f *ferry) shut(t *testing.T) (let func()) {
	open := make(chan struct{})
	f.mu.Lock()
	f.open = open
	f.mu.Unlock()
	let = sync.OnceFunc(func() { close(open) })
	t.Cleanup(let)
	return let
}

// patient is a sidecar's limits under which nobody is overtaken because the machine is
// busy.
var patient = Limits{Order: patience, Dial: patience, Drain: time.Second}

// besides is a listener whose connections keep the order of what is written to them one
// after the other, which those over TCP don't (each processor has a queue of its own),
// unless the loop has yet to hear of something else of the later one: see taken.
func besides(t *testing.T) *UnixListener {
	return &UnixListener{Path: filepath.Join(t.TempDir(), "car")}
}

// A race is what one program does over its connections, reading nothing in between.
type race struct {
	first   []string // over a, each in a write
	then    string   // over b, later
	won     func(t *testing.T, a, b *client)
	already []string // makes a's lane a private one; none: it matters that what comes first leaves
	resp3   bool     // over a
}

var (
	watching   = []string{"WATCH", "none"}
	subscribed = []string{"SUBSCRIBE", "other"}
)

var races = map[string]race{
	"subscribe":    {first: []string{"SUBSCRIBE c"}, then: "PUBLISH c m", won: heard, already: watching},
	"again":        {first: []string{"SUBSCRIBE c"}, then: "PUBLISH c m", won: heard, already: subscribed},
	"psubscribe":   {first: []string{"PSUBSCRIBE a* b* c*"}, then: "PUBLISH c m", won: heard, already: subscribed},
	"ssubscribe":   {first: []string{"SSUBSCRIBE c"}, then: "SPUBLISH c m", won: heard, already: subscribed},
	"as RESP3":     {first: []string{"SUBSCRIBE c"}, then: "PUBLISH c m", won: heard, already: subscribed, resp3: true},
	"in writes":    {first: []string{"SUBSCRIBE x", "SUBSCRIBE y", "SUBSCRIBE c"}, then: "PUBLISH c m", won: heard, already: subscribed},
	"in one write": {first: []string{"SUBSCRIBE x\nSUBSCRIBE y z\nPING\nSUBSCRIBE c"}, then: "PUBLISH c m", won: heard, already: subscribed},
	"behind others": {first: []string{"PING\nPING\nSUBSCRIBE c"}, then: "PUBLISH c m", won: func(t *testing.T, a, b *client) {
		heard(t, a, b)
		a.reply()
		a.reply()
	}, already: watching},
	"blpop": {first: []string{"BLPOP q 0"}, then: "RPUSH q x\nLLEN q", won: func(t *testing.T, a, b *client) {
		b.reply()
		if got := b.reply(); got != ":0\r\n" {
			t.Errorf("LLEN: %q", got)
		}
		a.reply()
	}},
	"xread": {first: []string{"XREAD BLOCK 0 STREAMS s $"}, then: "XADD s * f v", won: func(t *testing.T, a, b *client) {
		b.reply()
		if got := a.reply(); !strings.Contains(got, "$1\r\nv\r\n") {
			t.Errorf("XREAD: %q", got)
		}
	}, already: watching},
	"watch": {first: []string{"WATCH k"}, then: "SET k theirs", won: func(t *testing.T, a, b *client) {
		a.reply()
		b.reply()
		a.expect("+OK\r\n", "MULTI")
		a.expect("+QUEUED\r\n", "SET", "k", "mine")
		a.expect("*-1\r\n", "EXEC")
	}},
	"tracking": {first: []string{"CLIENT TRACKING ON BCAST"}, then: "SET t theirs", won: func(t *testing.T, a, b *client) {
		a.reply()
		b.reply()
		if got := a.reply(); !strings.Contains(got, "invalidate") {
			t.Errorf("%q", got)
		}
	}, already: watching, resp3: true},

	"tracked": {first: []string{"CLIENT TRACKING ON", "GET t"}, then: "SET t theirs", won: func(t *testing.T, a, b *client) {
		a.reply()
		a.reply()
		b.reply()
		if got := a.reply(); !strings.Contains(got, "invalidate") {
			t.Errorf("%q", got)
		}
	}, resp3: true},
	"eval":  {first: []string{"EVAL redis.call('set','e',1) 0"}, then: "GET e", won: answered("$1\r\n1\r\n")},
	"multi": {first: []string{"WATCH w\nMULTI\nSET m 1\nEXEC"}, then: "GET m", won: answered("$1\r\n1\r\n")},
	"large": {first: []string{"SET l " + strings.Repeat("x", maxShared)}, then: "STRLEN l", won: answered(":65536\r\n")},
}

// heard: somebody has heard what b has published.
func heard(t *testing.T, a, b *client) {
	t.Helper()
	if got := b.reply(); got != ":1\r\n" {
		t.Errorf("%q have heard it", got)
	}
}

func answered(want string) func(*testing.T, *client, *client) {
	return func(t *testing.T, _, b *client) {
		t.Helper()
		if got := b.reply(); got != want {
			t.Errorf("%q", got)
		}
	}
}

func (r race) start(a, b *client) {
	for _, w := range r.first {
		a.write(script(w))
	}
	b.write(script(r.then))
}

// apart has two connections of one application. The first speaks RESP3, if it must.
func (r race) apart(t *testing.T, on *UnixListener) (a, b *client) {
	a, b = dialUnix(t, on.Path).login(), dialUnix(t, on.Path).login()
	if r.resp3 {
		a.do("HELLO", "3")
	}
	return a, b
}

// TestNobodyOvertakesWhoIsOnTheWayToALane, though it takes its time to dial: what others
// send over the shared lane, or over a private one, comes later.
func TestNobodyOvertakesWhoIsOnTheWayToALane(t *testing.T) {
	for name, r := range races {
		for from, there := range map[string]func(*client){"shared": func(*client) {}, "private": func(b *client) { b.expect("+OK\r\n", "WATCH", "none") }} {
			t.Run(name+" from "+from, func(t *testing.T) {
				car, ferry := overFerry(t, patient)
				a, b := r.apart(t, ferry.besides)
				there(b)
				let := ferry.shut(t)
				taken(t, car)
				r.start(a, b)
				taken(t, car)
				let()
				r.won(t, a, b)
			})
		}
	}
}

// TestNobodyOvertakesAPrivateLane: what is listened to there is in force before what
// others send later, though the lane is slow.
func TestNobodyOvertakesAPrivateLane(t *testing.T) {
	for name, r := range races {
		if r.already == nil {
			continue
		}
		for from, there := range map[string]func(*client){"shared": func(*client) {}, "private": func(b *client) { b.expect("+OK\r\n", "WATCH", "none") }} {
			t.Run(name+" from "+from, func(t *testing.T) {
				let, held := make(chan struct{}), make(chan struct{}, 100)
				lines := strings.Split(strings.Join(r.first, "\n"), "\n")
				listens := script(lines[len(lines)-1])
				m := startMeddler(t, startEngine(t), passOn)
				m.hold = func(commands []byte) {
					if bytes.Contains(commands, listens) {
						held <- struct{}{}
						<-let
					}
				}
				open := sync.OnceFunc(func() { close(let) })
				defer open()
				on := besides(t)
				car, _ := startSidecar(t, Options{Gateways: one((&lanes{socket: m.socket}).dial), Limits: patient, Unix: on})
				a, b := r.apart(t, on)
				a.do(r.already...)
				there(b)
				taken(t, car)
				r.start(a, b)
				<-held
				taken(t, car)
				open()
				r.won(t, a, b)
			})
		}
	}
}
