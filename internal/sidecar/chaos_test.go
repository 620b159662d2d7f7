package sidecar

import (
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A meddler stands between a sidecar and a real engine: it passes commands on,
// and replies frame by frame through spoil, which may change, hold (by not
// returning) or end them.
type meddler struct {
	socket, engine string
	spoil          func(frame []byte) (out []byte, cut bool)

	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	closed   bool
}

func passOn(frame []byte) ([]byte, bool) { return frame, false }

// startMeddler starts one that ends with the test. Whatever holds a frame must
// have let go by then.
func startMeddler(t testing.TB, engine string, spoil func([]byte) ([]byte, bool)) *meddler {
	t.Helper()
	m := &meddler{engine: engine, socket: filepath.Join(t.TempDir(), "m"), spoil: spoil, conns: map[net.Conn]struct{}{}}
	t.Cleanup(func() { m.stop(); m.work.Wait() })
	m.start(t)
	return m
}

func (m *meddler) start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.listener, m.closed = l, false
	m.mu.Unlock()
	m.work.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			m.work.Go(func() { m.carry(down) })
		}
	})
}

// stop takes the engine away from the sidecar; start brings it back.
func (m *meddler) stop() {
	m.mu.Lock()
	m.closed = true
	m.listener.Close()
	m.mu.Unlock()
	m.cut()
}

// cut ends all connections.
func (m *meddler) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		c.Close()
	}
}

// keep has a connection end with the meddler; false: it has ended already.
func (m *meddler) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		c.Close()
		return false
	}
	m.conns[c] = struct{}{}
	return true
}

func (m *meddler) leave(c net.Conn) {
	c.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
}

func (m *meddler) carry(down net.Conn) {
	if !m.keep(down) {
		return
	}
	defer m.leave(down)
	up, err := net.Dial("unix", m.engine)
	if err != nil || !m.keep(up) {
		return
	}
	defer m.leave(up)
	m.work.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := down.Read(buf)
			if n > 0 {
				if _, err := up.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				up.(*net.UnixConn).CloseWrite()
				return
			}
		}
	})
	m.replies(up, down)
}

// replies passes whole frames on.
func (m *meddler) replies(up, down net.Conn) {
	var in []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		var out []byte
		cut := false
		for !cut {
			var s resp.ReplyScanner
			k, o := s.Scan(in)
			if o != resp.Whole {
				break
			}
			var frame []byte
			frame, cut = m.spoil(in[:k:k])
			out = append(out, frame...)
			in = in[k:]
		}
		if _, err := down.Write(out); err != nil || cut {
			return
		}
	}
}

// behind is a sidecar in front of a meddler.
func behind(t testing.TB, m *meddler, l Limits) (*Sidecar, *lanes) {
	t.Helper()
	lanes := &lanes{socket: m.socket}
	if l.Drain == 0 {
		l.Drain = time.Second
	}
	car, _ := startSidecar(t, Options{Dial: lanes.dial, Limits: l})
	return car, lanes
}

// inLoop runs do in the sidecar's loop and waits for it.
func inLoop(t testing.TB, car *Sidecar, do func()) {
	t.Helper()
	done := make(chan struct{})
	if !car.loop.post(func() { defer close(done); do() }) {
		t.Fatal("the loop has ended")
	}
	<-done
}

// holdLoop has the loop stand still until release is called.
func holdLoop(t testing.TB, car *Sidecar) (release func()) {
	t.Helper()
	held, let := make(chan struct{}), make(chan struct{})
	if !car.loop.post(func() { close(held); <-let }) {
		t.Fatal("the loop has ended")
	}
	<-held
	release = sync.OnceFunc(func() { close(let) })
	t.Cleanup(release)
	return release
}
