package lane_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/lane"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A client checks that it gets its own replies, each once, in order.
type client struct {
	id       int
	sent     int // commands and answers so far
	got      []byte
	answered int
	failed   int
	torn     bool
}

// reply is what the engine answers this client's n-th command: its own name in
// it, at times large, at times an error or an array.
func (c *client) reply(n int) string {
	text := fmt.Sprintf("c%d-%d", c.id, n)
	switch n % 7 {
	case 0:
		return "-ERR " + text + "\r\n"
	case 1:
		return "*3\r\n$-1\r\n:5\r\n+" + text + "\r\n"
	case 2:
		text += strings.Repeat("x", 3000)
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	}
	return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
}

func (c *client) Deliver(b []byte, n int) {
	c.got = append(c.got, b...)
	c.answered += n
}

func (c *client) Fail(n int, how lane.Failure) {
	c.failed += n
	c.torn = c.torn || how == lane.Torn
}

// owed is how many replies the client waits for.
func (c *client) owed() int { return c.sent - c.answered - c.failed }

// crossed says whether the client got a byte that isn't the beginning of what
// it must get.
func (c *client) crossed() error {
	var want []byte
	for n := 0; len(want) < len(c.got); n++ {
		if n > c.sent {
			return fmt.Errorf("client %d got more than it asked for", c.id)
		}
		want = append(want, c.reply(n)...)
	}
	if !bytes.HasPrefix(want, c.got) {
		return fmt.Errorf("client %d got what isn't its own, or not in order", c.id)
	}
	return nil
}

// An engine answers what a lane sends: GET with the client's reply, ECHO with
// its argument. Spoiled makes it misbehave.
type engine struct {
	in, out bytes.Buffer
	spoil   func(reply string) string
	clients []*client
}

func (e *engine) work() {
	var s resp.CommandScanner
	s.Authenticated = true
	for {
		b := e.in.Bytes()
		h, outcome := s.Head(b)
		if outcome != resp.Whole {
			return
		}
		n, outcome := s.Body(b[h.Len:])
		if outcome != resp.Whole {
			return
		}
		args := resp.Args(nil, e.in.Next(h.Len+n))
		reply := ""
		if string(args[0]) == "ECHO" {
			reply = fmt.Sprintf("$%d\r\n%s\r\n", len(args[1]), args[1])
		} else {
			var id, n int
			fmt.Sscanf(string(args[1]), "c%d-%d", &id, &n)
			reply = e.clients[id].reply(n)
		}
		e.out.WriteString(e.spoil(reply))
	}
}

// simulate drives a lane with random clients over an engine, cut anywhere. It
// ends when the lane is at fault, or all is done.
func simulate(r *rand.Rand, perClient bool, spoil func(string) string) (clients []*client, fault error) {
	l := lane.New()
	l.FencePerClient = perClient
	for id := range 1 + r.IntN(8) {
		clients = append(clients, &client{id: id})
	}
	e := &engine{clients: clients, spoil: spoil}
	now := time.Unix(0, 0)
	for turn := 0; turn < 200 || !l.Idle(); turn++ {
		if turn > 1000 {
			return clients, errors.New("the lane is stuck")
		}
		for range r.IntN(4) {
			if turn < 200 {
				act(r, l, clients[r.IntN(len(clients))])
			}
		}
		now = now.Add(time.Duration(r.IntN(100)) * time.Microsecond)
		if turn >= 200 { // nothing else is sent any more
			now = now.Add(time.Second)
		}
		if l.Due(now) == 0 {
			e.in.Write(l.Flush())
		}
		e.work()
		if r.IntN(3) > 0 {
			for range 1 + r.IntN(3) {
				buf := l.Buffer()
				n := copy(buf, e.out.Next(1+r.IntN(1+r.IntN(len(buf)))))
				if n == 0 {
					break
				}
				if err := l.Received(n); err != nil {
					l.Abandon()
					return clients, err
				}
			}
			l.Settle()
		}
	}
	return clients, nil
}

// act has a client send a few commands, or be answered by us.
func act(r *rand.Rand, l *lane.Lane, c *client) {
	if r.IntN(5) == 0 && c.owed() > 0 {
		l.Answer(c, []byte(c.reply(c.sent)))
		c.sent++
		return
	}
	for range 1 + r.IntN(5) {
		name := fmt.Sprintf("c%d-%d", c.id, c.sent)
		l.Send(c, fmt.Appendf(nil, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(name), name), 1)
		c.sent++
	}
}

const runs = 80

func TestEveryClientGetsItsOwnRepliesInOrder(t *testing.T) {
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 1))
		clients, err := simulate(r, seed%2 == 0, func(reply string) string { return reply })
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, c := range clients {
			if err := c.crossed(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if c.owed() != 0 || c.failed != 0 {
				t.Fatalf("seed %d: client %d of %d: %d answered, %d failed", seed, c.id, c.sent, c.answered, c.failed)
			}
		}
	}
}

// TestAMisbehavingEngineNeverCrossesReplies: it doubles, drops, tears and
// injects replies at random.
func TestAMisbehavingEngineNeverCrossesReplies(t *testing.T) {
	faults := 0
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 2))
		spoiled := false
		spoil := func(reply string) string {
			if spoiled || r.IntN(60) != 0 {
				return reply
			}
			spoiled = true
			switch r.IntN(6) {
			case 0:
				return reply + reply
			case 1:
				return ""
			case 2:
				return reply[:r.IntN(len(reply))]
			case 3:
				return "+injected\r\n" + reply
			case 4:
				return reply + ">2\r\n+invalidate\r\n*0\r\n"
			default:
				return reply + "$16\r\n0123456789abcdef\r\n"
			}
		}
		clients, err := simulate(r, seed%2 == 0, spoil)
		if spoiled && err != nil {
			faults++
		}
		for _, c := range clients {
			// A lone client may see its own spoiled reply; nobody sees another's.
			for _, other := range clients {
				if other != c && bytes.Contains(c.got, fmt.Appendf(nil, "c%d-", other.id)) {
					t.Fatalf("seed %d: client %d got bytes of client %d (fault: %v)", seed, c.id, other.id, err)
				}
			}
			if err != nil && c.owed() > 0 && !strings.Contains(err.Error(), "stuck") {
				t.Fatalf("seed %d: client %d is left waiting for %d after %v", seed, c.id, c.owed(), err)
			}
		}
	}
	if faults < runs/4 {
		t.Fatalf("only %d faults were seen in %d runs: is anything spoiled?", faults, runs)
	}
	t.Logf("%d lanes closed themselves in %d runs", faults, runs)
}

// TestFencePerClientSeesASwapThatKeepsTheCount: what batch fences can't see.
func TestFencePerClientSeesASwapThatKeepsTheCount(t *testing.T) {
	for _, perClient := range []bool{false, true} {
		crossed := false
		for seed := range uint64(60) {
			r := rand.New(rand.NewPCG(seed, 3))
			count := 0
			spoil := func(reply string) string {
				if strings.HasPrefix(reply, "$16\r\n") { // fences pass
					return reply
				}
				switch count++; count {
				case 40:
					return ""
				case 42:
					return "+injected\r\n" + reply
				}
				return reply
			}
			clients, _ := simulate(r, perClient, spoil)
			for _, c := range clients {
				for _, other := range clients {
					crossed = crossed || other != c && bytes.Contains(c.got, fmt.Appendf(nil, "c%d-", other.id))
				}
			}
		}
		if perClient && crossed {
			t.Error("with a fence for each client replies were crossed")
		}
		if !perClient && !crossed {
			t.Error("the control: with batch fences this attack must cross replies, or the test proves nothing")
		}
	}
}

func TestALoneClientPaysForNoFence(t *testing.T) {
	l, c := lane.New(), &client{}
	fences := 0
	for n := range 100 {
		name := fmt.Sprintf("c0-%d", n)
		l.Send(c, fmt.Appendf(nil, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(name), name), 1)
		c.sent++
		e := &engine{clients: []*client{c}, spoil: func(r string) string { return r }}
		batch := l.Flush()
		fences += bytes.Count(batch, []byte("ECHO"))
		e.in.Write(batch)
		e.work()
		if err := l.Received(copy(l.Buffer(), e.out.Bytes())); err != nil {
			t.Fatal(err)
		}
		if c.owed() != 0 {
			t.Fatal("the reply is held")
		}
	}
	if fences != 1 {
		t.Fatalf("%d fences for 100 commands of a lone client, want the first one only", fences)
	}
}

// A sink counts what it is given.
type sink struct{ bytes int }

func (s *sink) Deliver(b []byte, _ int) { s.bytes += len(b) }
func (s *sink) Fail(int, lane.Failure)  {}

func TestALargeReplyOfALoneClientIsNotHeld(t *testing.T) {
	l, c := lane.New(), &sink{}
	l.Send(c, []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 1)
	batch := l.Flush()
	echo := batch[len(batch)-len("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")-16-2:][:16]
	receive := func(s []byte) {
		for len(s) > 0 {
			n := copy(l.Buffer(), s)
			s = s[n:]
			if err := l.Received(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	receive(fmt.Appendf(nil, "$16\r\n%s\r\n$100000000\r\n", echo))
	chunk := bytes.Repeat([]byte("v"), 1<<20)
	for i := range 100 {
		receive(chunk[:1_000_000])
		if c.bytes < (i+1)*1_000_000 {
			t.Fatal("a part of the reply is held")
		}
		if i > 2 && cap(l.Buffer()) > 1<<20 {
			t.Fatalf("the buffer has grown to %d", cap(l.Buffer()))
		}
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	l := lane.New()
	a, b := &client{id: 0}, &client{id: 1}
	l.Send(a, []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 1)
	l.Send(b, []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), 1)
	l.Flush()
	header := "$1\r\nv\r\n$1000000000\r\n"
	if err := l.Received(copy(l.Buffer(), header)); err != nil {
		t.Fatal(err)
	}
	for received := 0; received < 2*lane.MaxHeld; {
		n := len(l.Buffer())
		received += n
		if err := l.Received(n); err != nil {
			t.Fatal(err)
		}
		if held := len(l.Buffer()); held > 3*lane.MaxHeld {
			t.Fatalf("%d bytes are held", held)
		}
	}
}

// TestWhatCantBeHeldCostsItsClientAlone: the reply is dropped, and the others get
// theirs once the fence has vouched for them.
func TestWhatCantBeHeldCostsItsClientAlone(t *testing.T) {
	l := lane.New()
	a, b, large := &client{id: 0}, &client{id: 1}, &client{id: 2}
	get := []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	l.Send(a, get, 1)
	l.Send(large, get, 1)
	l.Send(b, get, 1)
	batch := l.Flush()
	receive := func(s []byte) {
		for len(s) > 0 {
			n := copy(l.Buffer(), s)
			s = s[n:]
			if err := l.Received(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	receive([]byte(a.reply(0)))
	receive(fmt.Appendf(nil, "$%d\r\n", 3*lane.MaxHeld))
	for range 3 * lane.MaxHeld / (1 << 20) {
		receive(make([]byte, 1<<20))
	}
	receive([]byte("\r\n" + b.reply(0)))
	if len(a.got)+len(b.got)+len(large.got)+large.failed > 0 {
		t.Fatal("something was given before the fence")
	}
	receive([]byte("$16\r\n" + string(batch[len(batch)-18:])))
	if string(a.got) != a.reply(0) || string(b.got) != b.reply(0) || large.failed != 1 || len(large.got) > 0 {
		t.Errorf("%q, %q; the large one: %d failed, %d bytes", a.got, b.got, large.failed, len(large.got))
	}
	if !l.Idle() {
		t.Error("something is still owed")
	}
}

// FuzzReceived: whatever an engine sends, no panic, and nothing for a client
// before a fence was passed, which nobody can guess.
func FuzzReceived(f *testing.F) {
	f.Add([]byte("$16\r\n0123456789abcdef\r\n+OK\r\n"), uint8(3))
	f.Add([]byte("+OK\r\n+OK\r\n$-1\r\n"), uint8(1))
	f.Add([]byte(">2\r\n+a\r\n+b\r\n"), uint8(200))
	f.Add([]byte("-BUSY x\r\n-BUSY x\r\n-BUSY x\r\n-BUSY x\r\n"), uint8(200))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		for _, mixed := range []bool{false, true} {
			l, a, b := lane.New(), &client{id: 0}, &client{id: 1}
			l.Send(a, []byte("*1\r\n$4\r\nPING\r\n"), 1)
			if mixed {
				l.Send(b, []byte("*1\r\n$4\r\nPING\r\n"), 1)
			}
			l.Flush()
			for rest := data; len(rest) > 0; {
				n := copy(l.Buffer(), rest[:min(len(rest), 1+int(size))])
				rest = rest[n:]
				if l.Received(n) != nil {
					break
				}
			}
			l.Abandon()
			if all := append(a.got, b.got...); len(all) > 0 && !onlyStates(all) {
				t.Fatalf("delivered %q and %q without a fence", a.got, b.got)
			}
		}
	})
}

// onlyStates says whether all of it is the engine's state, which may reach anybody.
func onlyStates(b []byte) bool {
	for line := range strings.SplitAfterSeq(string(b), "\r\n") {
		if line != "" && !strings.HasPrefix(line, "-BUSY ") && !strings.HasPrefix(line, "-LOADING ") && !strings.HasPrefix(line, "-MASTERDOWN ") {
			return false
		}
	}
	return true
}

// TestAnEngineThatIsBusyForAWhileLosesNoLane: for its state it answers nothing, the
// fences neither. That is told to those who asked, and nothing is crossed by it.
func TestAnEngineThatIsBusyForAWhileLosesNoLane(t *testing.T) {
	refused := 0
	for _, state := range []string{"-BUSY Redis is busy running a script.\r\n", "-LOADING Redis is loading the dataset in memory\r\n", "-MASTERDOWN Link with MASTER is down.\r\n"} {
		for seed := range uint64(runs) {
			r := rand.New(rand.NewPCG(seed, 4))
			left := 0
			clients, err := simulate(r, seed%2 == 0, func(reply string) string {
				if left == 0 && r.IntN(30) == 0 {
					left = r.IntN(60)
				}
				if left > 0 {
					left--
					return state
				}
				return reply
			})
			if err != nil {
				t.Fatalf("%q, seed %d: %v", state, seed, err)
			}
			for _, c := range clients {
				refused += bytes.Count(c.got, []byte(state))
				if c.owed() != 0 || c.failed != 0 {
					t.Fatalf("seed %d: client %d of %d: %d answered, %d failed", seed, c.id, c.sent, c.answered, c.failed)
				}
				for _, other := range clients {
					if other != c && bytes.Contains(c.got, fmt.Appendf(nil, "c%d-", other.id)) {
						t.Fatalf("seed %d: client %d got bytes of client %d", seed, c.id, other.id)
					}
				}
			}
		}
	}
	if refused < runs {
		t.Errorf("%d refusals: was it ever busy?", refused)
	}
}

// TestABusyEngineIsToldAtOnce: where all that a batch got is the engine's state,
// nobody has to wait for its end.
func TestABusyEngineIsToldAtOnce(t *testing.T) {
	const busy = "-BUSY x\r\n"
	l := lane.New()
	a, b := &client{id: 0}, &client{id: 1}
	for range 3 {
		l.Send(a, []byte("*1\r\n$4\r\nPING\r\n"), 1)
		l.Send(b, []byte("*1\r\n$4\r\nPING\r\n"), 1)
		l.Flush()
		if err := l.Received(copy(l.Buffer(), busy+busy+busy)); err != nil {
			t.Fatal(err)
		}
	}
	if string(a.got) != busy+busy+busy || string(b.got) != busy+busy+busy {
		t.Errorf("%q, %q", a.got, b.got)
	}
}

// TestASlipUnderABusyEngineIsSeen: a reply too many in front of what the engine says
// of its state is a fault, as ever.
func TestASlipUnderABusyEngineIsSeen(t *testing.T) {
	l := lane.New()
	a, b := &client{id: 0}, &client{id: 1}
	l.Send(a, []byte("*1\r\n$4\r\nPING\r\n"), 1)
	l.Send(b, []byte("*1\r\n$4\r\nPING\r\n"), 1)
	l.Flush()
	err := l.Received(copy(l.Buffer(), "+one\r\n+two\r\n+three\r\n-BUSY x\r\n"))
	if !errors.Is(err, lane.ErrFence) || len(a.got)+len(b.got) > 0 {
		t.Errorf("%v, %q, %q", err, a.got, b.got)
	}
}

// TestARunOfRepliesIsOneDelivery: each is a system call, so what came of a
// client's replies in pieces, a record at a time, is handed out at once.
func TestARunOfRepliesIsOneDelivery(t *testing.T) {
	l := lane.New()
	a, b := &counting{}, &counting{}
	l.Send(a, []byte("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n"), 2)
	l.Send(b, []byte("*1\r\n$4\r\nPING\r\n"), 1)
	batch := l.Flush()
	echo := "$16\r\n" + string(batch[len(batch)-18:])
	for _, piece := range []string{"+PO", "NG\r\n", "+PONG\r", "\n+PO", "NG\r\n", echo[:5], echo[5:]} {
		if err := l.Received(copy(l.Buffer(), piece)); err != nil {
			t.Fatal(err)
		}
	}
	if a.deliveries != 1 || a.replies != 2 || b.deliveries != 1 || b.replies != 1 {
		t.Errorf("deliveries and replies: %+v and %+v, want 1 and 2, 1 and 1", a, b)
	}
}

type counting struct{ deliveries, replies int }

func (c *counting) Deliver(b []byte, n int)    { c.deliveries, c.replies = c.deliveries+1, c.replies+n }
func (c *counting) Fail(n int, _ lane.Failure) {}

// TestABatchOfLargeRepliesIsSmall: once replies have proved large, few fill a
// batch; while one batch is handed out, the next is on its way.
func TestABatchOfLargeRepliesIsSmall(t *testing.T) {
	l := lane.New()
	a, b := &counting{}, &counting{}
	get := []byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	value := strings.Repeat("v", 64<<10)
	reply := fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	for range 20 { // they learn from what came
		l.Send(a, get, 1)
		l.Send(b, get, 1)
		batch := l.Flush()
		for rest := reply + reply + "$16\r\n" + string(batch[len(batch)-18:]); rest != ""; {
			n := copy(l.Buffer(), rest)
			if err := l.Received(n); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	commands := 0
	for ; !l.Full(); commands++ {
		l.Send([]lane.Client{a, b}[commands%2], get, 1)
	}
	if commands < 2 || commands > 5 {
		t.Errorf("%d replies of 64 KB fill a batch", commands)
	}
}

// TestLargeCommandsNeedNoMemoryEach: what one batch needed is there for the next,
// and is given back when batches have become small.
func TestLargeCommandsNeedNoMemoryEach(t *testing.T) {
	const rounds, clients, size = 100, 10, 60 << 10
	l, all := lane.New(), [clients]counting{}
	round := func(command []byte) (room int) {
		for i := range all {
			l.Send(&all[i], command, 1)
		}
		batch := l.Flush()
		n := 0
		for range all {
			n += copy(l.Buffer()[n:], "+OK\r\n")
		}
		n += copy(l.Buffer()[n:], "$16\r\n")
		n += copy(l.Buffer()[n:], batch[len(batch)-18:])
		if err := l.Received(n); err != nil {
			t.Fatal(err)
		}
		return cap(batch)
	}
	set := fmt.Appendf(nil, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))
	round(set) // makes the room
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round(set)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > 1<<10 {
		t.Errorf("%d bytes are allocated for each batch", each)
	}
	room := 0
	for range 500 {
		room = round([]byte("*1\r\n$4\r\nPING\r\n"))
	}
	if room > 64<<10 {
		t.Errorf("%d bytes are kept for small batches", room)
	}
	for i := range all {
		if n := all[i].replies; n != 1+rounds+500 {
			t.Errorf("client %d has %d replies", i, n)
		}
	}
}

func BenchmarkBatchOf16Clients(b *testing.B) {
	l := lane.New()
	clients := make([]*client, 16)
	for i := range clients {
		clients[i] = &client{id: i}
	}
	command := []byte("*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n")
	reply := []byte("$256\r\n" + strings.Repeat("v", 256) + "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range clients {
			c.got = c.got[:0]
			l.Send(c, command, 1)
		}
		batch := l.Flush()
		buf := l.Buffer()
		n := 0
		for range clients {
			n += copy(buf[n:], reply)
		}
		nonce := batch[len(batch)-18 : len(batch)-2]
		n += copy(buf[n:], "$16\r\n")
		n += copy(buf[n:], nonce)
		n += copy(buf[n:], "\r\n")
		if err := l.Received(n); err != nil {
			b.Fatal(err)
		}
	}
}
