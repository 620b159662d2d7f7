package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/daemon"
	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

type execCmd struct {
	urlFlags `embed:""`
	Config   string        `default:"/etc/redoubt/sidecar.yaml" placeholder:"FILE" help:"The sidecar's configuration (${default}); listen and unix in it are not used."`
	Timeout  time.Duration `default:"30s" placeholder:"DURATION" help:"How long the cache may take to answer before the command is started (${default})."`
	Log      logFlags      `embed:"" prefix:"log-" set:"level=warn"`
	Command  []string      `arg:"" passthrough:"" placeholder:"CMD" help:"The command and its arguments."`
}

func (execCmd) Help() string {
	return `Starts a sidecar on a free port of 127.0.0.1, waits until the cache answers, runs a command with REDIS_URL set to it, and ends with the command's exit code. For jobs, cron and CI, where no sidecar runs.

The password comes from --env or the environment's REDIS_URL, the host's certificate from the configuration. Signals are passed on to the command.

Example:

  redoubt exec --config sidecar.yaml --env app.env -- ./nightly-report --all`
}

// commandPatience is how long a command may take to end once it was told to.
const commandPatience = 10 * time.Second

func (c *execCmd) Run(e *env) error {
	args := c.Command
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return usage(errors.New("no command"), "redoubt exec --help")
	}
	cache, err := c.read()
	if err != nil {
		return usage(err, "redoubt exec --help")
	}
	conf, err := config.LoadSidecar(c.Config)
	if err != nil {
		return misconfigured(err)
	}
	conf.Listen, conf.AllowNonLoopback, conf.Unix = "127.0.0.1:0", false, config.Unix{}
	log := c.Log.logger(e)
	sc, renewer, err := newSidecar(e.ctx, conf, log)
	if err != nil {
		return err
	}
	cache = cache.at(sc.Addr().String())
	ctx, finished := context.WithCancel(e.ctx)
	defer finished()
	var ended error
	command := daemon.Part{Name: "command", Run: func(running context.Context, ready func()) error {
		ready()
		ended = c.command(running, args, cache)
		// To the daemon a part that ends by itself is a failure: have it stopped.
		finished()
		<-running.Done()
		return nil
	}}
	eventloop.Room(conf.Loops)
	if err := daemon.Run(ctx, log, func() {}, keeping(renewer, conf.TLS.WorkloadAPI), daemon.Part{Name: "sidecar", Run: sc.Run}, command); err != nil {
		return err
	}
	return ended
}

// command waits for the cache, then runs the command until it ends, or ctx does
// and the command with it.
func (c *execCmd) command(ctx context.Context, args []string, cache cacheURL) error {
	soon, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := waitFor(soon, cache); err != nil {
		return coded{err, exitEnvironment}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), cache.variable()) // the last one counts
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = commandPatience
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case cmd.ProcessState == nil:
		return coded{fmt.Errorf("%s: %w", args[0], err), exitEnvironment}
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		status := exit.Sys().(syscall.WaitStatus)
		return coded{fmt.Errorf("%s ended by %s", args[0], status.Signal()), 128 + int(status.Signal())} // as a shell has it
	case errors.As(err, &exit):
		return silent{exit.ExitCode()}
	case ctx.Err() != nil:
		return nil // told to end, and it did so in good order
	}
	return err
}

// silent is an exit code that isn't ours to explain.
type silent struct{ code int }

func (s silent) Error() string { return fmt.Sprintf("exit code %d", s.code) }
