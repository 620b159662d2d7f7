package gateway_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen, far beyond what it
// takes.
const patience = time.Minute

// rig is a running gateway of the deployment "clinic", with whatever engine.
type rig struct {
	*gateway.Gateway
	t       testing.TB
	ca      *pki.CA
	log     *record
	app     *tunnel.Credentials
	dials   atomic.Int64 // to the engine
	gateway identity.ID
	dir     string // the gateway's files
	caDir   string
	stop    context.CancelFunc
	ended   chan error
}

// start runs a gateway in front of the unix socket at path and stops it, with a
// look at the goroutines, when the test ends.
func start(t testing.TB, path string, change func(*gateway.Options)) *rig {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
	caDir := t.TempDir()
	ca, err := pki.Create(caDir, "clinic", pki.Options{})
	must(t, err)
	r := &rig{t: t, ca: ca, caDir: caDir, log: &record{changed: make(chan struct{})}, ended: make(chan error, 1)}
	r.app = r.host("spiffe://clinic/app/web")
	r.dir = r.hostDir(ca, "spiffe://clinic/gateway/cache")
	credentials := loadFrom(t, r.dir)
	r.gateway = credentials.ID()
	options := gateway.Options{
		Listen: "127.0.0.1:0", Credentials: credentials,
		Settings: gateway.Settings{Limits: gateway.Limits{Connections: 1000, PerIdentity: 1000, Handshakes: 100, HandshakeTimeout: 5 * time.Second, DrainTimeout: 5 * time.Second}},
		Dial: func(ctx context.Context) (net.Conn, error) {
			r.dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&options)
	}
	r.Gateway, err = gateway.New(options)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	ready := make(chan struct{})
	go func() { r.ended <- r.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		stop()
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// wait waits until Run has returned, and may be called again.
func (r *rig) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("Run did not return")
		return nil
	}
}

// host issues credentials as the product does.
func (r *rig) host(uri string) *tunnel.Credentials {
	r.t.Helper()
	return loadFrom(r.t, r.hostDir(r.ca, uri))
}

func loadFrom(t testing.TB, dir string) *tunnel.Credentials {
	t.Helper()
	c, err := tunnel.LoadCredentials(tunnel.Files{
		Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl"),
	})
	must(t, err)
	return c
}

func (r *rig) hostDir(ca *pki.CA, uri string) string {
	r.t.Helper()
	id, err := identity.Parse(uri)
	must(r.t, err)
	leaf, err := ca.Issue(pki.Request{ID: id})
	must(r.t, err)
	dir := r.t.TempDir()
	must(r.t, leaf.Save(dir))
	return dir
}

// dial connects as a sidecar does. patience is for each thing that is asked, not for all
// of them: see ask.
func (r *rig) dial() *tls.Conn {
	r.t.Helper()
	return r.dialAs(r.app)
}

func (r *rig) dialAs(c *tunnel.Credentials) *tls.Conn {
	r.t.Helper()
	d := tunnel.Dialer{Credentials: c}
	conn, err := d.Dial(context.Background(), tunnel.Endpoint{Address: r.Addr().String(), ID: r.gateway})
	must(r.t, err)
	conn.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { conn.(*tls.Conn).NetConn().Close() })
	return conn.(*tls.Conn)
}

// raw connects with TCP and no more, from a loopback address of one's choice.
func (r *rig) raw(from string) *net.TCPConn {
	r.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", r.Addr().String())
	must(r.t, err)
	conn.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// record keeps the log's lines and lets tests wait for one.
type record struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{} // closed at the next line
}

func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(line))
	close(r.changed)
	r.changed = make(chan struct{})
	return len(line), nil
}

func (r *record) all() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, ""), r.changed
}

// line waits for a line that holds every one of the parts.
func (r *rig) line(parts ...string) string {
	r.t.Helper()
	late := time.After(patience)
	for {
		text, changed := r.log.all()
	lines:
		for line := range strings.Lines(text) {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			return line
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("no line with %q in the log:\n%s", parts, text)
		}
	}
}

// redis starts a plain engine on a unix socket and returns the socket.
func redis(t testing.TB) (path string, server *exec.Cmd) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "redis.sock")
	server = exec.Command("redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--client-output-buffer-limit", "normal 0 0 0")
	out, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "ready to accept connections") {
				close(ready)
			}
		}
	}()
	t.Cleanup(func() { server.Process.Kill(); <-done; server.Wait() })
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("redis-server did not start")
	}
	return path, server
}

// engine serves each connection of a unix socket with f, for what Redis can't
// be made to do.
func engine(t testing.TB, f func(*net.UnixConn)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serving.Go(func() { defer conn.Close(); f(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return path
}

// ask sends a command as RESP and returns the first line of the reply.
func ask(t testing.TB, conn net.Conn, args ...string) string {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	_, err := fmt.Fprint(conn, encode(args...))
	must(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	return strings.TrimSuffix(line, "\r\n")
}

func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
