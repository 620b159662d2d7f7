package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Site is the files of a deployment on loopback that is made by hand: a gateway, and
// sidecars as asked for, each of which a test starts with its --config.
type Site struct {
	t        testing.TB
	ca       *pki.CA
	Dir      string
	Address  string // the gateway's
	Password string
}

// SiteName is the deployment's.
const SiteName = "clinic"

// NewSite makes certificates, a password and gateway.yaml, with these uses.
func NewSite(t testing.TB, uses ...string) *Site {
	t.Helper()
	s := &Site{t: t, Dir: t.TempDir(), Password: statedir.NewPassword(), Address: FreeAddress(t)}
	var err error
	if s.ca, err = pki.Create(filepath.Join(s.Dir, "ca"), SiteName, pki.Options{}); err != nil {
		t.Fatal(err)
	}
	s.Issue("cache", identity.Gateway, netip.MustParseAddr("127.0.0.1"))
	s.Issue("web", identity.App)
	digest := sha256.Sum256([]byte(s.Password))
	s.write("password.sha256", hex.EncodeToString(digest[:])+"\n")
	s.write("gateway.yaml", fmt.Sprintf(`deployment: %s
name: cache
listen: %s
tls: {certificate: cache/tls.pem, ca: cache/ca.crt}
engine: {password_digests: password.sha256, uses: [%s]}
`, SiteName, s.Address, strings.Join(uses, ", ")))
	return s
}

// Issue makes a host's certificate, in a folder of its name.
func (s *Site) Issue(name string, role identity.Role, ips ...netip.Addr) {
	s.t.Helper()
	id, err := identity.New(SiteName, role, name)
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := s.ca.Issue(pki.Request{ID: id, IPs: ips})
	if err == nil {
		err = leaf.Save(filepath.Join(s.Dir, name))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Sidecar makes the configuration of one that listens there, with further lines, and
// returns its path.
func (s *Site) Sidecar(address string, more ...string) string {
	s.t.Helper()
	return s.write("sidecar-"+strings.ReplaceAll(address, ":", "-")+".yaml", fmt.Sprintf(`deployment: %s
name: web
listen: %s
gateways: [{name: cache, address: %q}]
tls: {certificate: web/tls.pem, ca: web/ca.crt}
%s`, SiteName, address, s.Address, strings.Join(more, "\n")))
}

// Gateway is the path of gateway.yaml.
func (s *Site) Gateway() string { return filepath.Join(s.Dir, "gateway.yaml") }

func (s *Site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// triedPorts is how many ports FreeAddress has looked at. Test processes that run beside
// each other begin at different ones.
var triedPorts atomic.Int64

// Ports that the kernel gives to no connection (ip(7), ip_local_port_range).
const (
	firstPort = 10_000
	portsFree = 22_000
)

// FreeAddress is a port of loopback that nobody has now, and that nobody is given who
// doesn't ask for it.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range portsFree {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+(os.Getpid()*16+int(triedPorts.Add(1)))%portsFree)
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}
