package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/migration"
)

type importCmd struct {
	Stunnel  importStunnelCmd  `cmd:"" help:"From Redis behind stunnel."`
	RedisTLS importRedisTLSCmd `cmd:"" name:"redis-tls" help:"From Redis with TLS of its own."`
}

// importFlags are what an import needs whatever it comes from.
type importFlags struct {
	Redis      string   `required:"" placeholder:"FILE" help:"The redis.conf or valkey.conf."`
	User       string   `placeholder:"NAME" help:"The Redis user that applications log in as, where it isn't default: its password stays good, its name goes."`
	Commands   string   `name:"commandstats" placeholder:"FILE" help:"What redis-cli info commandstats printed: the plan then says which commands are used that Redoubt refuses."`
	Out        string   `placeholder:"DIR" help:"Where the files go; made (0700) if missing. Without it nothing is written."`
	JSON       bool     `name:"json" help:"The plan as JSON."`
	Deployment string   `default:"cache" placeholder:"NAME" help:"The deployment's name, as in its certificates (${default})."`
	Name       string   `default:"cache-1" placeholder:"NAME" help:"The cache host's name (${default})."`
	ClientName string   `placeholder:"NAME" help:"The application host's name, for sidecar.yaml. Default: the first host of --app, or web-1."`
	Address    string   `placeholder:"IP" help:"The cache host's address, where the files don't tell."`
	Listen     string   `placeholder:"HOST:PORT" help:"Where the gateway listens. Default: a port beside those that are in use until the cut-over."`
	App        []string `placeholder:"NAME=ADDRESS" help:"An application host, or a group and its network (web=10.77.1.0/24)."`
	Bastion    []string `placeholder:"ADDRESS" help:"Where ssh may come from."`
	Uses       []string `placeholder:"USE" help:"What the cache is for: cache, sessions, locks, pubsub, queues. Default: as maxmemory-policy suggests."`
	Allow      []string `placeholder:"NAME" help:"Opened on purpose: scripting, functions."`
	Without    []string `placeholder:"DIRECTIVE" help:"Go on without this directive, which was refused or isn't known."`
}

const importHelp = `Prints the plan: what becomes of each line, and why; the files deployment.yaml, gateway.yaml and sidecar.yaml; and the steps that are left. With --out the files are written, and those of the password, mode 0600. No secret is printed.

What Redoubt can't do, and what it doesn't know, is a person's decision: then the exit code is 1 and nothing is written. Change a copy of the file, or name the directive with --without.

`

type importStunnelCmd struct {
	importFlags
	Stunnel       string `required:"" placeholder:"FILE" help:"The cache host's stunnel configuration."`
	ClientStunnel string `placeholder:"FILE" help:"An application host's stunnel configuration."`
	Service       string `placeholder:"NAME" help:"The section that is Redis's, where it isn't clear."`
	ClientService string `placeholder:"NAME" help:"The same of the application host's file. Default: the one of --service's name, or the one that connects to the cache host's."`
}

func (importStunnelCmd) Help() string {
	return importHelp + `Example:

  redoubt import stunnel --redis redis.conf --stunnel redis-server.conf --client-stunnel redis-client.conf
  redoubt import stunnel --redis redis.conf --stunnel redis-server.conf --deployment clinic --app web-1=10.77.0.3 --bastion 10.77.0.9 --out clinic`
}

func (c *importStunnelCmd) Run(e *env) error {
	return c.run(e, "redoubt import stunnel", func(o migration.Options) (*migration.Plan, error) {
		o.Stunnel, o.ClientStunnel, o.Service, o.ClientService = c.Stunnel, c.ClientStunnel, c.Service, c.ClientService
		return migration.Stunnel(o)
	})
}

type importRedisTLSCmd struct{ importFlags }

func (importRedisTLSCmd) Help() string {
	return importHelp + `Example:

  redoubt import redis-tls --redis redis.conf --address 10.77.0.2 --app web-1=10.77.0.3 --bastion 10.77.0.9 --out clinic`
}

func (c *importRedisTLSCmd) Run(e *env) error {
	return c.run(e, "redoubt import redis-tls", migration.RedisTLS)
}

func (c *importFlags) run(e *env, name string, read func(migration.Options) (*migration.Plan, error)) error {
	options := migration.Options{
		Redis: c.Redis, User: c.User, CommandStats: c.Commands, Deployment: c.Deployment, Name: c.Name, ClientName: c.ClientName, Address: c.Address, Listen: c.Listen,
		Bastions: c.Bastion, Uses: c.Uses, Allow: c.Allow, Without: c.Without, Now: time.Now(),
	}
	for _, app := range c.App {
		host, source, ok := strings.Cut(app, "=")
		if !ok {
			return usage(fmt.Errorf("--app %q is not NAME=ADDRESS", app), name+" --help")
		}
		options.Apps = append(options.Apps, migration.Host{Name: host, Source: source})
	}
	plan, err := read(options)
	if err != nil {
		return misconfigured(fmt.Errorf("import: %w", err))
	}
	var written []migration.Written
	if c.Out != "" && !plan.Blocked() {
		if written, err = plan.Write(c.Out); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	if c.JSON {
		out := json.NewEncoder(e.stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(plan)
	} else {
		(&planOutput{newPaper(e)}).print(plan, written)
	}
	if err == nil && plan.Blocked() {
		err = errors.New("import: decisions are left to you, and nothing was written: change a copy of the file, or name the directive with --without")
	}
	return err
}
