package up

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"

	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// deploymentName is the deployment of one machine. Its CA is this directory's
// own, so that two such deployments don't believe each other's certificates.
const deploymentName = evidence.Local

func gatewayID() identity.ID { return mustID(identity.Gateway, "cache") }
func appID() identity.ID     { return mustID(identity.App, "app") }

func mustID(role identity.Role, name string) identity.ID {
	id, err := identity.New(deploymentName, role, name)
	if err != nil {
		panic(fmt.Sprintf("up: %v", err)) // both are constants above
	}
	return id
}

// certificates are both ends' identities, and the CA in which they stand.
type certificates struct {
	ca             *enroll.Server
	server, client *enroll.Renewer
}

// findCertificates starts the process that has the CA, or makes one, and loads both ends' identities,
// issuing what is missing or due.
func findCertificates(dir *statedir.Dir, log *slog.Logger) (_ *certificates, err error) {
	signer, err := enroll.StartSigner(enroll.SignerOptions{Dir: dir.CA(), Make: deploymentName, Own: []identity.ID{gatewayID(), appID()}, Log: log})
	if err != nil && enroll.Torn(dir.CA()) { // or a release before the first made it
		err = fmt.Errorf("%w; or remove %s: up makes all of it anew, and applications need the new app.env then", err, dir.Path())
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			signer.Close()
		}
	}()
	c := &certificates{ca: &enroll.Server{Signer: signer, Log: log}}
	if err := signer.Settle(); err != nil { // makes the list from the ledger, if it is missing or behind
		return nil, fmt.Errorf("who is revoked can't be told: %w", err)
	}
	gateway := gatewayFiles(dir)
	loopback := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	err = signer.ProvideCertificate(enroll.Own{ID: gatewayID(), DNS: []string{"localhost"}, IPs: loopback}, gateway.Certificate)
	if err != nil {
		return nil, err
	}
	if c.server, err = load(gateway, log); err != nil {
		return nil, err
	}
	c.server.Server, c.ca.Credentials = c.ca, c.server.Credentials

	sidecar := sidecarFiles(dir)
	if err := signer.Provide(enroll.Own{ID: appID()}, sidecar); err != nil {
		return nil, err
	}
	c.client, err = load(sidecar, log)
	return c, err
}

func load(files tunnel.Files, log *slog.Logger) (*enroll.Renewer, error) {
	credentials, err := tunnel.LoadCredentials(files)
	if err != nil {
		return nil, err
	}
	return &enroll.Renewer{Credentials: credentials, Files: files, Log: log}, nil
}

// KeepCertificates renews both ends' certificates and has revocations take
// effect, until ctx ends.
func (d *Deployment) KeepCertificates(ctx context.Context) {
	var ends sync.WaitGroup
	ends.Go(func() { d.certificates.ca.Signer.Run(ctx) })
	ends.Go(func() { d.certificates.server.Run(ctx) })
	ends.Go(func() { d.certificates.client.Run(ctx) })
	ends.Wait()
}

// Signer is the process that has the CA's key.
func (d *Deployment) Signer() *enroll.Signer { return d.certificates.ca.Signer }

// Gateway is the name and address of a deployment's gateway, for hosts that are
// to join it; dir is what Options names.
func Gateway(dir string) (name, address string, err error) {
	text, err := statedir.ReadFile(filepath.Join(dir, addressFile), 256, "gateway's address")
	return gatewayID().Name(), strings.TrimSpace(string(text)), err
}

// addressFile has the gateway's address of the last run.
const addressFile = "gateway.address"
