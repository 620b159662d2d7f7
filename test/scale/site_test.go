//go:build slow && linux

package scale_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// patience bounds whatever should be there at once.
const patience = 20 * time.Second

// site is a deployment on loopback: a gateway, and sidecars as asked for.
type site struct {
	t        testing.TB
	dir      string
	ca       *pki.CA
	password string
	address  string // the gateway's
	gateway  *process
}

// process is one of the product's commands with a probe in it.
type process struct {
	*lab.Process
	address string
	socket  string
}

func (p *process) examine(t testing.TB) vitals {
	t.Helper()
	return mustExamine(t, p.PID(), p.socket)
}

const deployment = "clinic"

// newSite makes certificates, password and configuration, and starts the gateway.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), password: statedir.NewPassword(), address: freeAddress(t)}
	var err error
	if s.ca, err = pki.Create(filepath.Join(s.dir, "ca"), deployment, pki.Options{}); err != nil {
		t.Fatal(err)
	}
	s.issue("cache", identity.Gateway, netip.MustParseAddr("127.0.0.1"))
	s.issue("web", identity.App)
	digest := sha256.Sum256([]byte(s.password))
	s.write("password.sha256", hex.EncodeToString(digest[:])+"\n")
	s.write("gateway.yaml", fmt.Sprintf(`deployment: %s
name: cache
listen: %s
tls: {certificate: cache/tls.pem, ca: cache/ca.crt}
engine: {password_digests: password.sha256, uses: [cache, pubsub]}
`, deployment, s.address))
	s.startGateway()
	return s
}

// issue makes a host's certificate, in a folder of its name.
func (s *site) issue(name string, role identity.Role, ips ...netip.Addr) {
	s.t.Helper()
	id, err := identity.New(deployment, role, name)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := s.ca.Issue(pki.Request{ID: id, IPs: ips})
	if err == nil {
		err = leaf.Save(filepath.Join(s.dir, name))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// startGateway starts it, again after it was stopped.
func (s *site) startGateway() {
	s.t.Helper()
	s.gateway = s.start("gateway", s.address)
}

// startSidecar starts one on an address of its own, with further lines of sidecar.yaml.
func (s *site) startSidecar(more ...string) *process {
	s.t.Helper()
	address := freeAddress(s.t)
	config := "sidecar" + strings.ReplaceAll(address, ":", "-")
	s.write(config+".yaml", fmt.Sprintf(`deployment: %s
name: web
listen: %s
gateways: [{name: cache, address: %q}]
tls: {certificate: web/tls.pem, ca: web/ca.crt}
limits: {connections: 11000}
%s`, deployment, address, s.address, strings.Join(more, "\n")))
	return s.start(config, address)
}

// start runs "redoubt gateway" or "redoubt sidecar" with a configuration.
func (s *site) start(config, address string) *process {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	role, _, _ := strings.Cut(config, "127")
	p := &process{address: address, socket: filepath.Join(s.dir, config+".probe")}
	os.Remove(p.socket) // of one that was stopped
	cmd := exec.Command(self, role, "--config", filepath.Join(s.dir, config+".yaml"), "--log-format", "text")
	cmd.Env = append(os.Environ(), probeVariable+"="+p.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.Process = lab.Start(s.t, cmd, "msg=ready")
	return p
}

// freeAddress is a port of loopback that nobody has now.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// plain is an engine as it comes, with the same password.
type plain struct {
	address string
	pid     int
}

func newPlain(t testing.TB, password string) plain {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	lab.Plain(t, "redis-server", "bind 127.0.0.1", "port "+port, `save ""`, "maxclients 11000", "dir "+t.TempDir(), "requirepass "+password)
	info := lab.Connect(t, address, password).Do("INFO", "server")
	var pid int
	_, after, _ := strings.Cut(info, "process_id:")
	if _, err := fmt.Sscan(after, &pid); err != nil {
		t.Fatalf("the engine doesn't tell its process: %q", info)
	}
	return plain{address: address, pid: pid}
}
