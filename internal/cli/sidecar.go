package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

type sidecarCmd struct {
	Config string   `default:"/etc/redoubt/sidecar.yaml" placeholder:"FILE" help:"Configuration (${default}); docs/configuration.md has every key."`
	Check  bool     `help:"Read all that a start would read, start and change nothing, and say whether it would work."`
	Log    logFlags `embed:"" prefix:"log-" set:"level=info"`
}

func (sidecarCmd) Help() string {
	return `Runs on an application host: the application finds an ordinary Redis on 127.0.0.1:6379, and all it says travels through the tunnel. The application has the password, this process the host's certificate; neither alone opens the cache.

Example:

  redoubt sidecar --config /etc/redoubt/sidecar.yaml
  redoubt sidecar --check`
}

func (c *sidecarCmd) Run(e *env) error {
	conf, err := config.LoadSidecar(c.Config)
	if err != nil {
		return misconfigured(err)
	}
	if c.Check {
		return checkSidecar(e, c.Config, conf)
	}
	log := c.Log.logger(e)
	protected(log)
	sc, renewer, err := newSidecar(e.ctx, conf, log)
	if err != nil {
		return err
	}
	credentials := renewer.Credentials
	ready := func() {
		log.Info("ready", "address", sc.Addr().String(), "identity", credentials.ID().String(), "certificate_until", credentials.NotAfter())
	}
	target, err := sidecarTarget(conf)
	if err != nil {
		return misconfigured(err)
	}
	report := &reporter{
		role: "sidecar", certificates: []*tunnel.Credentials{credentials}, sidecar: sc,
	}
	report.watch(target, conf.Exceptions, log)
	follow := followSidecar(c.Config, conf, sc, report, log)
	eventloop.Room(conf.Loops)
	return daemon.Run(e.ctx, log, ready,
		keeping(renewer, conf.TLS.WorkloadAPI),
		daemon.Part{Name: "sidecar", Run: sc.Run, Alive: sc.Alive},
		firstLook(sc, log),
		adminPart(conf.Admin, defaultSocket("sidecar", conf.Name), report, follow, log),
		follow.part(),
		report.checks.part())
}

// firstLook says at the start if no gateway serves: a sidecar is ready all the same, and
// nobody would know before an application does.
func firstLook(sc *sidecar.Sidecar, log *slog.Logger) daemon.Part {
	return daemon.Part{Name: "first look", Run: func(ctx context.Context, ready func()) error {
		ready()
		if _, err := sc.Serving(ctx, true); err != nil && ctx.Err() == nil {
			log.Warn("the cache can't be reached yet", "cause", err)
		}
		<-ctx.Done()
		return nil
	}}
}

// newSidecar makes a sidecar and what keeps its identity fresh.
func newSidecar(ctx context.Context, conf *config.Sidecar, log *slog.Logger) (*sidecar.Sidecar, *enroll.Renewer, error) {
	renewer, err := sidecarRenewer(ctx, conf, log)
	if err != nil {
		return nil, nil, misconfigured(err)
	}
	options := sidecarOptions(conf)
	options.Gateways, options.Log, options.Opens = gatewaysOf(renewer.Dialer), log, explain.Opens
	if options.Listener, err = fromSystemd(conf.Listen); err != nil {
		return nil, nil, err
	}
	sc, err := sidecar.New(options)
	if err != nil {
		return nil, nil, err
	}
	renewer.Fresh = sc.Refresh
	renewer.Changed = func() { sc.CutIf(renewer.Credentials.Revoked) }
	return sc, renewer, nil
}

// gatewaysOf are a dialer's as the sidecar takes them.
func gatewaysOf(d *tunnel.Dialer) []sidecar.Gateway {
	gateways := make([]sidecar.Gateway, len(d.Endpoints))
	for i, e := range d.Endpoints {
		gateways[i] = sidecar.Gateway{Name: e.ID.Name(), Dial: func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, e) }}
	}
	return gateways
}

// fromSystemd is the listener that systemd has opened for us (redoubt-sidecar.socket,
// sd_listen_fds(3)); nil if it hasn't.
func fromSystemd(address string) (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil || len(passed) == 0 {
		return nil, err
	}
	if len(passed) > 1 || passed[0] == nil || passed[0].Addr().String() != address {
		return nil, misconfigured(fmt.Errorf("systemd doesn't listen on %s alone, which is what the sidecar's listen says: make ListenStream= of redoubt-sidecar.socket the same, or disable that unit", address))
	}
	return passed[0], nil
}

// sidecarSettings maps what of the file may change while a sidecar runs.
func sidecarSettings(c *config.Sidecar) sidecar.Settings {
	return sidecar.Settings{Connections: c.Limits.Connections, OwnLanes: c.Limits.OwnLanes, FencePerGuest: c.Fence == "session"}
}

// sidecarOptions maps the file to the role's options; the caller adds the rest.
func sidecarOptions(c *config.Sidecar) sidecar.Options {
	o := sidecar.Options{
		Listen:           c.Listen,
		AllowNonLoopback: c.AllowNonLoopback,
		AllowUIDs:        c.AllowUIDs,
		FencePerGuest:    sidecarSettings(c).FencePerGuest,
		Loops:            c.Loops,
		Limits:           sidecar.Limits{Connections: c.Limits.Connections, OwnLanes: c.Limits.OwnLanes},
	}
	if c.Unix.Path != "" {
		o.Unix = &sidecar.UnixListener{Path: c.Unix.Path, AllowUIDs: c.Unix.AllowUIDs}
	}
	return o
}
