package sabotage_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

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
		{id: "RD-102", from: evidence.CacheHost, how: "the gateway listens on an address that its configuration doesn't name", broken: func(t *testing.T, d *deployment) {
			d.target.Cache.Metrics = ""
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
