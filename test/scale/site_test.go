//go:build slow && linux

package scale_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// patience bounds whatever should be there at once.
const patience = time.Minute

// site is a deployment on loopback: a gateway, and sidecars as asked for.
type site struct {
	*lab.Site
	t       testing.TB
	gateway *process
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

// newSite makes what is needed, and starts the gateway.
func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, Site: lab.NewSite(t, "cache", "pubsub")}
	s.startGateway()
	return s
}

// startGateway starts it, again after it was stopped.
func (s *site) startGateway() {
	s.t.Helper()
	s.gateway = s.start("gateway", s.Gateway(), s.Address)
}

// startSidecar starts one on an address of its own, with further lines of sidecar.yaml.
func (s *site) startSidecar(more ...string) *process {
	s.t.Helper()
	address := lab.FreeAddress(s.t)
	return s.start("sidecar", s.Sidecar(address, append(more, "limits: {connections: 11000}")...), address)
}

// start runs "redoubt gateway" or "redoubt sidecar" with a configuration.
func (s *site) start(role, config, address string) *process {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{address: address, socket: config + ".probe"}
	os.Remove(p.socket) // of one that was stopped
	cmd := exec.Command(self, role, "--config", config, "--log-format", "text")
	cmd.Env = append(os.Environ(), probeVariable+"="+p.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.Process = lab.Start(s.t, cmd, "msg=ready")
	return p
}

// plain is an engine as it comes, with the same password.
type plain struct {
	address string
	pid     int
}

func newPlain(t testing.TB, password string) plain {
	t.Helper()
	address := lab.FreeAddress(t)
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
