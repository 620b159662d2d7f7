package sabotage_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

func environmentSabotages() []sabotage {
	return []sabotage{
		{
			id: "RD-101", from: evidence.CacheHost, how: "the engine listens on a port, and the sandbox lets it",
			env:  "shim seccomp;shim landlock;shim namespaces;configuration port 0 -> port 7398",
			also: []string{"RD-411", "RD-413", "RD-418", "RD-501"},
		},
		{id: "RD-101", from: evidence.CacheHost, how: "the engine has inherited a packet socket", env: "shim descriptors", holds: socket(unix.AF_PACKET, unix.SOCK_RAW)},
		{id: "RD-101", from: evidence.CacheHost, how: "the engine has inherited a TCP socket that is bound to nothing", env: "shim descriptors", holds: socket(unix.AF_INET, unix.SOCK_STREAM)},
		{id: "RD-102", from: evidence.CacheHost, how: "the gateway listens on an address that its configuration doesn't name", holds: func(t *testing.T) *os.File {
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			f, err := l.File()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}},
		{id: "RD-140", from: evidence.Outsider, how: "the tunnel's port answers an outsider", broken: func(t *testing.T, d *deployment) {
			at := listening(t)
			d.target.Hosts, d.target.Reports = hostsAt("127.0.0.1"), reportsOf("127.0.0.1", at.Port)
			d.target.Hosts.Gateways[0].Port = at.Port
		}},
		{id: "RD-140", from: evidence.Outsider, how: "the tunnel's port answers an outsider on an address that deployment.yaml doesn't name", broken: func(t *testing.T, d *deployment) {
			at := listening(t)
			d.target.Hosts.Gateways[0].Port = at.Port
			d.target.Reports = reportsOf("127.0.0.9", at.Port)
			other := d.target.Reports[0].Network
			other.Addresses = append(other.Addresses, netip.MustParseAddr("127.0.0.1"))
		}},
		{id: "RD-141", from: evidence.Outsider, how: "sshd's port answers an outsider", broken: func(t *testing.T, d *deployment) {
			at := listening(t)
			d.target.Hosts, d.target.Reports = hostsAt("127.0.0.1"), reportsOf("127.0.0.1", at.Port)
			d.target.Hosts.SSHPort = at.Port
		}},
		{id: "RD-142", from: evidence.Outsider, how: "a Redis of its own answers an outsider on a cache host", broken: func(t *testing.T, d *deployment) {
			d.target.Hosts.Gateways[0].Address = addresses(redisOfItsOwn(t, 142))
		}},
		{id: "RD-142", from: evidence.Outsider, how: "a Redis of its own answers an outsider on an application host", broken: func(t *testing.T, d *deployment) {
			d.target.Hosts.Apps[0].Address = addresses(redisOfItsOwn(t, 143))
		}},
		{id: "RD-142", from: evidence.Outsider, how: "a cache host answers an outsider on a port that nobody thinks of", broken: func(t *testing.T, d *deployment) {
			at := listening(t)
			d.target.Reports[0].Network.Open = append(d.target.Reports[0].Network.Open, at.AddrPort())
			d.target.Hosts.Gateways[0].Address = addresses("127.0.0.1")
		}},
	}
}

// socket is one of a kind.
func socket(family, kind int) func(t *testing.T) *os.File {
	return func(t *testing.T) *os.File {
		t.Helper()
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "socket")
	}
}

// redisOfItsOwn listens where a Redis usually does, so the address is this run's own.
func redisOfItsOwn(t *testing.T, octet int) (at string) {
	t.Helper()
	at = fmt.Sprintf("127.%d.%d.%d", octet, os.Getpid()>>8&0xff, os.Getpid()&0xff)
	l, err := net.Listen("tcp", at+":6380")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return at
}

// reportsOf is what the hosts of hostsAt would tell of themselves.
func reportsOf(address string, open ...int) (list []*evidence.Report) {
	at := netip.MustParseAddr(address)
	n := evidence.Network{Addresses: []netip.Addr{at}}
	for _, port := range append(open, nobodysPort) {
		n.Open = append(n.Open, netip.AddrPortFrom(at, uint16(port)))
	}
	for _, v := range []evidence.Vantage{evidence.CacheHost, evidence.AppHost} {
		host := map[evidence.Vantage]string{evidence.CacheHost: "cache", evidence.AppHost: "app"}[v]
		own := n
		list = append(list, &evidence.Report{Deployment: "local", Host: host, Vantage: v, Finished: time.Now(), Network: &own})
	}
	return list
}

// nobodysPort is one on which nobody listens.
const nobodysPort = 1

func addresses(at string) config.Sources {
	return config.Sources{{Prefix: netip.PrefixFrom(netip.MustParseAddr(at), 32)}}
}

// hostsAt is a deployment whose hosts all have one address.
func hostsAt(at string) *config.Deployment {
	return &config.Deployment{
		Deployment: "local", Gateways: []config.Gate{{Name: "cache", Address: addresses(at), Port: nobodysPort}},
		Apps: []config.App{{Name: "app", Address: addresses(at)}}, SSHPort: nobodysPort,
	}
}

func listening(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr)
}

// otherHost listens where who comes from 127.0.0.1 meets another address than its own.
func otherHost(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
