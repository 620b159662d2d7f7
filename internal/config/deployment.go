package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/host"
)

// Deployment is deployment.yaml: every host, once, from which firewalls are made.
type Deployment struct {
	Deployment  string   `yaml:"deployment" doc:"The deployment's name, as in its certificates."`
	Gateways    []Gate   `yaml:"gateways" doc:"The cache hosts."`
	Apps        []App    `yaml:"apps" doc:"The application hosts; a group of hosts that come and go is one entry with a network."`
	Bastions    Sources  `yaml:"bastions" default:"[]" example:"[10.77.0.9]" doc:"At least one. Where ssh may come from: addresses or CIDRs."`
	SSHPort     int      `yaml:"ssh_port" default:"22" min:"1" max:"65535" doc:"Where sshd listens, on all hosts."`
	SSHForwards []string `yaml:"ssh_forwards" default:"[]" doc:"What ssh forwards on all hosts nevertheless: tcp, agent, x11. Each is a way past the packet filter."`
	EngineUID   int      `yaml:"engine_uid" default:"0" min:"0" max:"4294967294" doc:"The engine's user (id -u redoubt-engine): it may send nothing. 0: there is no such rule; the engine's sandbox has no network in any case."`

	Engine Policy `yaml:"engine" doc:"What the applications use the cache for, on every cache host, for redoubt render config; each key as in gateway.yaml."`

	AWS AWS `yaml:"aws" doc:"Where the hosts are in an Amazon VPC, for redoubt render terraform; docs/aws.md."`

	Exceptions []Exception `yaml:"exceptions" default:"[]" doc:"Checks of redoubt verify that may fail for a time on every host, as in gateway.yaml."`
}

// Gate is a cache host.
type Gate struct {
	Name    string  `yaml:"name" doc:"Its name in its certificate."`
	Address Sources `yaml:"address" default:"[]" example:"10.77.0.2" doc:"Required. Its address; a list if it has several."`
	Port    int     `yaml:"port" default:"6379" min:"1" max:"65535" doc:"The one port that application hosts reach."`
	CA      bool    `yaml:"ca" default:"false" doc:"The deployment's CA lies on this host, in /etc/redoubt/ca: it enrols the others."`
}

// Policy is the part of Engine that is the same on all cache hosts.
type Policy struct {
	Uses       []string `yaml:"uses" default:"[cache]" doc:"cache, sessions, locks, pubsub, queues."`
	Allow      []string `yaml:"allow" default:"[]" doc:"scripting, functions."`
	Deny       []string `yaml:"deny" default:"[]" doc:"keys, flushdb, pubsub, tracking."`
	Memory     Size     `yaml:"memory" default:"2gb" min:"16mb" max:"16tb" doc:"For data and clients."`
	MaxValue   Size     `yaml:"max_value" default:"512mb" min:"1mb" max:"512mb" doc:"Largest single value."`
	MaxClients int      `yaml:"max_clients" default:"10000" min:"16" max:"1000000" doc:"Connections that the engine accepts."`
}

// App is an application host, or a group of them.
type App struct {
	Name    string  `yaml:"name" example:"web-1" doc:"Its name in its certificate, or the group's."`
	Address Sources `yaml:"address" default:"[]" example:"10.77.0.3" doc:"Its address; a list if it has several. A group has a network instead."`
	Network Sources `yaml:"network" default:"[]" doc:"The network that a group's hosts are in, as a CIDR; a list if there are several."`
}

// Sources are addresses and networks.
type Sources []Source

// Source is one address or one network: a single address has all its bits.
type Source struct{ netip.Prefix }

func (s *Source) set(text string) (string, bool) {
	const want = "an address or a network: 10.77.0.3, 10.77.1.0/24, fd77::/64"
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		s.Prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return want, true
	}
	p, err := netip.ParsePrefix(text)
	s.Prefix = p.Masked()
	return want, err == nil
}

// LoadDeployment reads and checks deployment.yaml.
func LoadDeployment(path string) (*Deployment, error) {
	c := new(Deployment)
	return c, load(path, c)
}

// ConfigOf is the configuration of one host, a *Gateway or a *Sidecar, as far as it
// follows from the deployment; entry is its name there, or its group's, and name the
// one in its certificate.
func (c *Deployment) ConfigOf(entry, name string) (any, error) {
	for _, g := range c.Gateways {
		if g.Name == entry {
			return c.gatewayOf(g, name), nil
		}
	}
	for _, a := range c.Apps {
		if a.Name == entry {
			s := NewSidecar()
			s.Deployment, s.Name, s.Gateways = c.Deployment, name, c.Peers()
			return s, nil
		}
	}
	return nil, fmt.Errorf("no host is called %q", entry)
}

func (c *Deployment) gatewayOf(g Gate, name string) *Gateway {
	w := NewGateway()
	w.Deployment, w.Name = c.Deployment, name
	// One of several addresses isn't known to be the one: then the packet filter alone
	// says which networks reach it.
	listen := "::"
	if len(g.Address) == 1 {
		listen = g.Address[0].Addr().String()
	}
	w.Listen = net.JoinHostPort(listen, strconv.Itoa(g.Port))
	for _, s := range c.Clients("") { // itself too, so that redoubt verify can try it
		w.Admit = append(w.Admit, Network(s))
	}
	if g.CA {
		w.PKI.Dir = "ca"
	} else if slices.ContainsFunc(c.Gateways, func(g Gate) bool { return g.CA }) {
		w.RenewFrom = c.peers(g.Name)
	}
	p := c.Engine
	w.Engine.Uses, w.Engine.Allow, w.Engine.Deny = p.Uses, p.Allow, p.Deny
	w.Engine.Memory, w.Engine.MaxValue, w.Engine.MaxClients = p.Memory, p.MaxValue, p.MaxClients
	return w
}

// Clients are who may use the cache on a host: application hosts, and the other cache
// hosts, since one without the CA renews its certificate at one that has it.
func (c *Deployment) Clients(of string) (clients Sources) {
	for _, a := range c.Apps {
		clients = append(clients, a.Address...)
		clients = append(clients, a.Network...)
	}
	for _, g := range c.Gateways {
		if g.Name != of {
			clients = append(clients, g.Address...)
		}
	}
	return clients
}

// Peers are the gateways as a sidecar knows them.
func (c *Deployment) Peers() []Peer { return c.peers("") }

// peers are the gateways; for one of them, those others that have the CA.
func (c *Deployment) peers(except string) (peers []Peer) {
	for _, g := range c.Gateways {
		if g.Name == except || except != "" && !g.CA {
			continue
		}
		peers = append(peers, Peer{g.Name, net.JoinHostPort(g.Address[0].Addr().String(), strconv.Itoa(g.Port))})
	}
	return peers
}

func (c *Deployment) resolve(string) []problem { return nil }

func (c *Deployment) check() (problems []problem) {
	wrong := func(path, format string, args ...any) {
		problems = append(problems, problem{path: path, text: fmt.Sprintf(format, args...)})
	}
	problems = append(problems, checkDeploymentName("deployment", c.Deployment)...)
	if len(c.Gateways) == 0 {
		wrong("gateways", "is missing: name at least one ({name: cache-1, address: 10.77.0.2})")
	}
	if len(c.Apps) == 0 {
		wrong("apps", "is missing: name at least one ({name: web-1, address: 10.77.0.3})")
	}
	if len(c.Bastions) == 0 {
		wrong("bastions", "is missing: without one nobody could reach ssh")
	}
	var seen []string
	name := func(path, name string) {
		problems = append(problems, checkName(path, name)...)
		if slices.Contains(seen, name) {
			wrong(path, "is another host's name too: %s", name)
		}
		seen = append(seen, name)
	}
	for i, g := range c.Gateways {
		at := fmt.Sprintf("gateways[%d]", i)
		name(at+".name", g.Name)
		if len(g.Address) == 0 {
			wrong(at+".address", "is missing")
		}
		problems = append(problems, checkAddresses(at+".address", g.Address)...)
	}
	for i, a := range c.Apps {
		at := fmt.Sprintf("apps[%d]", i)
		name(at+".name", a.Name)
		if (len(a.Address) == 0) == (len(a.Network) == 0) {
			wrong(at, "needs an address or a network, and not both")
		}
		problems = append(problems, checkAddresses(at+".address", a.Address)...)
		for j, n := range a.Network {
			if n.Bits() == 0 {
				wrong(fmt.Sprintf("%s.network[%d]", at, j), "is every address there is")
			}
		}
	}
	problems = append(problems, checkSizes(c.Engine.Memory, c.Engine.MaxValue)...)
	for i, use := range c.Engine.Uses {
		if len(c.Gateways) > 1 && slices.Contains(needOneCache, use) {
			wrong(fmt.Sprintf("engine.uses[%d]", i), "is %s, but there are %d gateways, and each has a cache of its own: a lock or job in one is not in the others. Name one gateway, or a deployment for each use", use, len(c.Gateways))
		}
	}
	for i, name := range c.SSHForwards {
		if host.Forwards[name] == "" {
			wrong(fmt.Sprintf("ssh_forwards[%d]", i), "is %q, must be tcp, agent or x11", name)
		}
	}
	problems = append(problems, c.checkAWS()...)
	problems = append(problems, checkExceptions(c.Exceptions)...)
	for i, b := range c.Bastions {
		if b.Bits() == 0 {
			wrong(fmt.Sprintf("bastions[%d]", i), "is every address there is")
		}
	}
	return problems
}

// needOneCache are the uses that go wrong where a host may use another cache
// (docs/decisions/0142); gateways refuse such hosts themselves too.
var needOneCache = []string{"locks", "queues"}

func checkAddresses(path string, addresses Sources) (problems []problem) {
	for i, a := range addresses {
		if !a.IsSingleIP() {
			problems = append(problems, problem{path: fmt.Sprintf("%s[%d]", path, i), text: "must be one address, not a network"})
		}
	}
	return problems
}
