package up

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// deploymentName is the deployment of one machine. Its CA is this directory's
// own, so that two such deployments don't believe each other's certificates.
const deploymentName = "local"

func gatewayID() identity.ID { return mustID(identity.Gateway, "cache") }
func appID() identity.ID     { return mustID(identity.App, "app") }

func mustID(role identity.Role, name string) identity.ID {
	id, err := identity.New(deploymentName, role, name)
	if err != nil {
		panic(fmt.Sprintf("up: %v", err)) // both are constants above
	}
	return id
}

// findCertificates loads both ends' credentials, issuing what is missing or
// near its end.
func findCertificates(dir *statedir.Dir) (server, client *tunnel.Credentials, err error) {
	ca, err := pki.Open(dir.CA(), nil)
	if errors.Is(err, pki.ErrNoCA) {
		ca, err = pki.Create(dir.CA(), deploymentName, pki.Options{})
	}
	if err != nil {
		return nil, nil, err
	}
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	server, err = find(ca, dir.Gateway(), pki.Request{ID: gatewayID(), DNS: []string{"localhost"}, IPs: loopback})
	if err != nil {
		return nil, nil, err
	}
	client, err = find(ca, dir.Sidecar(), pki.Request{ID: appID()})
	return server, client, err
}

// find loads the credentials in dir. It issues them first when there are none,
// or when less than a third of their life is left: anew while the old still work.
func find(ca *pki.CA, dir string, r pki.Request) (*tunnel.Credentials, error) {
	certFile := filepath.Join(dir, "tls.pem")
	certs, err := pki.Read(certFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // unreadable: not ours to paint over
	}
	if err != nil || time.Until(certs[0].NotAfter) < pki.LeafLife/3 {
		leaf, err := ca.Issue(r)
		if err != nil {
			return nil, err
		}
		if err := leaf.Save(dir); err != nil {
			return nil, err
		}
	}
	return tunnel.LoadCredentials(tunnel.Files{Certificate: certFile, CA: filepath.Join(dir, "ca.crt")})
}
