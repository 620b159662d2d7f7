package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

type renderConfigCmd struct {
	Deployment string `default:"/etc/redoubt/deployment.yaml" placeholder:"FILE" help:"The deployment's hosts and what the cache is for (${default}); docs/configuration.md has every key."`
	Host       string `required:"" placeholder:"NAME" help:"The host whose configuration it is, a gateway's or an app's name."`
	Name       string `placeholder:"NAME" help:"Its name in its certificate, if --host is a group's. Default: --host."`
	Out        string `placeholder:"FILE" help:"Write it to FILE, if it isn't there already, instead of printing it."`
}

func (renderConfigCmd) Help() string {
	return `Prints gateway.yaml of a cache host, or sidecar.yaml of an application host, as they follow from deployment.yaml: addresses, who may connect, who has the CA, what the cache is for. It is what Puppet, Chef and Ansible place.

Example:

  redoubt render config --host cache-1 --out /etc/redoubt/gateway.yaml
  redoubt render config --host workers --name worker-7 --out /etc/redoubt/sidecar.yaml`
}

func (c *renderConfigCmd) Run(e *env) error {
	d, err := loadDeployment(c.Deployment)
	if err != nil {
		return misconfigured(err)
	}
	if c.Name == "" {
		c.Name = c.Host
	}
	if err := identity.ValidName(c.Name); err != nil {
		return usage(fmt.Errorf("--name: %w", err), "redoubt render config --help")
	}
	if _, err := firewallRules(d, c.Host); err != nil { // names the hosts that there are
		return usage(fmt.Errorf("%s: %w", c.Deployment, err), "redoubt render config --help")
	}
	of, err := d.ConfigOf(c.Host, c.Name)
	if err != nil {
		return err
	}
	text := "# Made from deployment.yaml by redoubt render config; docs/configuration.md has every key.\n" + config.Text(of)
	if c.Out == "" {
		_, err := io.WriteString(e.stdout, text)
		return err
	}
	if old, err := os.ReadFile(c.Out); err == nil && string(old) == text {
		return nil
	}
	if err := statedir.WriteFile(c.Out, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, c.Out)
	return nil
}
