package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/workload"
)

// loadCredentials loads a host's identity and holds it against what the
// configuration says it is: a certificate copied from another host is an error.
func loadCredentials(files tunnel.Files, named []config.Named, deployment, name string) (*tunnel.Credentials, error) {
	rules, err := rulesOf(deployment, named)
	if err != nil {
		return nil, err
	}
	credentials, err := tunnel.LoadCredentials(files, rules...)
	if err != nil {
		return nil, err
	}
	if id := credentials.ID(); id.Deployment() != deployment || id.Name() != name {
		return nil, fmt.Errorf("%s is the certificate of %s, but the configuration is of deployment %s, name %s", files.Certificate, id, deployment, name)
	}
	return credentials, nil
}

func rulesOf(deployment string, named []config.Named) ([]tunnel.Rule, error) {
	var rules []tunnel.Rule
	for i, n := range named {
		rule, err := tunnel.ParseRule(deployment, identity.Role(n.Role), n.Match, n.Name)
		if err != nil {
			return nil, fmt.Errorf("tls.identities[%d]: %w", i, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// credentialsFromAPI waits for a host's identity from a SPIFFE Workload API.
func credentialsFromAPI(ctx context.Context, t config.TLS, deployment string, role identity.Role, name string) (*tunnel.Credentials, error) {
	id, err := identity.New(deployment, role, name)
	if err != nil {
		return nil, err
	}
	rules, err := rulesOf(deployment, t.Identities)
	if err != nil {
		return nil, err
	}
	credentials, err := workload.Load(ctx, t.WorkloadAPI, id, rules...)
	if err != nil && !errors.Is(err, workload.ErrAbsent) {
		return nil, coded{err, exitEnvironment}
	}
	if err != nil {
		return nil, fmt.Errorf("tls.workload_api: %w", err)
	}
	return credentials, nil
}

// filesOf maps the configuration. A list of revoked certificates that is named
// there must exist, or a misspelt name would let everybody in.
func filesOf(t config.TLS) (tunnel.Files, error) {
	files := tunnel.Files{Certificate: string(t.Certificate), Key: string(t.Key), CA: string(t.CA), CRL: string(t.CRL)}
	if files.CRL == "" {
		files.CRL = filepath.Join(filepath.Dir(files.Certificate), "revoked.crl")
		return files, nil
	}
	if _, err := os.Stat(files.CRL); err != nil {
		return tunnel.Files{}, fmt.Errorf("tls.crl: %w", err)
	}
	return files, nil
}

// gatewayRenewer loads a gateway's identity, for which its CA provides if it lies
// here, and makes what keeps it fresh. Without provide the CA issues nothing, and a
// gateway that waits for its first certificate has no Credentials.
func gatewayRenewer(ctx context.Context, c *config.Gateway, log *slog.Logger, provide bool) (*enroll.Renewer, error) {
	if c.TLS.WorkloadAPI != "" {
		credentials, err := credentialsFromAPI(ctx, c.TLS, c.Deployment, identity.Gateway, c.Name)
		return &enroll.Renewer{Credentials: credentials, Log: log}, err
	}
	files, err := filesOf(c.TLS)
	if err != nil {
		return nil, err
	}
	k := &enroll.Renewer{Files: files, Log: log}
	if c.PKI.Dir != "" {
		k.Files.CA, k.Files.CRL = filepath.Join(string(c.PKI.Dir), "ca.crt"), filepath.Join(string(c.PKI.Dir), "revoked.crl")
		if k.Server, err = openServer(c, k.Files, provide, log); err != nil {
			return nil, err
		}
	}
	k.Credentials, err = loadCredentials(k.Files, c.TLS.Identities, c.Deployment, c.Name)
	if !provide && k.Server != nil && errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	if !k.Credentials.HasLists() {
		log.Warn("there is no list of revoked certificates, and there never was one here: whoever the CA signed for is believed until its certificate ends", "file", k.Files.CRL)
	}
	if k.Server != nil {
		k.Server.Credentials = k.Credentials
	}
	if len(c.RenewFrom) > 0 {
		endpoints, err := endpointsOf(c.Deployment, c.RenewFrom)
		if err != nil {
			return nil, fmt.Errorf("renew_from: %w", err)
		}
		k.Dialer = &tunnel.Dialer{Credentials: k.Credentials, Endpoints: endpoints}
	}
	if k.Server == nil && k.Dialer == nil && files.Key == "" {
		log.Warn("nobody renews this gateway's certificate: set pki.dir where the CA lies, else renew_from", "until", k.Credentials.NotAfter())
	}
	return k, nil
}

// unlockOf is what opens the CA's keys on its gateway's host.
func unlockOf(c config.PKI) pki.Unlock {
	if c.Passphrase != "" {
		return pki.PassphraseFile(string(c.Passphrase))
	}
	return unlockSealed()
}

// openServer starts the CA's process and, if provide says so, has it provide for its
// gateway.
func openServer(c *config.Gateway, files tunnel.Files, provide bool, log *slog.Logger) (_ *enroll.Server, err error) {
	id, err := identity.New(c.Deployment, identity.Gateway, c.Name)
	if err != nil {
		return nil, err
	}
	signer, err := enroll.StartSigner(enroll.SignerOptions{
		Dir: string(c.PKI.Dir), Unlock: unlockOf(c.PKI), Own: []identity.ID{id}, Life: time.Duration(c.PKI.Life), Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("pki.dir: %w", err)
	}
	defer func() {
		if err != nil || !provide { // it was only looked whether it would start
			signer.Close()
		}
	}()
	if signer.Locked {
		return nil, fmt.Errorf("pki.passphrase: the keys of the CA in %s are encrypted: name the file with their passphrase (or credential:NAME)", c.PKI.Dir)
	}
	if signer.Deployment != c.Deployment {
		return nil, fmt.Errorf("pki.dir: %s is the CA of deployment %s, but the configuration is of %s", c.PKI.Dir, signer.Deployment, c.Deployment)
	}
	if provide { // makes the list from the ledger, if it is missing or behind
		if err := signer.Settle(); err != nil {
			return nil, fmt.Errorf("pki.dir: who is revoked can't be told, so nobody is served: %w", err)
		}
	}
	if provide && files.Key == "" { // else the certificate is somebody else's
		err = signer.ProvideCertificate(enroll.Own{ID: id}, files.Certificate)
	}
	return &enroll.Server{Signer: signer, Log: log}, err
}

// sidecarRenewer does the same for an application host.
func sidecarRenewer(ctx context.Context, c *config.Sidecar, log *slog.Logger) (*enroll.Renewer, error) {
	endpoints, err := endpointsOf(c.Deployment, c.Gateways)
	if err != nil {
		return nil, fmt.Errorf("gateways: %w", err)
	}
	k := &enroll.Renewer{Log: log}
	if c.TLS.WorkloadAPI != "" {
		k.Credentials, err = credentialsFromAPI(ctx, c.TLS, c.Deployment, identity.App, c.Name)
	} else if k.Files, err = filesOf(c.TLS); err == nil {
		k.Credentials, err = loadCredentials(k.Files, c.TLS.Identities, c.Deployment, c.Name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w (a new host gets its certificate with: redoubt join --token-file -)", err)
	}
	if err != nil {
		return nil, err
	}
	k.Dialer = &tunnel.Dialer{Credentials: k.Credentials, Endpoints: endpoints}
	return k, nil
}

func endpointsOf(deployment string, peers []config.Peer) ([]tunnel.Endpoint, error) {
	var endpoints []tunnel.Endpoint
	for _, p := range peers {
		id, err := identity.New(deployment, identity.Gateway, p.Name)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, tunnel.Endpoint{Address: p.Address, ID: id})
	}
	return endpoints, nil
}

// keeping is the part of a process that keeps its identity fresh, with the help
// of a Workload API if its address is given.
func keeping(k *enroll.Renewer, workloadAPI string) daemon.Part {
	return daemon.Part{Name: "certificates", Run: func(ctx context.Context, ready func()) error {
		ready()
		var beside sync.WaitGroup
		if k.Server != nil {
			beside.Go(func() { k.Server.Signer.Run(ctx) })
		}
		if workloadAPI != "" {
			beside.Go(func() { workload.Watch(ctx, workloadAPI, k.Credentials, k.Log) })
		}
		k.Run(ctx)
		beside.Wait()
		return nil
	}}
}
