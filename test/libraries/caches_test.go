//go:build slow

package libraries_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// A cache is what applications use, and how it fails.
type cache interface {
	url() string
	kill() // the engine, which is started again at once
	stop() // until start
	start()
	freeze() // until thaw: nothing answers, and no connection ends
	thaw()
	// aside is a way in that shares with url's only what fails.
	aside() (address, password string)
}

// bare is a plain engine.
type bare struct {
	t                 *testing.T
	address, password string
	engine            *lab.Process
}

func newBare(t *testing.T) *bare {
	c := &bare{t: t, address: freeAddress(t), password: rand.Text()}
	c.start()
	return c
}

func (c *bare) url() string             { return "redis://:" + c.password + "@" + c.address }
func (c *bare) aside() (string, string) { return c.address, c.password }

func (c *bare) start() {
	_, port, _ := net.SplitHostPort(c.address)
	c.engine = lab.Start(c.t, exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--requirepass", c.password), "eady to accept connections")
}

func (c *bare) stop()   { c.engine.Stop() }
func (c *bare) freeze() { c.engine.Signal(syscall.SIGSTOP) }
func (c *bare) thaw()   { c.engine.Signal(syscall.SIGCONT) }

func (c *bare) kill() {
	c.engine.Signal(syscall.SIGKILL)
	c.engine.Wait()
	c.start()
}

// redoubt is a gateway and a sidecar, and a second sidecar aside.
type redoubt struct {
	t               *testing.T
	dir, gatewayAt  string
	address, second string
	password        string
	gateway         *lab.Process
}

func newRedoubt(t *testing.T) *redoubt {
	t.Helper()
	c := &redoubt{t: t, dir: t.TempDir(), gatewayAt: freeAddress(t), address: freeAddress(t), second: freeAddress(t), password: rand.Text()}
	ca, err := pki.Create(filepath.Join(c.dir, "ca"), "clinic", pki.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.issue(ca, "cache", identity.Gateway, netip.MustParseAddr("127.0.0.1"))
	c.issue(ca, "web", identity.App)
	digest := sha256.Sum256([]byte(c.password))
	c.write("password.sha256", hex.EncodeToString(digest[:])+"\n")
	c.write("gateway.yaml", fmt.Sprintf("deployment: clinic\nname: cache\nlisten: %s\ntls: {certificate: cache/tls.pem, ca: cache/ca.crt}\nengine: {password_digests: password.sha256, uses: [cache, queues, pubsub]}\n", c.gatewayAt))
	c.start()
	for i, address := range []string{c.address, c.second} {
		name := fmt.Sprintf("sidecar%d", i)
		c.write(name+".yaml", fmt.Sprintf("deployment: clinic\nname: web\nlisten: %s\ngateways: [{name: cache, address: %q}]\ntls: {certificate: web/tls.pem, ca: web/ca.crt}\n", address, c.gatewayAt))
		c.run("sidecar", name)
	}
	return c
}

func (c *redoubt) issue(ca *pki.CA, name string, role identity.Role, ips ...netip.Addr) {
	c.t.Helper()
	id, err := identity.New("clinic", role, name)
	if err != nil {
		c.t.Fatal(err)
	}
	leaf, err := ca.Issue(pki.Request{ID: id, IPs: ips})
	if err == nil {
		err = leaf.Save(filepath.Join(c.dir, name))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *redoubt) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *redoubt) run(role, config string) *lab.Process {
	return lab.Start(c.t, exec.Command(lab.Redoubt(c.t), role, "--config", filepath.Join(c.dir, config+".yaml"), "--log-format", "text"), "msg=ready")
}

func (c *redoubt) url() string             { return "redis://:" + c.password + "@" + c.address }
func (c *redoubt) aside() (string, string) { return c.second, c.password }

func (c *redoubt) start()  { c.gateway = c.run("gateway", "gateway") }
func (c *redoubt) stop()   { c.gateway.Stop() }
func (c *redoubt) freeze() { c.gateway.Signal(syscall.SIGSTOP) }
func (c *redoubt) thaw()   { c.gateway.Signal(syscall.SIGCONT) }

// kill ends the gateway's child, which the gateway starts again.
func (c *redoubt) kill() {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.gateway.PID()))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err == nil {
				err = syscall.Kill(pid, syscall.SIGKILL)
			}
			if err != nil {
				c.t.Errorf("kill %s: %v", child, err)
			}
		}
	}
}

// freeAddress is a port of loopback that nobody has now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
