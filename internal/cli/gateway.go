package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/secret"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

type gatewayCmd struct {
	Config string   `default:"/etc/redoubt/gateway.yaml" placeholder:"FILE" help:"Configuration (${default}); docs/configuration.md has every key."`
	Check  bool     `help:"Read all that a start would read, start and change nothing, and say whether it would work."`
	Log    logFlags `embed:"" prefix:"log-" set:"level=info"`
}

func (gatewayCmd) Help() string {
	return `Runs on the cache host: starts the engine in its sandbox, reachable over a unix socket only, and ends the tunnels of application hosts before it.

Example:

  redoubt gateway --config /etc/redoubt/gateway.yaml
  redoubt gateway --check && systemctl restart redoubt-gateway

SIGTERM drains connections and stops; a second one stops at once. SIGHUP has it read its configuration anew, as redoubt reload does.`
}

func (c *gatewayCmd) Run(e *env) error {
	conf, err := loadGateway(c.Config)
	if err != nil {
		return misconfigured(err)
	}
	if c.Check {
		return checkGateway(e, c.Config, conf)
	}
	log := c.Log.logger(e)
	protected(log)
	made, err := makeGateway(e.ctx, conf, log, true)
	if err != nil {
		return err
	}
	eng, renewer, credentials := made.engine, made.renewer, made.renewer.Credentials
	gw, err := front.New(front.Options{Options: made.options, Debug: slog.Level(c.Log.Level) <= slog.LevelDebug})
	if err != nil {
		return err
	}
	ready := func() {
		log.Info("ready", "address", gw.Addr().String(), "identity", credentials.ID().String(), "engine", eng.Version().String(), "certificate_until", credentials.NotAfter())
	}
	target, err := gatewayTarget(conf)
	if err != nil {
		return misconfigured(err)
	}
	target.Cache.Own(eng)
	report := &reporter{
		role: "gateway", certificates: []*tunnel.Credentials{credentials}, engine: eng, front: gw,
	}
	if renewer.Server != nil {
		report.signer = renewer.Server.Signer
	}
	report.watch(target, conf.Exceptions, log)
	follow := followGateway(c.Config, conf, eng, gw, report, log)
	return daemon.Run(e.ctx, log, ready,
		keeping(renewer, conf.TLS.WorkloadAPI),
		daemon.Part{Name: "engine", Run: eng.Run},
		daemon.Part{Name: "gateway", Run: gw.Run},
		adminPart(conf.Admin, defaultSocket("gateway", conf.Name), report, follow, log),
		follow.part(),
		report.checks.part())
}

// loadGateway reads a gateway's configuration, and judges its policy while it is known
// on which line that stands.
func loadGateway(path string) (*config.Gateway, error) {
	conf, err := config.LoadGateway(path)
	if err != nil {
		return nil, err
	}
	return conf, atLines(path, "engine", engineOptions(conf.Engine).Policy.Validate())
}

// loadDeployment does the same with a deployment's.
func loadDeployment(path string) (*config.Deployment, error) {
	d, err := config.LoadDeployment(path)
	if err != nil {
		return nil, err
	}
	return d, atLines(path, "engine", policyOfHosts(d.Engine).Validate())
}

// policyOfHosts is the policy of a deployment's cache hosts.
func policyOfHosts(p config.Policy) engine.Policy {
	of := engine.Policy{Allow: p.Allow, Deny: p.Deny}
	for _, use := range p.Uses {
		of.Uses = append(of.Uses, engine.Use(use))
	}
	return of
}

// atLines gives each fault of a policy the place of its field in the file.
func atLines(path, section string, err error) error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var placed []error
	for _, one := range several.Unwrap() {
		var fault engine.Fault
		if errors.As(one, &fault) {
			key := section + "." + fault.Field
			one = fmt.Errorf("%s: %s: %s", config.Where(path, key), key, fault.Text)
		}
		placed = append(placed, one)
	}
	return errors.Join(placed...)
}

// gatewayMade is what a gateway is made of, before anything is started.
type gatewayMade struct {
	engine  *engine.Engine
	renewer *enroll.Renewer
	options gateway.Options
}

// makeGateway reads what the configuration names. Without provide nothing is written: a
// certificate that a start would make is missing then.
func makeGateway(ctx context.Context, conf *config.Gateway, log *slog.Logger, provide bool) (made gatewayMade, err error) {
	digests, err := secret.Follow(string(conf.Engine.PasswordDigests), log)
	if err != nil {
		return made, misconfigured(fmt.Errorf("engine.password_digests: %w", err))
	}
	options := engineOptions(conf.Engine)
	options.Passwords, options.Log = digests.Good, log
	if made.engine, err = engine.New(options); err != nil {
		return made, misconfigured(err)
	}
	if made.renewer, err = gatewayRenewer(ctx, conf, log, provide); err != nil {
		return made, misconfigured(err)
	}
	made.options = gateway.Options{
		Settings: gatewaySettings(conf), Listen: conf.Listen,
		Credentials: made.renewer.Credentials, Dial: made.engine.Dial, Log: log,
	}
	if server := made.renewer.Server; server != nil {
		made.options.Enroll, made.options.Renew = server.Enroll, server.Renew
	}
	return made, nil
}

// gatewaySettings maps what of the file may change while a gateway runs.
func gatewaySettings(c *config.Gateway) gateway.Settings {
	s := gateway.Settings{
		Alone: engineOptions(c.Engine).Policy.Alone(),
		Limits: gateway.Limits{
			Connections:      c.Limits.Connections,
			PerIdentity:      c.Limits.PerIdentity,
			Handshakes:       c.Limits.Handshakes,
			HandshakeTimeout: time.Duration(c.Limits.HandshakeTimeout),
			DrainTimeout:     time.Duration(c.Limits.DrainTimeout),
		},
		Admit: make([]netip.Prefix, len(c.Admit)),
	}
	for i, network := range c.Admit {
		s.Admit[i] = network.Prefix
	}
	return s
}

func engineOptions(c config.Engine) engine.Options {
	policy := engine.Policy{
		Allow: c.Allow, Deny: c.Deny,
		Memory: int64(c.Memory), MaxValue: int64(c.MaxValue), MaxClients: c.MaxClients,
	}
	for _, use := range c.Uses {
		policy.Uses = append(policy.Uses, engine.Use(use))
	}
	return engine.Options{Binary: c.Binary, User: c.User, Policy: policy}
}
