//go:build slow

package libraries_test

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

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
	c := &bare{t: t, address: lab.FreeAddress(t), password: rand.Text()}
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
	*lab.Site
	t               *testing.T
	address, second string
	gateway         *lab.Process
}

func newRedoubt(t *testing.T) *redoubt {
	t.Helper()
	c := &redoubt{t: t, Site: lab.NewSite(t, "cache", "queues", "pubsub"), address: lab.FreeAddress(t), second: lab.FreeAddress(t)}
	c.start()
	for _, address := range []string{c.address, c.second} {
		c.run("sidecar", c.Sidecar(address))
	}
	return c
}

func (c *redoubt) run(role, config string) *lab.Process {
	return lab.Start(c.t, exec.Command(lab.Redoubt(c.t), role, "--config", config, "--log-format", "text"), "msg=ready")
}

func (c *redoubt) url() string             { return "redis://:" + c.Password + "@" + c.address }
func (c *redoubt) aside() (string, string) { return c.second, c.Password }

func (c *redoubt) start() { c.gateway = c.run("gateway", c.Gateway()) }
func (c *redoubt) stop()  { c.gateway.Stop() }
func (c *redoubt) freeze() {
	c.signal("redoubt-front", syscall.SIGSTOP)
	c.gateway.Signal(syscall.SIGSTOP)
}
func (c *redoubt) thaw() {
	c.signal("redoubt-front", syscall.SIGCONT)
	c.gateway.Signal(syscall.SIGCONT)
}

// kill ends the engine, which the gateway starts again.
func (c *redoubt) kill() { c.signal("redis-server", syscall.SIGKILL) }

// signal signals the children of the gateway's that call themselves so.
func (c *redoubt) signal(name string, signal syscall.Signal) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.gateway.PID()))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			if args, _ := os.ReadFile("/proc/" + child + "/cmdline"); !strings.HasPrefix(string(args), name) {
				continue
			}
			pid, err := strconv.Atoi(child)
			if err == nil {
				err = syscall.Kill(pid, signal)
			}
			if err != nil {
				c.t.Errorf("signal %s: %v", child, err)
			}
		}
	}
}
