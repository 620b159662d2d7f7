package sidecar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/test/lab"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "pw-9f2c"

// patience bounds every wait of these tests: reached only by a bug.
const patience = time.Minute

// startEngine starts a redis-server and returns its socket.
func startEngine(t testing.TB, directives ...string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", append([]string{"port 0", "unixsocket " + socket, `save ""`, "requirepass " + password}, directives...)...)
	return socket
}

// lanes dials the engine and counts.
type lanes struct {
	socket string
	dialed atomic.Int64
}

func (l *lanes) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.socket)
	if err != nil {
		return nil, err
	}
	l.dialed.Add(1)
	return conn, nil
}

// one is the gateways of a sidecar that has but one.
func one(dial func(context.Context) (net.Conn, error)) []Gateway {
	return []Gateway{{Name: "cache-1", Dial: dial}}
}

// journal is what a sidecar logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// startSidecar runs a sidecar until the test ends, or stop is called, which
// waits for Run.
func startSidecar(t testing.TB, o Options) (car *Sidecar, stop func()) {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	car, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- car.Run(ctx, func() { close(ready) }) }()
	<-ready
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return car, stop
}

// pair is a sidecar in front of an engine.
func pair(t testing.TB, directives ...string) (*Sidecar, *lanes) {
	t.Helper()
	l := &lanes{socket: startEngine(t, directives...)}
	car, _ := startSidecar(t, Options{Gateways: one(l.dial), Limits: Limits{Drain: time.Second}})
	return car, l
}

// client is an application's connection.
type client struct {
	t    testing.TB
	conn net.Conn
	in   []byte // read, not yet taken
}

func dialUnix(t testing.TB, socket string) *client { return dialAs(t, "unix", socket) }

func dialCar(t testing.TB, car *Sidecar) *client { return dialAs(t, "tcp", car.Addr().String()) }

func dialAs(t testing.TB, network, addr string) *client {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: patientConn{conn}}
}

// patientConn bounds each wait of a connection, not what a busy machine makes of all of them.
type patientConn struct{ net.Conn }

func (p patientConn) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(patience)) // fails if it is closed, and so will Read
	return p.Conn.Read(b)
}

func (p patientConn) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(patience))
	return p.Conn.Write(b)
}

// tcp is the connection of one who was dialled with TCP.
func (c *client) tcp() *net.TCPConn { return c.conn.(patientConn).Conn.(*net.TCPConn) }

// login authenticates.
func (c *client) login() *client {
	c.t.Helper()
	c.expect("+OK\r\n", "AUTH", password)
	return c
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// send sends a command.
func (c *client) send(words ...string) {
	c.t.Helper()
	c.write(resp.AppendCommand(nil, words...))
}

// reply takes the next frame.
func (c *client) reply() string {
	c.t.Helper()
	var s resp.ReplyScanner
	scanned := 0
	buf := make([]byte, 64<<10)
	for {
		n, o := s.Scan(c.in[scanned:])
		scanned += n
		switch o {
		case resp.Whole:
			frame := string(c.in[:scanned])
			c.in = c.in[scanned:]
			return frame
		case resp.Malformed:
			c.t.Fatalf("malformed reply %.200q", c.in)
		}
		n, err := c.conn.Read(buf)
		c.in = append(c.in, buf[:n]...)
		if err != nil && n == 0 {
			c.t.Fatalf("reading a reply: %v after %.200q", err, c.in)
		}
	}
}

// do sends a command and returns its reply.
func (c *client) do(words ...string) string {
	c.t.Helper()
	c.send(words...)
	return c.reply()
}

func (c *client) expect(want string, words ...string) {
	c.t.Helper()
	if got := c.do(words...); got != want {
		c.t.Errorf("%.100q: got %.300q, want %.300q", words, got, want)
	}
}

// rest reads until the other end closes.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return string(c.in) + string(b) + "<not closed: " + err.Error() + ">"
	}
	return string(c.in) + string(b)
}

// exchange sends a stream in pieces of these sizes (the last repeats), then
// QUIT, and returns all that is answered. It reads while it writes.
func (c *client) exchange(stream []byte, sizes ...int) string {
	c.t.Helper()
	stream = append(bytes.Clone(stream), resp.AppendCommand(nil, "QUIT")...)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for i := 0; len(stream) > 0; i++ {
			n := len(stream)
			if len(sizes) > 0 {
				n = min(n, max(1, sizes[min(i, len(sizes)-1)]))
			}
			if _, err := c.conn.Write(stream[:n]); err != nil {
				return // the other end closed on a protocol error
			}
			stream = stream[n:]
		}
	}()
	got := c.rest()
	<-wrote
	return got
}

func logTo(j *journal) *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func rss(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(b)
	pages := 0
	for _, c := range fields[1] {
		pages = pages*10 + int(c-'0')
	}
	return pages * os.Getpagesize()
}

// connections is how many application connections a sidecar has.
func connections(car *Sidecar) int { return car.Status(context.Background()).Connections }
