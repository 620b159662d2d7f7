package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestMain(m *testing.M) {
	sandbox.Main(Role())
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = time.Minute

// cahost is a machine with the CA of the deployment "clinic".
type cahost struct {
	t      *testing.T
	dir    string
	ca     *pki.CA
	tokens *Tokens
}

func newCAHost(t *testing.T) *cahost {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	ca, err := pki.Create(dir, "clinic", pki.Options{})
	must(t, err)
	return &cahost{t, dir, ca, OpenTokens(dir)}
}

func (h *cahost) root() [32]byte { return sha256.Sum256(h.ca.Certificate().Raw) }

// token makes one for an application host.
func (h *cahost) token(name string, ttl time.Duration, gateways ...*server) Token {
	h.t.Helper()
	g := Grant{Identity: who(h.t, identity.App, name), TTL: ttl}
	for _, s := range gateways {
		g.Gateways = append(g.Gateways, Gateway{s.name, s.address})
	}
	var err error
	g.CA, err = h.ca.Moment()
	must(h.t, err)
	made, err := h.tokens.Create(g)
	must(h.t, err)
	return made
}

func who(t *testing.T, role identity.Role, name string) identity.ID {
	t.Helper()
	id, err := identity.New("clinic", role, name)
	must(t, err)
	return id
}

// server is a gateway process, with the CA or without.
type server struct {
	t       *testing.T
	name    string
	address string
	files   tunnel.Files
	log     *lines
	ca      *Server       // nil without
	thief   *thief        // answers in its place
	patient time.Duration // with handshakes; 0 is the default
	admits  []netip.Prefix
	stop    func()
}

// gateway starts one on an address, "127.0.0.1:0" for any. life is that of the
// certificates it signs; 0 is the default.
func (h *cahost) gateway(name, address string, life time.Duration) *server {
	h.t.Helper()
	dir := filepath.Join(filepath.Dir(h.dir), name)
	files := tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(h.dir, "ca.crt"), CRL: filepath.Join(h.dir, "revoked.crl")}
	h.issue(identity.Gateway, name, dir, life)
	s := &server{t: h.t, name: name, files: files, log: &lines{changed: make(chan struct{})}}
	s.ca = h.signer(s.log, life, who(h.t, identity.Gateway, name))
	s.start(address)
	return s
}

// signer starts the CA's process, as each gateway beside it has one.
func (h *cahost) signer(log io.Writer, life time.Duration, own ...identity.ID) *Server {
	h.t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	signer, err := StartSigner(SignerOptions{Dir: h.dir, Own: own, Life: life, Log: logger})
	must(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); signer.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-ended })
	return &Server{Signer: signer, Log: logger}
}

func (h *cahost) issue(role identity.Role, name, dir string, life time.Duration) {
	h.t.Helper()
	leaf, err := h.ca.Issue(pki.Request{ID: who(h.t, role, name), Life: life})
	must(h.t, err)
	must(h.t, leaf.Save(dir))
}

// start runs the gateway, its watch and its renewer, until stop or the test's end.
func (s *server) start(address string) {
	s.t.Helper()
	log := slog.New(slog.NewTextHandler(s.log, nil))
	credentials, err := tunnel.LoadCredentials(s.files)
	must(s.t, err)
	o := gateway.Options{Listen: address, Credentials: credentials, Settings: gateway.Settings{Limits: gateway.DefaultLimits()}, Log: log, Dial: engine(s.t)}
	o.Admit = s.admits
	if s.patient != 0 {
		o.Limits.HandshakeTimeout = s.patient
	}
	if s.ca != nil {
		s.ca.Credentials = credentials
		o.Enroll, o.Renew = s.ca.Enroll, s.ca.Renew
	}
	if s.thief != nil {
		o.Enroll, o.Renew = s.thief.enrol, s.thief.renew
	}
	g, err := gateway.New(o)
	must(s.t, err)
	s.address = g.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	ready := make(chan struct{})
	parts.Go(func() { (&Renewer{Credentials: credentials, Files: s.files, Server: s.ca, Log: log}).Run(ctx) })
	parts.Go(func() {
		if err := g.Run(ctx, func() { close(ready) }); err != nil {
			s.t.Errorf("the gateway ended: %v", err)
		}
	})
	<-ready
	s.stop = sync.OnceFunc(func() { cancel(); parts.Wait() })
	s.t.Cleanup(s.stop)
}

// engine is a unix socket that says back what it hears.
func engine(t *testing.T) func(context.Context) (net.Conn, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer conn.Close(); io.Copy(conn, conn) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }
}

// hostFiles is where a host that joins keeps its identity.
func hostFiles(t *testing.T) tunnel.Files {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tls")
	return tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl")}
}

// join does what "redoubt join" does.
func join(t *testing.T, token Token) (tunnel.Files, error) {
	t.Helper()
	files := hostFiles(t)
	got, err := Join(t.Context(), token)
	if err != nil {
		return files, err
	}
	return files, got.Install(files)
}

// reaches says whether a host gets through a gateway to the engine.
func reaches(t *testing.T, files tunnel.Files, s *server) error {
	t.Helper()
	c, err := tunnel.LoadCredentials(files)
	must(t, err)
	conn, err := s.dial(c)
	if err != nil {
		return err
	}
	defer conn.NetConn().Close()
	return echo(conn)
}

func (s *server) dial(c *tunnel.Credentials) (*tls.Conn, error) {
	d := tunnel.Dialer{Credentials: c}
	conn, err := d.Dial(s.t.Context(), tunnel.Endpoint{Address: s.address, ID: who(s.t, identity.Gateway, s.name)})
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*tls.Conn), nil
}

func echo(conn net.Conn) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// lines keeps the log's lines and lets tests wait for one.
type lines struct {
	mu      sync.Mutex
	text    strings.Builder
	changed chan struct{} // closed at the next line
}

func (r *lines) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(line)
	close(r.changed)
	r.changed = make(chan struct{})
	return len(line), nil
}

func (r *lines) all() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String(), r.changed
}

// await waits for so many occurrences.
func (r *lines) await(t *testing.T, what string, times int) {
	t.Helper()
	late := time.After(patience)
	for {
		text, changed := r.all()
		if strings.Count(text, what) >= times {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%q is not %d times in the log:\n%s", what, times, text)
		}
	}
}

// leavesNothing says that a failed join wrote nothing.
func leavesNothing(t *testing.T, files tunnel.Files) {
	t.Helper()
	if _, err := os.Stat(filepath.Dir(files.Certificate)); err == nil {
		t.Error("a join that failed left files")
	}
}
