package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// A Network is a switch with hosts on it, each in a network namespace of its
// own, made for one test and gone after it. Only packets between these hosts
// travel on it. Other namespaces are entered by child processes, never by a
// thread of the test: a thread that came back would carry the wrong network
// into other goroutines.
type Network struct {
	t    testing.TB
	name string
}

// Host is a machine on a Network.
type Host struct {
	net  *Network
	ns   string // the network namespace's name
	Addr netip.Addr
}

var networks atomic.Int32

// NewNetwork makes a switch with no host on it.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{t: t, name: fmt.Sprintf("rd%d-%d", os.Getpid(), networks.Add(1))}
	n.ip("netns", "add", n.name)
	t.Cleanup(func() { n.ip("netns", "del", n.name) })
	n.in(n.name, "link", "add", "switch", "type", "bridge")
	n.in(n.name, "link", "set", "switch", "up")
	return n
}

// Host adds a host with an address such as 10.77.0.2/24.
func (n *Network) Host(name, cidr string) *Host {
	n.t.Helper()
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		n.t.Fatal(err)
	}
	h := &Host{net: n, ns: n.name + "-" + name, Addr: prefix.Addr()}
	n.ip("netns", "add", h.ns)
	n.t.Cleanup(func() { n.ip("netns", "del", h.ns) })
	n.in(h.ns, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", n.name)
	n.in(n.name, "link", "set", name, "master", "switch", "up")
	n.in(h.ns, "addr", "add", cidr, "dev", "eth0", "nodad")
	n.in(h.ns, "link", "set", "eth0", "up")
	n.in(h.ns, "link", "set", "lo", "up")
	return h
}

// Command is a command that runs on the host.
func (h *Host) Command(args ...string) *exec.Cmd { return inNamespace(h.ns, args) }

// OnTheSwitch is a command that sees every packet of the network.
func (n *Network) OnTheSwitch(args ...string) *exec.Cmd { return inNamespace(n.name, args) }

// inNamespace runs in a network namespace; "ip netns exec" becomes the command,
// so that its process id is the command's.
func inNamespace(ns string, args []string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
}

func (n *Network) in(ns string, args ...string) {
	n.t.Helper()
	n.ip(append([]string{"-n", ns}, args...)...)
}

func (n *Network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s (root and Debian's iproute2 are needed)", strings.Join(args, " "), err, out)
	}
}

// Also gives the host a further address.
func (h *Host) Also(cidr string) {
	h.net.t.Helper()
	h.net.in(h.ns, "addr", "add", cidr, "dev", "eth0", "nodad")
}
