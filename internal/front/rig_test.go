//go:build linux

package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// patience is how long a test waits for what must happen, far beyond what it takes.
const patience = time.Minute

func TestMain(m *testing.M) {
	sandbox.Main(Role(), sandbox.Role{Name: "taken", Run: beTaken}, sandbox.Role{Name: "broken", Run: func() int { return 3 }})
	os.Exit(m.Run())
}

// rig is a front of the deployment "clinic" before a real engine.
type rig struct {
	*Front
	t      testing.TB
	ca     *pki.CA
	caDir  string
	files  tunnel.Files // of the gateway
	app    *tunnel.Credentials
	engine *exec.Cmd
	socket string // the engine's
	log    *journal
	stop   context.CancelFunc
	ended  chan error
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func start(t testing.TB, change func(*Front)) *rig {
	t.Helper()
	r := &rig{t: t, caDir: t.TempDir(), log: &journal{}, ended: make(chan error, 1)}
	var err error
	r.ca, err = pki.Create(r.caDir, "clinic", pki.Options{})
	must(t, err)
	r.files = r.host("spiffe://clinic/gateway/cache")
	r.app, err = tunnel.LoadCredentials(r.host("spiffe://clinic/app/web"))
	must(t, err)
	credentials, err := tunnel.LoadCredentials(r.files)
	must(t, err)
	r.startEngine()
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.Front, err = New(Options{Options: gateway.Options{
		Listen: "127.0.0.1:0", Credentials: credentials,
		Settings: gateway.Settings{Limits: gateway.Limits{Connections: 20, PerIdentity: 20, Handshakes: 10, HandshakeTimeout: 30 * time.Second, DrainTimeout: 5 * time.Second}},
		Dial:     func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", r.socket) },
		Log:      log,
	}})
	must(t, err)
	if change != nil {
		change(r.Front)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	var watching sync.WaitGroup
	watching.Go(func() { credentials.Watch(ctx, log) })
	ready := make(chan struct{})
	go func() { r.ended <- r.Run(ctx, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		watching.Wait()
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			t.Log(r.log)
		}
	})
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatalf("Run: %v\n%s", err, r.log)
	case <-time.After(patience):
		t.Fatalf("it doesn't get ready\n%s", r.log)
	}
	return r
}

func (r *rig) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("Run does not return")
		return nil
	}
}

func (r *rig) host(uri string) tunnel.Files {
	r.t.Helper()
	id, err := identity.Parse(uri)
	must(r.t, err)
	leaf, err := r.ca.Issue(pki.Request{ID: id})
	must(r.t, err)
	dir := r.t.TempDir()
	must(r.t, leaf.Save(dir))
	return tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl")}
}

func (r *rig) startEngine() {
	r.t.Helper()
	r.socket = filepath.Join(r.t.TempDir(), "redis.sock")
	r.engine = exec.Command("redis-server", "--port", "0", "--unixsocket", r.socket, "--save", "")
	out, err := r.engine.StdoutPipe()
	must(r.t, err)
	must(r.t, r.engine.Start())
	r.t.Cleanup(func() { r.engine.Process.Kill(); r.engine.Wait() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "ready to accept connections") {
			return
		}
	}
	r.t.Fatal("redis-server did not start")
}

// dial connects as a sidecar does.
func (r *rig) dial() (*tls.Conn, error) {
	r.t.Helper()
	d := tunnel.Dialer{Credentials: r.app}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	id, err := identity.Parse("spiffe://clinic/gateway/cache")
	must(r.t, err)
	conn, err := d.Dial(ctx, tunnel.Endpoint{Address: r.Addr().String(), ID: id})
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { conn.(*tls.Conn).NetConn().Close() })
	return conn.(*tls.Conn), nil
}

// ask sends an inline command and returns the first line of the reply.
func ask(conn net.Conn, command string) (string, error) {
	if _, err := fmt.Fprint(conn, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSuffix(line, "\r\n"), err
}

func (r *rig) want(command, reply string) {
	r.t.Helper()
	conn, err := r.dial()
	must(r.t, err)
	if got, err := ask(conn, command); err != nil || got != reply {
		r.t.Errorf("%s: %q %v, want %q", command, got, err, reply)
	}
}

// await waits until something holds.
func (r *rig) await(what string, holds func() bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			r.t.Fatalf("%s: not within %v\n%s", what, patience, r.log)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
