package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

const (
	// startTimeout bounds a peer's start: an engine starts in 100 ms, and the
	// machine may be busy.
	startTimeout = 30 * time.Second
	// tryInterval is how often a starting peer is asked whether it answers, and
	// whether a process has ended.
	tryInterval = 20 * time.Millisecond
	// deathTimeout is how long after a broken connection a process may be found
	// dead: the kernel closes its sockets before it can be waited for, and the
	// machine may be busy.
	deathTimeout = 3 * time.Second
)

// site is a benchmark's place: its directory, certificates, and processes.
type site struct {
	dir       string
	self      string // Redoubt's binary
	engine    string // redis-server or valkey-server
	password  string // of engines that we configure
	plain     string // the plain engine's HOST:PORT
	gatewayID identity.ID
	processes []*process
}

func newSite(self, engine string) (_ *site, err error) {
	s := &site{self: self, engine: engine, password: statedir.NewPassword()}
	if s.dir, err = os.MkdirTemp("", "redoubt-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	return s, s.issue()
}

// issue makes a CA and a certificate for each end.
func (s *site) issue() error {
	const deployment = "bench"
	ca, err := pki.Create(s.path("ca"), deployment, pki.Options{})
	if err != nil {
		return err
	}
	if s.gatewayID, err = identity.New(deployment, identity.Gateway, "cache"); err != nil {
		return err
	}
	app, err := identity.New(deployment, identity.App, "app")
	if err != nil {
		return err
	}
	for dir, r := range map[string]pki.Request{
		"server": {ID: s.gatewayID, DNS: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		"client": {ID: app},
	} {
		leaf, err := ca.Issue(r)
		if err != nil {
			return err
		}
		if err := leaf.Save(s.path(dir)); err != nil {
			return err
		}
	}
	return nil
}

// path is a file in the site's directory.
func (s *site) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

// run starts a process that ends with the site.
func (s *site) run(name, input, program string, args ...string) error {
	p, err := start(name, input, program, args...)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return err
}

// close stops all processes, the last first, and removes the directory.
func (s *site) close() error {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
	s.processes = nil
	return os.RemoveAll(s.dir)
}

// dead tells, within limit, of a process that has ended; nil while all run.
func (s *site) dead(limit time.Duration) error {
	over := time.NewTimer(limit)
	defer over.Stop()
	looks := time.NewTicker(tryInterval)
	defer looks.Stop()
	for {
		for _, p := range s.processes {
			if err := p.ended(); err != nil {
				return err
			}
		}
		select {
		case <-over.C:
			return nil
		case <-looks.C:
		}
	}
}

// await waits until a peer answers. find says where, once it can.
func (s *site) await(parent context.Context, find func() (target, error)) (target, error) {
	ctx, cancel := context.WithTimeout(parent, startTimeout)
	defer cancel()
	tries := time.NewTicker(tryInterval)
	defer tries.Stop()
	var last error // why it didn't answer, before the time was over
	for {
		t, err := find()
		if err == nil {
			if err = ping(ctx, t); err == nil {
				return t, nil
			}
		}
		if ctx.Err() == nil {
			last = err
		}
		if dead := s.dead(0); dead != nil {
			return target{}, dead
		}
		select {
		case <-ctx.Done():
			if parent.Err() != nil {
				return target{}, parent.Err()
			}
			return target{}, fmt.Errorf("no answer within %v: %w", startTimeout, last)
		case <-tries.C:
		}
	}
}

func ping(ctx context.Context, t target) error {
	l, err := dial(ctx, t)
	if err != nil {
		return err
	}
	defer l.wire.Close()
	return l.do(resp.AppendCommand(nil, "PING"), []byte("+PONG\r\n"))
}

// freePorts finds ports of loopback that nobody has. They are different, since
// all are open at once here; that nobody takes them in between can't be had,
// since a child can't be handed them.
func freePorts(n int) (ports []string, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }
