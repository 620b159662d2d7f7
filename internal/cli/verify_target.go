package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// gatewayTarget is a cache host, by its configuration.
func gatewayTarget(c *config.Gateway) (*verify.Target, error) {
	files, rules, err := identityFiles(c.TLS, c.Deployment)
	if err != nil {
		return nil, err
	}
	id, err := identity.New(c.Deployment, identity.Gateway, c.Name)
	if err != nil {
		return nil, err
	}
	cache := &verify.Cache{
		Listen: c.Listen, Metrics: c.Admin.Metrics, Admit: gatewaySettings(c).Admit,
		Certificates: files, Rules: rules, CA: string(c.PKI.Dir), Unlock: unlockOf(c.PKI),
		Secrets:     named(files.Secret(), string(c.PKI.Passphrase)),
		Trusted:     []string{string(c.Engine.PasswordDigests)},
		Digests:     string(c.Engine.PasswordDigests),
		Fingerprint: fingerprint(c),
	}
	if cache.CA != "" {
		cache.Certificates.CA, cache.Certificates.CRL = filepath.Join(cache.CA, "ca.crt"), filepath.Join(cache.CA, "revoked.crl")
		cache.Secrets = append(cache.Secrets, filepath.Join(cache.CA, "ca.key"))
	}
	cache.Trusted = append(cache.Trusted, named(cache.Certificates.CA, files.Certificate)...)
	return &verify.Target{
		Vantage: evidence.CacheHost, Deployment: c.Deployment, Host: c.Name, Cache: cache,
		Doors: []tunnel.Endpoint{{Address: dialable(c.Listen), ID: id}},
	}, nil
}

// sidecarTarget is an application host, by its configuration.
func sidecarTarget(c *config.Sidecar) (*verify.Target, error) {
	files, rules, err := identityFiles(c.TLS, c.Deployment)
	if err != nil {
		return nil, err
	}
	doors, err := endpointsOf(c.Deployment, c.Gateways)
	if err != nil {
		return nil, err
	}
	return &verify.Target{
		Vantage: evidence.AppHost, Deployment: c.Deployment, Host: c.Name, Doors: doors,
		App: &verify.App{
			Listen: dialable(c.Listen), Bound: c.Listen, Rules: rules, Metrics: c.Admin.Metrics, Certificates: files,
			Secrets: named(files.Secret()), Trusted: named(files.CA, files.Certificate), Fingerprint: fingerprint(c),
		},
	}, nil
}

// identityFiles are those of a host's identity: none where it comes from a Workload
// API.
func identityFiles(t config.TLS, deployment string) (files tunnel.Files, rules []tunnel.Rule, err error) {
	if rules, err = rulesOf(deployment, t.Identities); err != nil || t.WorkloadAPI != "" {
		return files, rules, err
	}
	files, err = filesOf(t)
	return files, rules, err
}

// named leaves out what the configuration doesn't name. A file that is missing stays
// in: the check says so.
func named(paths ...string) (list []string) {
	for _, p := range paths {
		if p != "" {
			list = append(list, p)
		}
	}
	return list
}

// fingerprint tells two configurations apart by what they say, not by how they are
// written.
func fingerprint(c any) string {
	text, err := json.Marshal(c)
	if err != nil {
		return "" // a schema holds only what JSON can
	}
	return fmt.Sprintf("%.16x", sha256.Sum256(text))
}

// dialable is a listener's address as this host reaches it.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

// running adds what only the running process knows. That it doesn't answer is for the
// checks to say, and kept.
func (c *verifyCmd) running(ctx context.Context, t *verify.Target, socket string) {
	if t.Cache != nil {
		t.Cache.Ask(socket)
	}
	f := new(facts)
	report, err := admin.Ask(ctx, socket, f)
	if err != nil {
		c.unheard = err
		return
	}
	f.PID = report.PID // a process that was taken says whatever it likes
	f.addTo(t)
}

// addTo adds what a process tells of itself. RD-102 holds its word for where it listens
// against the kernel's.
func (f *facts) addTo(t *verify.Target) {
	if f.Gateway != nil && t.Cache != nil {
		t.Cache.PID, t.Cache.Running, t.Cache.Told = f.PID, f.Fingerprint, f.Gateway.Address
		if f.Front != nil {
			t.Cache.Front = f.Front.PID
		}
		t.Cache.Listen = settled(t.Cache.Listen, t.Cache.Told)
		if t.Vantage == evidence.OneMachine {
			t.Doors = []tunnel.Endpoint{up.GatewayEndpoint(dialable(f.Gateway.Address))}
		}
	}
	if f.Sidecar != nil && t.App != nil {
		t.App.PID, t.App.Running, t.App.Told = f.PID, f.Fingerprint, f.Sidecar.Address
		t.App.Bound = settled(t.App.Bound, t.App.Told)
		t.App.Listen = dialable(t.App.Bound)
	}
}

// settled is the address that is configured or, where the system chooses the port, the
// one that it came to be.
func settled(configured, told string) string {
	if _, port, err := net.SplitHostPort(configured); err != nil || port == "0" {
		return told
	}
	return configured
}

// target finds out what there is to verify, and what is accepted there.
func (c *verifyCmd) target(ctx context.Context) (t *verify.Target, err error) {
	var hosts *config.Deployment
	if c.Deployment != "" {
		if hosts, err = loadDeployment(c.Deployment); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Outside:
		t, err = c.outsideTarget(hosts)
	case c.Dir != "":
		t, err = up.Target(c.Dir)
		if err == nil {
			c.running(ctx, t, filepath.Join(c.Dir, statedir.AdminSocket))
		}
	default:
		t, err = c.configured(ctx)
	}
	if err != nil {
		return nil, err
	}
	if t.Hosts = hosts; hosts != nil {
		t.Exceptions = append(t.Exceptions, exceptionsOf(hosts.Exceptions)...)
		if rules, err := firewallRules(hosts, t.Host); err == nil { // an outsider has none
			t.Filter = &rules
		}
	}
	if t.App != nil && t.App.Password == "" {
		if cache, err := c.urlFlags.read(); err != nil {
			t.App.NoPassword = err.Error()
		} else {
			t.App.Password = cache.password()
		}
		t.App.Secrets = append(t.App.Secrets, named(c.Env)...)
	}
	return t, nil
}

// configured is the host whose configuration is named.
func (c *verifyCmd) configured(ctx context.Context) (*verify.Target, error) {
	role, err := loadEither(c.Config)
	if err != nil {
		return nil, err
	}
	var t *verify.Target
	if g := role.gateway; g != nil {
		if t, err = gatewayTarget(g); err != nil {
			return nil, err
		}
		t.Exceptions = exceptionsOf(g.Exceptions)
		t.Cache.Trusted, t.Cache.Config = append(t.Cache.Trusted, c.Config), c.Config
	} else {
		if t, err = sidecarTarget(role.sidecar); err != nil {
			return nil, err
		}
		t.Exceptions = exceptionsOf(role.sidecar.Exceptions)
		t.App.Trusted, t.App.Config = append(t.App.Trusted, c.Config), c.Config
	}
	c.running(ctx, t, role.socket)
	return t, nil
}

// outsideTarget is the deployment as a host sees it that must not get in.
func (c *verifyCmd) outsideTarget(hosts *config.Deployment) (*verify.Target, error) {
	if hosts == nil {
		return nil, errors.New("--outside: which hosts must be out of reach stands in the deployment's file: name it with --deployment")
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	for _, control := range c.Control {
		host, port, err := net.SplitHostPort(control)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("--control: %q is no HOST:PORT", control)
		}
		if ip := net.ParseIP(host); ip.IsLoopback() || host == "localhost" {
			return nil, fmt.Errorf("--control: %s is this host itself: it must be another one, reached over the network", control)
		}
	}
	told, err := readEvidence(c.Evidence)
	if err != nil {
		return nil, fmt.Errorf("--evidence: %w", err)
	}
	told = slices.DeleteFunc(told, func(e dossier.Evidence) bool { return e.Report.Vantage == evidence.Outsider }) // it tells of no host
	if c.CA != "" {
		if err := authenticate(told, c.CA, hosts.Deployment); err != nil {
			return nil, err
		}
	}
	t := &verify.Target{Vantage: evidence.Outsider, Deployment: hosts.Deployment, Host: name, Controls: c.Control, Authenticated: c.CA != ""}
	for _, r := range told {
		if r.Report.Deployment != hosts.Deployment {
			return nil, fmt.Errorf("--evidence: %s is of deployment %s, not of %s", r.Name, r.Report.Deployment, hosts.Deployment)
		}
		t.Reports = append(t.Reports, r.Report)
	}
	for _, g := range hosts.Gateways {
		id, err := identity.New(hosts.Deployment, identity.Gateway, g.Name)
		if err != nil {
			return nil, err
		}
		for _, a := range g.Address {
			t.Doors = append(t.Doors, tunnel.Endpoint{Address: net.JoinHostPort(a.Addr().String(), fmt.Sprint(g.Port)), ID: id})
		}
	}
	slices.SortStableFunc(t.Reports, func(a, b *evidence.Report) int { return b.Finished.Compare(a.Finished) }) // the newest of each host counts
	return t, nil
}

// authenticate refuses a report that nobody answers for, by the CA's certificate and the
// list of revoked ones, if there is one beside it.
func authenticate(reports []dossier.Evidence, ca, deployment string) error {
	roots, err := pki.Read(ca)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	const maxList = 16 << 20
	revoked, err := statedir.ReadFile(filepath.Join(filepath.Dir(ca), "revoked.crl"), maxList, "list of revoked certificates")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--ca: %w", err)
	}
	if err := dossier.Authenticate(reports, roots, deployment, versionString(), revoked, time.Now()); err != nil {
		return fmt.Errorf("--evidence: %w", err)
	}
	return nil
}

// locate fills in which deployment is meant when no flag says so: the host's
// configuration in its usual place, else the deployment that redoubt up made.
func (c *verifyCmd) locate() error {
	if !c.Outside && len(c.Evidence)+len(c.Control)+len(c.CA) > 0 {
		return errors.New("--evidence, --ca and --control are for --outside")
	}
	if c.Dir != "" || c.Config != "" || c.Outside {
		return nil
	}
	var found []string
	for _, path := range []string{"/etc/redoubt/gateway.yaml", "/etc/redoubt/sidecar.yaml"} {
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	switch len(found) {
	case 1:
		c.Config = found[0]
		return nil
	case 2:
		return fmt.Errorf("both %s and %s are here: name the one that is meant with --config", found[0], found[1])
	}
	dir, err := statedir.Default()
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nothing to verify found: neither a configuration in /etc/redoubt nor a deployment of redoubt up in %s: name it with --config or --dir", dir)
	}
	c.Dir = dir
	return nil
}
