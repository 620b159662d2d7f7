package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/up"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token with which one new host gets its certificate."`
	List   tokenListCmd   `cmd:"" help:"List the tokens and what became of them."`
	Revoke tokenRevokeCmd `cmd:"" help:"Make a token useless that hasn't been used."`
}

// caFlag is the --dir of commands that work where the CA lies.
type caFlag struct {
	Dir string `required:"" placeholder:"DIR" help:"The CA's directory, or that of a deployment of redoubt up."`
}

type tokenCreateCmd struct {
	caFlag
	Role    string        `default:"app" enum:"app,gateway" help:"app (an application host) or gateway (a cache host); ${default} if not set."`
	Name    string        `required:"" placeholder:"HOST" help:"The new host's name in the deployment."`
	TTL     time.Duration `name:"ttl" default:"1h" placeholder:"DURATION" help:"How long the token is good for, a week at most (${default})."`
	Gateway []string      `placeholder:"NAME=HOST:PORT" help:"A gateway, in order of preference. At least one has the CA. Not needed where --dir is of redoubt up."`
	Deploy  string        `name:"deployment" placeholder:"FILE" help:"deployment.yaml, whose gateways these are, instead of --gateway."`
	DNS     []string      `name:"dns" placeholder:"NAME" help:"Further DNS names of the host, for its certificate."`
	IP      []netip.Addr  `name:"ip" placeholder:"ADDR" help:"Further addresses of the host, for its certificate."`
}

func (tokenCreateCmd) Help() string {
	return `Prints a token: a secret that is good for one host, once, until its time is over. Only a hash of it is kept. Run this where the CA lies; the gateway there needs no restart.

Example:

  redoubt token create --dir /etc/redoubt/ca --name web-1 --gateway cache-1=10.77.0.2:6379

and on the new host:

  redoubt join --token-file -`
}

func (c *tokenCreateCmd) Run(e *env) error {
	const help = "redoubt token create --help"
	ca, err := pki.Open(caDir(c.Dir), nil) // a token needs no signature
	if err != nil {
		return err
	}
	grant := enroll.Grant{TTL: c.TTL, DNS: c.DNS, IPs: c.IP}
	if grant.Identity, err = identity.New(ca.Deployment(), identity.Role(c.Role), c.Name); err != nil {
		return usage(fmt.Errorf("--name: %w", err), help)
	}
	if grant.Gateways, err = c.gateways(); err != nil {
		return usage(err, help)
	}
	if c.TTL <= 0 || c.TTL > enroll.MaxTTL {
		return usage(fmt.Errorf("--ttl: %s is not between 0 and %s", c.TTL, enroll.MaxTTL), help)
	}
	if grant.CA, err = ca.Moment(); err != nil {
		return err
	}
	token, err := enroll.OpenTokens(caDir(c.Dir)).Create(grant)
	if err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, token.Text())
	fmt.Fprintf(e.stderr, "token %s for %s, good once within %s: a secret until then. On the new host: redoubt join --token-file -\n", token.ID(), grant.Identity, c.TTL)
	return nil
}

func (c *tokenCreateCmd) gateways() ([]enroll.Gateway, error) {
	var gateways []enroll.Gateway
	if c.Deploy != "" {
		d, err := loadDeployment(c.Deploy)
		if err != nil {
			return nil, err
		}
		for _, p := range d.Peers() {
			gateways = append(gateways, enroll.Gateway{Name: p.Name, Address: p.Address})
		}
		return gateways, nil
	}
	for _, text := range c.Gateway {
		name, address, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("--gateway: %q is not NAME=HOST:PORT", text)
		}
		gateways = append(gateways, enroll.Gateway{Name: name, Address: address})
	}
	if len(gateways) > 0 {
		return gateways, nil
	}
	name, address, err := up.Gateway(c.Dir)
	if err != nil {
		return nil, errors.New("--gateway is missing: where can the new host reach a gateway? (NAME=HOST:PORT)")
	}
	return []enroll.Gateway{{Name: name, Address: address}}, nil
}

type tokenListCmd struct {
	caFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (tokenListCmd) Help() string {
	return `Lists the tokens that are open, and for a week those that were used or have expired. It shows no secret.

Example:

  redoubt token list --dir /etc/redoubt/ca`
}

func (c *tokenListCmd) Run(e *env) error {
	if _, err := pki.Open(caDir(c.Dir), nil); err != nil {
		return err
	}
	list, err := enroll.OpenTokens(caDir(c.Dir)).List()
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(e.stdout, list)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\tuntil %s\n", l.ID, l.State, l.Identity, l.Expires.Format(time.RFC3339))
	}
	return t.Flush()
}

type tokenRevokeCmd struct {
	caFlag
	ID string `arg:"" help:"The token's id, as token list shows it."`
}

func (tokenRevokeCmd) Help() string {
	return `Makes a token useless. One that was used can't be revoked: revoke the host's certificate (redoubt pki revoke).

Example:

  redoubt token revoke --dir /etc/redoubt/ca 2f6c1d0a9b8e7f53`
}

func (c *tokenRevokeCmd) Run(e *env) error {
	return enroll.OpenTokens(caDir(c.Dir)).Remove(c.ID)
}
