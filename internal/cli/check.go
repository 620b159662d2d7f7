package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/units"
)

// checkGateway makes what a start makes and starts none of it: what a restart would
// stumble over shows while the cache is still there.
func checkGateway(e *env, file string, conf *config.Gateway) error {
	quiet := slog.New(slog.DiscardHandler)
	made, err := makeGateway(e.ctx, conf, quiet, false)
	if err != nil {
		return inFile(file, err)
	}
	running := ask(e.ctx, string(conf.Admin.Socket), defaultSocket("gateway", conf.Name))
	ours := ""
	if running != nil && running.Gateway != nil {
		ours = running.Gateway.Address
	}
	if err := errors.Join(free("listen", conf.Listen, ours), freeMetrics(conf.Admin, running)); err != nil {
		return inFile(file, err)
	}
	certificate := "it will make its certificate"
	if c := made.renewer.Credentials; c != nil {
		if err := c.OwnRevoked(); err != nil {
			return inFile(file, misconfigured(err))
		}
		certificate = fmt.Sprintf("certificate of %s until %s", c.ID(), c.NotAfter().UTC().Format("2006-01-02"))
		options := made.options
		options.Listen = tried(conf.Listen, ours)
		if _, err := gateway.New(options); err != nil {
			return inFile(file, misconfigured(err))
		}
	}
	if _, err := gatewayTarget(conf); err != nil {
		return inFile(file, misconfigured(err))
	}
	fmt.Fprintf(e.stdout, "%s is good: %s, %s; %s\n", file, made.engine.Version(), certificate, against(running, fingerprint(conf), "with its engine the cache starts empty then"))
	return nil
}

// checkSidecar is the same on an application host.
func checkSidecar(e *env, file string, conf *config.Sidecar) error {
	quiet := slog.New(slog.DiscardHandler)
	renewer, err := sidecarRenewer(e.ctx, conf, quiet)
	if err != nil {
		return inFile(file, misconfigured(err))
	}
	running := ask(e.ctx, string(conf.Admin.Socket), defaultSocket("sidecar", conf.Name))
	ours := ""
	if running != nil && running.Sidecar != nil {
		ours = running.Sidecar.Address
	}
	if held := heldBySystemd(e.ctx); held != "" {
		if held != conf.Listen {
			return inFile(file, misconfigured(fmt.Errorf("listen: %s, but systemd listens on %s for the sidecar: make ListenStream= of %s the same, or disable that unit", conf.Listen, held, units.SidecarSocket)))
		}
		ours = held
	}
	if err := errors.Join(free("listen", conf.Listen, ours), freeMetrics(conf.Admin, running)); err != nil {
		return inFile(file, err)
	}
	options := sidecarOptions(conf)
	options.Gateways, options.Unix = gatewaysOf(renewer.Dialer), nil
	options.Listen = tried(conf.Listen, ours)
	if _, err := sidecar.New(options); err != nil {
		return inFile(file, misconfigured(err))
	}
	if _, err := sidecarTarget(conf); err != nil {
		return inFile(file, misconfigured(err))
	}
	c := renewer.Credentials
	if err := c.OwnRevoked(); err != nil {
		return inFile(file, misconfigured(err))
	}
	fmt.Fprintf(e.stdout, "%s is good: certificate of %s until %s; %s\n", file, c.ID(), c.NotAfter().UTC().Format("2006-01-02"), against(running, fingerprint(conf), "applications wait meanwhile"))
	return nil
}

// inFile says in which file the mistake is, if the error doesn't, and keeps its code.
func inFile(file string, err error) error {
	if strings.Contains(err.Error(), file) {
		return err
	}
	return coded{fmt.Errorf("%s: %w", file, err), exitCode(err)}
}

// ask is what the process that runs with this configuration tells; nil if none does, or
// it isn't ours to ask.
func ask(ctx context.Context, socket, fallback string) *facts {
	if socket == "" {
		socket = fallback
	}
	f := new(facts)
	if _, err := admin.Ask(ctx, socket, f); err != nil {
		return nil
	}
	return f
}

// against says what a restart would change.
func against(running *facts, fingerprint, cost string) string {
	switch {
	case running == nil:
		return "nothing runs with it"
	case running.Fingerprint == fingerprint:
		return "what runs has read the same"
	}
	return "what runs has read another: redoubt reload has it take in what it can, a restart the rest (" + cost + ")"
}

// tried is where a role that is made for a check may listen for its moment: where it
// would, or on another port of that address while the one that runs does.
func tried(address, ours string) string {
	host, _, err := net.SplitHostPort(address)
	if address != ours || err != nil {
		return address
	}
	return net.JoinHostPort(host, "0")
}

// free says whether a process could listen there, or the one that would be replaced does.
func free(key, address, ours string) error {
	if address == "" || address == ours {
		return nil
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken by another process (ss -ltnp shows it): %w", key, address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return misconfigured(fmt.Errorf("%s: %s is no address of this host (ip addr shows them): %w", key, address, syscall.EADDRNOTAVAIL))
	case err != nil:
		return misconfigured(fmt.Errorf("%s: %w", key, err))
	}
	return l.Close()
}

func freeMetrics(c config.Admin, running *facts) error {
	if running != nil {
		return nil // it has the port, or it has another: its file isn't known here
	}
	return free("admin.metrics", c.Metrics, "")
}

// heldBySystemd is where redoubt-sidecar.socket listens; "" if it doesn't.
func heldBySystemd(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=ActiveState,Listen", units.SidecarSocket).Output()
	if err != nil {
		return ""
	}
	active, listen := false, ""
	for line := range strings.Lines(string(out)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "ActiveState":
			active = value == "active"
		case "Listen":
			listen, _, _ = strings.Cut(value, " ")
		}
	}
	if !active {
		return ""
	}
	return listen
}
