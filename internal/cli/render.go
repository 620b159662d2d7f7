package cli

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/firewall"
)

type renderCmd struct {
	Config   renderConfigCmd   `cmd:"" help:"A host's gateway.yaml or sidecar.yaml."`
	SSH      renderSSHCmd      `cmd:"" name:"ssh" help:"A host's sshd settings, as a drop-in."`
	Sysctl   renderSysctlCmd   `cmd:"" help:"A host's kernel settings, as a drop-in."`
	Systemd  renderSystemdCmd  `cmd:"" help:"A role's systemd units, with the sandbox around it."`
	Nftables renderNftablesCmd `cmd:"" help:"A host's packet filter, for nft -f."`

	Terraform renderTerraformCmd `cmd:"" help:"The hosts' network on AWS, as Terraform."`
}

type renderNftablesCmd struct {
	Deployment string `default:"/etc/redoubt/deployment.yaml" placeholder:"FILE" help:"The deployment's hosts (${default}); docs/configuration.md has every key."`
	Host       string `required:"" placeholder:"NAME" help:"The host whose rules these are, a gateway's or an app's name."`
}

func (renderNftablesCmd) Help() string {
	return `Prints the whole packet filter of one host, derived from the deployment's hosts. On a cache host: its port for application hosts, ssh for bastions, nothing else. On an application host: ssh for bastions; what else it serves is the application's own.

Example:

  redoubt render nftables --deployment deployment.yaml --host cache-1 > redoubt.nft
  nft --check -f redoubt.nft && nft -f redoubt.nft`
}

func (c *renderNftablesCmd) Run(e *env) error {
	d, err := loadDeployment(c.Deployment)
	if err != nil {
		return misconfigured(err)
	}
	rules, err := firewallRules(d, c.Host)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", c.Deployment, err), "redoubt render nftables --help")
	}
	_, err = io.WriteString(e.stdout, rules.Nftables())
	return err
}

// firewallRules says whom a host serves.
func firewallRules(d *config.Deployment, host string) (firewall.Rules, error) {
	rules := firewall.Rules{Deployment: d.Deployment, Host: host, SSH: d.SSHPort, Bastions: prefixes(d.Bastions)}
	var names []string
	for _, a := range d.Apps {
		names = append(names, a.Name)
		if a.Name == host {
			return rules, nil
		}
	}
	for _, g := range d.Gateways {
		names = append(names, g.Name)
		if g.Name != host {
			continue
		}
		rules.Cache, rules.EngineUID, rules.Clients = g.Port, d.EngineUID, prefixes(d.Clients(host))
		return rules, nil
	}
	return rules, fmt.Errorf("no host is called %q: there are %s", host, strings.Join(names, ", "))
}

func prefixes(sources config.Sources) []netip.Prefix {
	list := make([]netip.Prefix, len(sources))
	for i, s := range sources {
		list[i] = s.Prefix
	}
	return list
}
