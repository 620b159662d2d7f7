package sabotage_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
)

func environmentSabotages() []sabotage {
	return []sabotage{
		{
			id: "RD-101", from: evidence.CacheHost, how: "the engine listens on a port, and the sandbox lets it",
			env:  "shim seccomp;shim landlock;shim namespaces;configuration port 0 -> port 7398",
			also: []string{"RD-411", "RD-413", "RD-501"},
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
			d.target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(d.Gateway)}
		}},
		{id: "RD-141", from: evidence.Outsider, how: "sshd's port answers an outsider", broken: func(t *testing.T, d *deployment) {
			at := listening(t)
			d.target.Hosts = hostsAt("127.0.0.1")
			d.target.Hosts.SSHPort = at.Port
		}},
		{id: "RD-142", from: evidence.Outsider, how: "a Redis of its own answers an outsider on a cache host", broken: func(t *testing.T, d *deployment) {
			// The port is a usual one, so the address is this run's own.
			at := fmt.Sprintf("127.142.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
			l, err := net.Listen("tcp", at+":6380")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			d.target.Hosts = hostsAt(at)
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

// hostsAt is a deployment whose hosts all have one address.
func hostsAt(address string) *config.Deployment {
	at := config.Sources{{Prefix: netip.PrefixFrom(netip.MustParseAddr(address), 32)}}
	return &config.Deployment{
		Deployment: "local", Gateways: []config.Gate{{Name: "cache", Address: at}}, Apps: []config.App{{Name: "app", Address: at}},
		SSHPort: 1, // where nobody listens
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

// nobodyThere is an address on which nobody listens.
func nobodyThere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
