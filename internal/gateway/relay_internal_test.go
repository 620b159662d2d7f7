package gateway

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// bench is a loop that a test turns by hand, and what to make relays of.
type bench struct {
	*loop
	loops           *loops // all of them, where several run
	t               *testing.T
	server, client  *tls.Config
	tunnels, engine net.Listener
	helpers         sync.WaitGroup
}

func newBench(t *testing.T) *bench {
	t.Helper()
	loops, err := newLoops(func(*about) error { return nil }, func(*relay) {})
	must(t, err)
	b := &bench{loop: loops.all[0], loops: loops, t: t}
	ca, err := pki.Create(t.TempDir(), "clinic", pki.Options{})
	must(t, err)
	gateway := credentials(t, ca, "spiffe://clinic/gateway/cache")
	b.server = gateway.ServerConfig()
	b.client = credentials(t, ca, "spiffe://clinic/app/web").ClientConfig(gateway.ID())
	b.tunnels, err = tunnel.Listen(context.Background(), "127.0.0.1:0")
	must(t, err)
	b.engine, err = net.Listen("unix", filepath.Join(t.TempDir(), "engine.sock"))
	must(t, err)
	t.Cleanup(func() {
		b.tunnels.Close()
		b.engine.Close()
		for _, p := range b.places {
			if p.relay != nil {
				b.bury(p.relay)
			}
		}
		b.helpers.Wait() // their sockets are closed now
		b.farewells.Wait()
		loops.close()
	})
	return b
}

func credentials(t *testing.T, ca *pki.CA, uri string) *tunnel.Credentials {
	t.Helper()
	id, err := identity.Parse(uri)
	must(t, err)
	leaf, err := ca.Issue(pki.Request{ID: id})
	must(t, err)
	dir := t.TempDir()
	must(t, leaf.Save(dir))
	c, err := tunnel.LoadCredentials(tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt")})
	must(t, err)
	return c
}

// relay hands a new connection over and returns its two far ends.
func (b *bench) relay() (r *relay, peer *tls.Conn, engine net.Conn) {
	b.t.Helper()
	r, peer, engine = b.connect()
	b.carries.Add(1)
	b.settle(r)
	b.turn()
	return r, peer, engine
}

// connect makes what can be handed over.
func (b *bench) connect() (r *relay, peer *tls.Conn, engine net.Conn) {
	b.t.Helper()
	far, near := connect(b.t, b.tunnels)
	peer = tls.Client(far, b.client)
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	wire := eventloop.NewWire(near)
	conn := tls.Server(wire, b.server)
	must(b.t, conn.Handshake())
	must(b.t, <-shaken)
	ours, engine := connect(b.t, b.engine)
	r, err := newRelay(about{}, conn, wire, ours)
	must(b.t, err)
	return r, peer, engine
}

func connect(t *testing.T, l net.Listener) (dialled, accepted net.Conn) {
	t.Helper()
	dialled, err := net.Dial(l.Addr().Network(), l.Addr().String())
	must(t, err)
	accepted, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

// until turns until f says true.
func (b *bench) until(what string, f func() bool) {
	b.t.Helper()
	for late := time.Now().Add(time.Minute); !f(); b.turn() {
		if time.Now().After(late) {
			b.t.Fatal("never: " + what)
		}
		b.enqueueAll()
	}
}

// enqueueAll keeps turn from sleeping for ever on what doesn't happen.
func (b *bench) enqueueAll() {
	for _, p := range b.places {
		if p.relay != nil {
			b.enqueue(p.relay)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFloodNextDoorCostsAConnectionATurnAtMost: whoever has all the bytes in the
// world gets a chunk a turn, each way, and a neighbour is served in the turn in
// which its byte arrives.
func TestAFloodNextDoorCostsAConnectionATurnAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		from  func(peer *tls.Conn, engine net.Conn) (source, sink net.Conn)
		piece int
		moved func(*relay) int64
		most  int64
	}{
		"of a peer":     {thePeer, 1 << 20, func(r *relay) int64 { return r.in.bytes }, chunkSize},
		"of the engine": {theEngine, 1 << 20, func(r *relay) int64 { return r.out.bytes }, chunkSize},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			flooder, peer, engine := b.relay()
			neighbour, neighbourPeer, _ := b.relay()
			source, sink := c.from(peer, engine)
			b.helpers.Go(func() { pour(source, c.piece) })
			b.helpers.Go(func() { io.Copy(io.Discard, sink) })
			b.until("the flood", func() bool { return c.moved(flooder) > 20*c.most })
			for i := range int64(100) {
				_, err := neighbourPeer.Write([]byte("p"))
				must(t, err)
				arrives(t, neighbour)
				before := c.moved(flooder)
				b.turn()
				if neighbour.in.bytes != i+1 {
					b.until("the neighbour's byte", func() bool { return neighbour.in.bytes == i+1 })
					t.Errorf("byte %d had to wait for another turn", i)
				}
				if moved := c.moved(flooder) - before; moved > c.most {
					t.Fatalf("%d bytes in a turn", moved)
				}
			}
		})
	}
}

// arrives waits until the kernel has a peer's byte for its relay: it may be late with
// what comes over loopback, too.
func arrives(t *testing.T, r *relay) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(r.peerFD), Events: unix.POLLIN}}
	for late := time.Now().Add(time.Minute); ; {
		n, err := unix.Poll(fds, 1000)
		if n == 1 {
			return
		}
		if err != nil && err != unix.EINTR || time.Now().After(late) {
			t.Fatalf("nothing arrives: %v", err)
		}
	}
}

func thePeer(peer *tls.Conn, engine net.Conn) (source, sink net.Conn)   { return peer, engine }
func theEngine(peer *tls.Conn, engine net.Conn) (source, sink net.Conn) { return engine, peer }

func pour(conn net.Conn, piece int) {
	for b := make([]byte, piece); ; {
		if _, err := conn.Write(b); err != nil {
			return
		}
	}
}

// TestTinyRecordsAreTakenAFewATurn, and what then lies in crypto/tls is not
// forgotten.
func TestTinyRecordsAreTakenAFewATurn(t *testing.T) {
	b := newBench(t)
	r, peer, _ := b.relay()
	for range 10 * maxRecords {
		_, err := peer.Write([]byte("t"))
		must(t, err)
	}
	for turns := int64(1); r.in.bytes < 10*maxRecords; turns++ {
		b.turn()
		if r.in.bytes > turns*maxRecords {
			t.Fatalf("%d bytes in %d turns", r.in.bytes, turns)
		}
	}
}

// TestALoopSleepsWhileItsConnectionsAreHeldUp: it would fill a CPU otherwise.
func TestALoopSleepsWhileItsConnectionsAreHeldUp(t *testing.T) {
	for name, from := range map[string]func(*tls.Conn, net.Conn) (source, sink net.Conn){"by the engine": thePeer, "by the peer": theEngine} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r, peer, engine := b.relay()
			source, _ := from(peer, engine) // nobody reads the sink
			b.helpers.Go(func() { pour(source, 1<<20) })
			b.until("it is held up", func() bool { return len(r.held) > 0 || r.wire.Unsent() > 0 })
			b.until("it sleeps", func() bool { // when the kernel takes no more
				b.enqueue(r)
				b.turn()
				return len(b.next) == 0
			})
		})
	}
}

// TestTheEndWaitsBehindWhatIsHeld: the peer's last byte and its end come at once,
// and the engine's socket is full.
func TestTheEndWaitsBehindWhatIsHeld(t *testing.T) {
	b := newBench(t)
	r, peer, engine := b.relay()
	want := int64(1)
	for {
		n, err := eventloop.Write(r.engineFD, make([]byte, 1000))
		must(t, err)
		if n == 0 {
			break
		}
		want += int64(n)
	}
	_, err := peer.Write([]byte("x"))
	must(t, err)
	must(t, peer.CloseWrite())
	b.until("the end is read", func() bool { return r.in.ended })
	if r.in.done {
		t.Error("the engine heard the end before the last byte")
	}
	var got int64
	b.helpers.Go(func() { got, _ = io.Copy(io.Discard, engine) })
	b.until("the end is passed on", func() bool { return r.in.done })
	b.helpers.Wait()
	if got != want {
		t.Errorf("the engine got %d bytes of %d", got, want)
	}
}

func TestAFINThatComesWithBytesIsSeen(t *testing.T) {
	b := newBench(t)
	r, peer, _ := b.relay()
	_, err := peer.Write([]byte("x"))
	must(t, err)
	must(t, peer.NetConn().(*net.TCPConn).CloseWrite())
	b.until("the end", func() bool { return r.in.done })
	if r.in.bytes != 1 || r.why != "peer closed" {
		t.Errorf("%d bytes, %q", r.in.bytes, r.why)
	}
}

// TestAPeerThatReadsNoAnswersIsNotRead: one that has crypto/tls answer it (KeyUpdate) and
// never reads could fill our memory otherwise.
func TestAPeerThatReadsNoAnswersIsNotRead(t *testing.T) {
	b := newBench(t)
	r, peer, _ := b.relay()
	_, err := r.wire.Write(make([]byte, 32<<20)) // as if TLS had; far more than the kernel holds
	must(t, err)
	_, err = peer.Write([]byte("x"))
	must(t, err)
	for range 10 {
		b.enqueue(r)
		b.turn()
	}
	if r.in.bytes != 0 {
		t.Error("it was read all the same")
	}
	b.helpers.Go(func() { io.Copy(io.Discard, peer.NetConn()) })
	b.until("it is read when it reads", func() bool { return r.in.bytes == 1 })
}

// TestAHalfLeftAloneEndsWhenItIsQuiet sets the deadlines back instead of waiting.
func TestAHalfLeftAloneEndsWhenItIsQuiet(t *testing.T) {
	b := newBench(t)
	r, peer, _ := b.relay()
	must(t, peer.CloseWrite())
	b.until("the peer's end", func() bool { return r.in.done })
	if left := time.Until(r.deadline); left < engineLinger-10*time.Second {
		t.Errorf("the engine has %s to answer", left)
	}
	r.deadline = time.Now().Add(-1)
	b.until("the quiet engine's end", func() bool { return b.live == 0 })

	r, _, engine := b.relay()
	engine.Close()
	b.until("the engine's end", func() bool { return r.out.done })
	if left := time.Until(r.deadline); left < linger/4 || left > linger {
		t.Errorf("the peer has %s to end", left)
	}
	r.deadline = time.Now().Add(-1)
	b.until("the quiet peer's end", func() bool { return b.live == 0 })
}

// TestASlowReaderIsNotAQuietEngine: the engine has an answer, and is not read
// because the peer takes its time.
func TestASlowReaderIsNotAQuietEngine(t *testing.T) {
	b := newBench(t)
	r, peer, engine := b.relay()
	b.helpers.Go(func() { pour(engine, 1<<20) })
	must(t, peer.CloseWrite())
	b.until("the peer is full", func() bool { return r.in.done && r.wire.Unsent() > 0 })
	for range 20 { // what the kernel still takes
		b.enqueue(r)
		b.turn()
	}
	r.deadline = time.Now().Add(-1)
	b.onTick(time.Now())
	if r.out.done || r.gone || time.Until(r.deadline) < engineLinger/2 {
		t.Errorf("ended: %v, gone: %v, deadline in %s", r.out.done, r.gone, time.Until(r.deadline))
	}
}

func TestALateEventIsNotTakenForTheSuccessors(t *testing.T) {
	b := newBench(t)
	first, _, _ := b.relay()
	late := first.spot.engine
	b.bury(first)
	second, _, _ := b.relay()
	if second.spot.engine.Index != late.Index {
		t.Fatal("the place was not used again")
	}
	if b.find(late) != nil || b.find(second.spot.engine) != second {
		t.Error("the generations don't tell them apart")
	}
}

func TestAPlaceLeftAloneHoldsNothing(t *testing.T) {
	b := newBench(t)
	for range 50 {
		r, peer, _ := b.relay()
		peer.NetConn().Close()
		b.until("its end", func() bool { return r.gone || r.in.done })
		r.gone = true
		b.enqueue(r)
		b.turn()
	}
	if len(b.places) != 1 || b.live != 0 || len(b.lingering) != 0 {
		t.Errorf("%d places, %d live, %d lingering", len(b.places), b.live, len(b.lingering))
	}
}

func TestThereIsALoopForEachFourCPUs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for cpus, want := range map[int]int{1: 1, 2: 1, 4: 1, 7: 1, 8: 2, 16: 4} {
		runtime.GOMAXPROCS(cpus)
		loops, err := newLoops(func(*about) error { return nil }, func(*relay) {})
		must(t, err)
		if len(loops.all) != want {
			t.Errorf("%d CPUs: %d loops", cpus, len(loops.all))
		}
		loops.close()
	}
}

// TestAConnectionWhoseKeysAreWornEnds when it is quiet, with what was under way
// delivered.
func TestAConnectionWhoseKeysAreWornEnds(t *testing.T) {
	const enough = 1 << 20
	b := newBench(t)
	b.keyBytes = enough
	r, peer, engine := b.relay()
	young, _, _ := b.relay()
	b.helpers.Go(func() { engine.Write(make([]byte, enough)) })
	received := make(chan int64, 1)
	b.helpers.Go(func() {
		n, _ := io.Copy(io.Discard, peer) // to its close_notify
		received <- n
		peer.Close()
	})
	b.helpers.Go(func() { io.Copy(io.Discard, engine); engine.Close() })
	b.until("the end", func() bool { return b.live == 1 })
	if n := <-received; n != enough || !strings.HasPrefix(r.why, "its keys") || young.gone {
		t.Errorf("%d bytes have come before the end of %q; another that has carried nothing is gone: %v", n, r.why, young.gone)
	}
}

func TestAConnectionWhoseKeysAreSpentIsCutThoughItNeverIsQuiet(t *testing.T) {
	const enough = 1 << 20
	b := newBench(t)
	b.keyBytes = enough
	r, peer, engine := b.relay()
	b.helpers.Go(func() { pour(engine, 1<<16) })
	b.helpers.Go(func() { io.Copy(io.Discard, peer) })
	b.until("the cut", func() bool { return b.live == 0 })
	if n := r.wire.Carried(); n < 2*enough || len(b.worn) > 0 {
		t.Errorf("cut after %d bytes; %d are worn", n, len(b.worn))
	}
}
