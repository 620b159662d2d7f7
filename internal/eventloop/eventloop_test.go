//go:build linux

package eventloop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

var token = eventloop.Token{Index: 7, Generation: 3}

// sockets are two ends of a TCP connection on loopback.
func sockets(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func poller(t *testing.T) *eventloop.Poller {
	t.Helper()
	p, err := eventloop.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// waited waits until something has happened or the limit (negative: none) is over. Each
// signal, and Go's scheduler sends some, ends a Wait: it says how many there were.
func waited(p *eventloop.Poller, limit time.Duration) (events []eventloop.Event, waits int) {
	for began := time.Now(); len(events) == 0 && (limit < 0 || time.Since(began) < limit); waits++ {
		left := limit
		if limit > 0 {
			left -= time.Since(began)
		}
		events = p.Wait(left)
	}
	return events, waits
}

// looped detaches a connection and adds it to a poller.
func looped(t *testing.T, p *eventloop.Poller, conn net.Conn) (*eventloop.Wire, int) {
	t.Helper()
	w := eventloop.NewWire(conn)
	fd, err := w.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w, fd
}

// waitFor waits for an event with the token.
func waitFor(t *testing.T, p *eventloop.Poller) eventloop.Event {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		for _, ev := range p.Wait(time.Second) {
			if ev.Token == token {
				return ev
			}
		}
	}
	t.Fatal("no event")
	return eventloop.Event{}
}

func TestWaitEndsWhenWoken(t *testing.T) {
	p := poller(t)
	for range 3 {
		var waking sync.WaitGroup
		waking.Go(p.Wake)
		events, _ := waited(p, -1)
		waking.Wait() // a Wake after Close would write to another's descriptor
		if len(events) != 1 || !events[0].Token.Woken() {
			t.Fatalf("%+v", events)
		}
	}
}

func TestWaitEndsAtItsLimit(t *testing.T) {
	p := poller(t)
	sleeps(t, p)
	if events := p.Wait(0); len(events) != 0 {
		t.Fatalf("%+v", events)
	}
}

// sleeps fails if a Wait of 20 ms comes back at once, for whatever reason but signals.
func sleeps(t *testing.T, p *eventloop.Poller) {
	t.Helper()
	events, waits := waited(p, 20*time.Millisecond)
	if len(events) != 0 {
		t.Fatalf("%+v", events)
	}
	if waits > 50 {
		t.Fatalf("%d waits in 20 ms", waits)
	}
}

func TestReadAndWriteNeverSleep(t *testing.T) {
	p := poller(t)
	peer, conn := sockets(t)
	_, fd := looped(t, p, conn)
	buf := make([]byte, 1<<20)
	if _, err := eventloop.Read(fd, buf); err != eventloop.ErrAgain {
		t.Fatalf("read of nothing: %v", err)
	}
	sent := 0
	for {
		n, err := eventloop.Write(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break // the kernel's buffers are full
		}
		sent += n
	}
	go func() { io.CopyN(io.Discard, peer, int64(sent)); peer.Close() }()
	for {
		if ev := waitFor(t, p); ev.Readable {
			if _, err := eventloop.Read(fd, buf); err == io.EOF {
				break
			} else if err != eventloop.ErrAgain {
				t.Fatal(err)
			}
		}
	}
	if _, err := eventloop.Write(fd, buf); err == nil {
		if _, err = eventloop.Write(fd, buf); err == nil {
			t.Error("writing to a closed peer is no error")
		}
	}
}

func TestAClosedDescriptorTellsNothingMore(t *testing.T) {
	p := poller(t)
	peer, conn := sockets(t)
	w, _ := looped(t, p, conn)
	w.Close()
	io.WriteString(peer, "x")
	for _, ev := range p.Wait(50 * time.Millisecond) {
		if ev.Token == token {
			t.Fatalf("%+v", ev)
		}
	}
	if err := w.Close(); err == nil {
		t.Fatal("the second Close would close another's descriptor")
	}
}

// TestTLSLivesOnAWire sets TLS up in the blocking life, detaches, and then moves
// more than the kernel's buffers hold in both directions from a loop.
func TestTLSLivesOnAWire(t *testing.T) {
	const size = 8 << 20
	a, b := sockets(t)
	server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
	wire := eventloop.NewWire(b)
	client := tls.Client(wire, &tls.Config{InsecureSkipVerify: true})
	served := make(chan error, 1)
	go func() {
		_, err := io.CopyN(server, server, size) // an echo
		served <- err
	}()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	p := poller(t)
	fd, err := wire.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(fd, token); err != nil {
		t.Fatal(err)
	}
	sent, received := 0, 0
	buf, chunk := make([]byte, 64<<10), make([]byte, 100_000)
	for received < size {
		for sent < size && wire.Unsent() == 0 {
			wire.Hold()
			n, err := client.Write(chunk[:min(len(chunk), size-sent)])
			if err != nil {
				t.Fatal(err)
			}
			sent += n
			if err := wire.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for {
			n, err := client.Read(buf)
			received += n
			if err == eventloop.ErrAgain {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if received < size {
			waitFor(t, p)
			wire.Ready()
			if err := wire.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// TestAReaderIsNotWokenByWhatItsPeerReads: a unix socket tells that it is writable
// each time, and only who asks is told.
func TestAReaderIsNotWokenByWhatItsPeerReads(t *testing.T) {
	p := poller(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	fd, err := eventloop.Detach(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer eventloop.Close(fd)
	if err := p.AddReader(fd, token); err != nil {
		t.Fatal(err)
	}
	told := func() bool { // of Writable, after the peer has read
		eventloop.Write(fd, []byte("x"))
		if _, err := peer.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		for _, ev := range p.Wait(0) {
			if ev.Writable {
				return true
			}
		}
		return false
	}
	if told() {
		t.Error("told without having asked")
	}
	for _, watch := range []bool{true, false} {
		if err := p.WatchWrite(fd, token, watch); err != nil {
			t.Fatal(err)
		}
		if got := told(); got != watch {
			t.Errorf("watching %v, told %v", watch, got)
		}
	}
	io.WriteString(peer, "x")
	if ev := waitFor(t, p); !ev.Readable {
		t.Errorf("%+v", ev)
	}
}

// TestAnEndThatComesWithBytesIsRead: data and FIN are one event, and a short read
// must not be taken for the last.
func TestAnEndThatComesWithBytesIsRead(t *testing.T) {
	p := poller(t)
	peer, conn := sockets(t)
	w, _ := looped(t, p, conn)
	w.Read(make([]byte, 1)) // dry
	if ev := waitFor(t, p); ev.Ended {
		t.Fatalf("ended before it did: %+v", ev)
	}
	io.WriteString(peer, "last words")
	peer.(*net.TCPConn).CloseWrite()
	for { // the kernel may tell of the two in two events
		ev := waitFor(t, p)
		if !ev.Ended {
			continue // unread: then the next one is what we are after
		}
		w.Ended()
		break
	}
	buf := make([]byte, 100)
	if n, err := w.Read(buf); err != nil || string(buf[:n]) != "last words" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if _, err := w.Read(buf); err != io.EOF {
		t.Errorf("the end came as %v", err)
	}
}

// TestIdleWiresHoldNoBuffers moves 60 KB each way through many connections and
// looks at what stays.
func TestIdleWiresHoldNoBuffers(t *testing.T) {
	const conns, size = 200, 60 << 10
	p := poller(t)
	buf := make([]byte, size)
	held := func() uint64 {
		runtime.GC()
		runtime.GC() // what a sync.Pool holds lives for two
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	for range conns {
		peer, conn := sockets(t)
		w, _ := looped(t, p, conn)
		w.Hold()
		w.Write(buf)
		if w.Unsent() != size {
			t.Fatalf("%d bytes held back", w.Unsent())
		}
		for w.Unsent() > 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		echoed := make(chan struct{})
		go func() { defer close(echoed); io.CopyN(peer, peer, size) }()
		for n := 0; n < size; {
			m, err := w.Read(buf)
			if n += m; err == eventloop.ErrAgain {
				waitFor(t, p)
				w.Ready()
			} else if err != nil {
				t.Fatal(err)
			}
		}
		<-echoed
	}
	if each := (held() - before) / conns; each > 8<<10 {
		t.Errorf("an idle connection holds %d bytes", each)
	}
}

// TestALargeWriteNeedsNoMemory of its own, though it is more than a buffer, and is
// two system calls: the peer gets all of it, in order.
func TestALargeWriteNeedsNoMemory(t *testing.T) {
	const rounds, records, size = 300, 6, 16<<10 + 22
	p := poller(t)
	peer, conn := sockets(t)
	w, _ := looped(t, p, conn)
	var record [size]byte
	read := make(chan error, 1)
	go func() {
		buf := make([]byte, size)
		for i := range (rounds + 1) * records {
			if _, err := io.ReadFull(peer, buf); err != nil || buf[0] != byte(i) || buf[size-1] != byte(i) {
				read <- fmt.Errorf("record %d: it begins with %d (%v)", i, buf[0], err)
				return
			}
		}
		read <- nil
	}()
	wrote := 0
	round := func() {
		w.Hold()
		for range records {
			record[0], record[size-1] = byte(wrote), byte(wrote)
			if _, err := w.Write(record[:]); err != nil {
				t.Fatal(err)
			}
			wrote++
		}
		for {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if w.Unsent() == 0 {
				return
			}
			waitFor(t, p)
		}
	}
	round()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / rounds; each > records*size/2 { // the race detector has pools drop a quarter
		t.Errorf("%d bytes are allocated for each write of %d", each, records*size)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestNoWakeIsLost: whatever is done before a Wake is seen after a Wait, however
// the two meet.
func TestNoWakeIsLost(t *testing.T) {
	const wakers, each = 4, 20_000
	p := poller(t)
	var posted atomic.Int64
	var work sync.WaitGroup
	for range wakers {
		work.Go(func() {
			for range each {
				posted.Add(1)
				p.Wake()
				runtime.Gosched()
			}
		})
	}
	for seen := int64(0); seen < wakers*each; {
		events, _ := waited(p, time.Minute)
		now := posted.Load()
		if len(events) == 0 && now > seen {
			t.Fatalf("asleep with %d of %d seen", seen, now)
		}
		seen = now
	}
	work.Wait()
}

// TestWhatIsDiscardedNeverArrives: the peer takes nothing, and what was written for it
// is more than fits into both ends' buffers.
func TestWhatIsDiscardedNeverArrives(t *testing.T) {
	for name, detach := range map[string]bool{"before it is handed over": false, "in the loop": true} {
		t.Run(name, func(t *testing.T) {
			near, far := sockets(t)
			const sent = 16 << 20
			wire := eventloop.NewWire(near)
			if detach {
				if _, err := wire.Detach(); err != nil {
					t.Fatal(err)
				}
			} else {
				near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			}
			wrote, _ := wire.Write(make([]byte, sent))
			wire.Discard()
			wire.Close()
			far.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := io.Copy(io.Discard, far); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("of %d bytes written %d arrived, and then %v", wrote, n, err)
			}
		})
	}
}

// TestAListenersDescriptorIsTheLoopsAlone: Go's poller would be woken for each
// connection too.
func TestAListenersDescriptorIsTheLoopsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": path} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := eventloop.Listener(l)
		if err != nil {
			t.Fatal(err)
		}
		defer eventloop.Close(fd)
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Go's listener is still open: %v", network, err)
		}
		conn, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatalf("%s: the loop doesn't listen: %v", network, err)
		}
		conn.Close()
	}
}
