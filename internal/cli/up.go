package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/trail"
	"github.com/redoubt-cache/redoubt/internal/up"
)

type upCmd struct {
	Dir              string      `placeholder:"DIR" help:"Where the CA, certificates and password are kept between runs. Default: redoubt in your state directory."`
	Listen           string      `default:"127.0.0.1:6379" placeholder:"ADDR" help:"The application's Redis (${default})."`
	AllowNonLoopback bool        `help:"Let --listen be an address that other hosts can reach, unencrypted."`
	Unix             string      `placeholder:"PATH" help:"A unix socket for the application too, of mode 0600: faster than a port."`
	Gateway          string      `default:"127.0.0.1:6380" placeholder:"ADDR" help:"The tunnel's port (${default})."`
	Uses             []string    `default:"cache" placeholder:"LIST" help:"What the application uses it for: cache, sessions, locks, pubsub, queues (${default})."`
	Allow            []string    `placeholder:"LIST" help:"Open on purpose: scripting, functions."`
	Deny             []string    `placeholder:"LIST" help:"Close on purpose: keys, flushdb, pubsub, tracking."`
	Memory           config.Size `default:"2gb" placeholder:"SIZE" help:"Memory for data (${default})."`
	Engine           string      `placeholder:"PATH" help:"redis-server or valkey-server, 7.0 or later. Default: the one that is installed."`
	Log              logFlags    `embed:"" prefix:"log-" set:"level=warn"`
}

func (upCmd) Help() string {
	return `Everything that real hosts run, on one machine, until Ctrl-C: the engine in its sandbox, the gateway before it, and the sidecar that your application takes for its Redis.

Example:

  redoubt up &
  . ~/.local/state/redoubt/app.env
  redis-cli -u "$REDIS_URL" set greeting hello

The password is in the file app.env (mode 0600) of the directory, as REDIS_URL. A second run on the same directory finds CA, certificates and password again; the cached data is gone, since none of it ever was on a disk.`
}

func (c *upCmd) Run(e *env) error {
	const help = "redoubt up --help"
	if err := cmp.Or(checkAddress("--listen", c.Listen, help), checkAddress("--gateway", c.Gateway, help)); err != nil {
		return err
	}
	if err := c.defaultDir(); err != nil {
		return err
	}
	log := c.Log.logger(e)
	protected(log)
	policy, err := c.policy()
	if err != nil {
		return usage(err, help)
	}
	first := ofCA(c.Dir) == ""
	d, err := up.New(up.Options{
		Dir: c.Dir, Listen: c.Listen, AllowNonLoopback: c.AllowNonLoopback, Unix: c.Unix, Gateway: c.Gateway,
		Binary: c.Engine, Policy: policy, Log: log,
	})
	if err != nil {
		return err
	}
	defer d.Close()
	if first { // it made the CA
		if _, err := record(ofCA(d.Dir()), trail.Record{Who: trail.Me(), Command: "up", Args: []string{"--dir=" + d.Dir()}, Outcome: trail.Done}); err != nil {
			return err
		}
	}
	c.report(e, d)
	proof := daemon.Part{Name: "proof", Run: func(ctx context.Context, ready func()) error {
		began := time.Now()
		if err := d.Prove(ctx); err != nil {
			return err
		}
		fmt.Fprintf(e.stdout, "proof      PING through sidecar, tunnel, gateway and engine: PONG in %v\n", time.Since(began).Round(10*time.Microsecond))
		ready()
		<-ctx.Done()
		return nil
	}}
	ready := func() {
		fmt.Fprintf(e.stdout, "ready: Redis for your application on %s, REDIS_URL in %s\n", d.Sidecar.Addr(), d.AppEnv())
	}
	target, err := up.Target(d.Dir())
	if err != nil {
		return err
	}
	target.Cache.Own(d.Engine)
	report := &reporter{role: "up", certificates: d.Credentials(), engine: d.Engine, signer: d.Signer(), front: d.Gateway, sidecar: d.Sidecar}
	report.watch(target, nil, log)
	eventloop.Room(1)
	return daemon.Run(e.ctx, log, ready,
		daemon.Part{Name: "certificates", Run: func(ctx context.Context, ready func()) error {
			ready()
			d.KeepCertificates(ctx)
			return nil
		}},
		daemon.Part{Name: "engine", Run: d.Engine.Run},
		daemon.Part{Name: "gateway", Run: d.Gateway.Run},
		daemon.Part{Name: "sidecar", Run: d.Sidecar.Run},
		adminPart(config.Admin{}, filepath.Join(d.Dir(), statedir.AdminSocket), report, nil, log),
		proof,
		report.checks.part())
}

func (c *upCmd) defaultDir() (err error) {
	if c.Dir == "" {
		c.Dir, err = statedir.Default()
	}
	return err
}

func (c *upCmd) policy() (engine.Policy, error) {
	p := engine.Policy{Allow: c.Allow, Deny: c.Deny, Memory: int64(c.Memory)}
	for _, use := range c.Uses {
		p.Uses = append(p.Uses, engine.Use(use))
	}
	return p, p.Validate()
}

// report says what is started and where, before it is.
func (c *upCmd) report(e *env, d *up.Deployment) {
	gateway, app := d.Identities()
	kernel := sandbox.Probe()
	line := func(what, format string, args ...any) {
		fmt.Fprintf(e.stdout, "%-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("redoubt", "%s, state in %s", versionString(), d.Dir())
	line("engine", "%s, unix socket only, memory only, for: %s", d.Engine.Version(), strings.Join(c.Uses, ", "))
	line("sandbox", "%s", kernel)
	for _, missing := range kernel.Missing() {
		line("  without", "%s", missing)
	}
	line("gateway", "%s, TLS 1.3 with certificates on both sides, as %s", d.Gateway.Addr(), gateway)
	line("sidecar", "%s, as %s", d.Sidecar.Addr(), app)
	line("password", "in %s (mode 0600)", d.AppEnv())
}
