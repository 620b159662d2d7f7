package migration

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// builder makes the plan of what was read.
type builder struct {
	*journal
	options Options
	server  *server
	door    endpoint   // where hosts come in today
	taken   []endpoint // of the cache host, besides Redis's own
	local   *endpoint  // where applications of the client's host find their cache; nil: not known
	localAt option     // its line
	remote  endpoint   // where that host goes

	address netip.Addr // of the cache host; invalid: not known
	listen  endpoint   // of the gateway
	apps    []source
	ssh     []netip.Prefix
}

type source struct {
	name   string
	prefix netip.Prefix
}

func (b *builder) plan() (*Plan, error) {
	if err := b.names(); err != nil {
		return nil, err
	}
	if err := b.addresses(); err != nil {
		return nil, err
	}
	sidecar := b.sidecar()
	if err := b.leaveOut(b.options.Without); err != nil {
		return nil, err
	}
	p := &Plan{
		Deployment: b.options.Deployment, Name: b.options.Name, Findings: b.findings,
		Files: []File{}, Secrets: []string{}, Steps: []Step{},
		password: b.server.password, sidecar: "127.0.0.1:6379",
	}
	if sidecar.port != 0 {
		p.sidecar = sidecar.String()
	}
	if p.Blocked() {
		return p, nil
	}
	p.Files = []File{{"deployment.yaml", b.deploymentFile()}, {b.options.Name + "/gateway.yaml", b.gatewayFile()}}
	if b.local != nil {
		p.Files = append(p.Files, File{b.options.ClientName + "/sidecar.yaml", b.sidecarFile(sidecar)})
	}
	p.Secrets = []string{p.digestsPath()}
	if p.hasAppEnv() {
		p.Secrets = append(p.Secrets, appEnvPath)
	}
	p.Steps = b.steps(p)
	return p, nil
}

// names become certificates' names.
func (b *builder) names() error {
	if err := identity.ValidDeployment(b.options.Deployment); err != nil {
		return fmt.Errorf("--deployment: %w", err)
	}
	if err := identity.ValidName(b.options.Name); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	if b.options.ClientName == "" {
		b.options.ClientName = "web-1"
		for _, app := range b.options.Apps {
			if p, err := parseSource(app.Source); err == nil && p.IsSingleIP() {
				b.options.ClientName = app.Name
				break
			}
		}
	}
	if err := identity.ValidName(b.options.ClientName); err != nil {
		return fmt.Errorf("--client-name: %w", err)
	}
	if b.options.Name == b.options.ClientName {
		return fmt.Errorf("--name and --client-name are the same: %s", b.options.Name)
	}
	return nil
}

func (b *builder) addresses() (err error) {
	if b.options.Address != "" {
		if b.address, err = netip.ParseAddr(b.options.Address); err != nil {
			return fmt.Errorf("--address %q is no IP address", b.options.Address)
		}
	}
	for _, host := range []string{b.remote.host, b.door.host} {
		if a, err := netip.ParseAddr(host); err == nil && !b.address.IsValid() && !a.IsUnspecified() && !a.IsLoopback() {
			b.address = a.Unmap()
		}
	}
	for _, app := range b.options.Apps {
		if err := identity.ValidName(app.Name); err != nil {
			return fmt.Errorf("--app: %w", err)
		}
		p, err := parseSource(app.Source)
		if err != nil {
			return fmt.Errorf("--app %s=%w", app.Name, err)
		}
		b.apps = append(b.apps, source{app.Name, p})
	}
	for _, text := range b.options.Bastions {
		p, err := parseSource(text)
		if err != nil {
			return fmt.Errorf("--bastion %w", err)
		}
		b.ssh = append(b.ssh, p)
	}
	return b.listening()
}

// parseSource reads an address or a network.
func parseSource(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Bits() == 0 {
		return p, fmt.Errorf("%q: an address or a network is needed (10.77.0.3, 10.77.1.0/24)", text)
	}
	return p.Masked(), nil
}

// listening finds a port beside those that are in use until the cut-over.
func (b *builder) listening() error {
	if b.options.Listen != "" {
		host, port, err := net.SplitHostPort(b.options.Listen)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || n == 0 {
			return fmt.Errorf("--listen %q is not HOST:PORT", b.options.Listen)
		}
		b.listen = endpoint{host: host, port: int(n)}
		if b.inUse(b.listen.port) {
			return fmt.Errorf("--listen %s: these files use port %d already, and both run until the cut-over: choose another", b.options.Listen, b.listen.port)
		}
	} else {
		b.listen = endpoint{host: "0.0.0.0", port: 6379}
		if a, err := netip.ParseAddr(b.door.host); err == nil {
			b.listen.host = a.String()
		}
		for b.inUse(b.listen.port) {
			b.listen.port++
		}
	}
	for i, f := range b.findings {
		if (f.Name == "accept" || f.Name == "tls-port") && f.Verdict == Changed {
			b.findings[i].Becomes = "listen: " + b.listen.String()
		}
	}
	return nil
}

// inUse says whether something is known to listen at a port of the cache host, at
// whatever address.
func (b *builder) inUse(port int) bool {
	return slices.Contains([]int{b.door.port, b.server.port, b.server.tlsPort}, port) || slices.ContainsFunc(b.taken, func(p endpoint) bool { return p.port == port })
}

// sidecar is where applications find their cache from now on: where they did, but
// never where other hosts could reach it.
func (b *builder) sidecar() endpoint {
	if b.local == nil {
		return endpoint{}
	}
	at := *b.local
	if at.host == "localhost" {
		at.host = "127.0.0.1"
	}
	if at.path == "" && !loopback(at.host) {
		at.host = "127.0.0.1"
		b.add(Finding{File: b.localAt.file, Line: b.localAt.line, Name: "accept", Was: b.localAt.value, Verdict: Tightened, Becomes: "listen: " + at.String(), Weak: true,
			Why: "Other hosts could reach the tunnel's beginning, in plain text. The sidecar listens on this host's loopback only."})
	}
	return at
}

// gatewayAddress is what sidecars connect to.
func (b *builder) gatewayAddress() string {
	host := b.remote.host
	if b.address.IsValid() && (host == "" || b.options.Address != "") {
		host = b.address.String()
	}
	if host == "" {
		host = "127.0.0.1" // stunnel's own meaning of a connect without a host
	}
	return net.JoinHostPort(host, strconv.Itoa(b.listen.port))
}
