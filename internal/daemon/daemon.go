// Package daemon is the life of a process: its parts start in order, it is
// ready when all are, and it stops them in reverse.
//
// The subcommands that stay (gateway, sidecar, up) hand Run their parts. Run
// promises:
//   - a part starts when the one before it is ready;
//   - the first part that ends by itself, with an error or without, ends all;
//   - SIGTERM or SIGINT drains and stops the parts in reverse order, so that the
//     engine outlives its relays; a second signal ends at once;
//   - SIGHUP does so when a terminal goes away; else it has the parts do what they have
//     for it (Part.Hangup), and ends nothing;
//   - Run returns when every part has returned, with the first error.
//
// It is the only place that listens to signals, and it tells systemd about
// readiness and life where systemd asks (sd_notify(3)). Its tests run real signals and,
// under synctest, every order of failures.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// Part is one thing that runs for as long as the process.
type Part struct {
	Name string
	// Run blocks until ctx ends, having called ready once when the part can be
	// used. It drains within a bound of its own and leaves no goroutine behind.
	Run func(ctx context.Context, ready func()) error
	// Alive says, before ctx ends, whether a part that was ready does its work; nil:
	// it has none that could get stuck.
	Alive func(ctx context.Context) bool
	// Hangup is what SIGHUP asks of it: to read its configuration anew; nil: nothing.
	// It may be called at any time between the start and the end of Run, and once more
	// only when it has returned.
	Hangup func(ctx context.Context)
}

// ErrInterrupted is the cause of a stop by a second signal.
var ErrInterrupted = errors.New("stopped at once by a second signal")

// Run runs the parts until ctx ends, a signal comes or a part fails. onReady is
// called once, when all parts are ready. A stop by ctx or by one signal is no
// error.
func Run(ctx context.Context, log *slog.Logger, onReady func(), parts ...Part) error {
	signals := make(chan os.Signal, 2) // room for the second, while the first is handled
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	switch {
	case signal.Ignored(syscall.SIGHUP): // nohup(1)
	case onTerminal():
		signal.Notify(signals, syscall.SIGHUP)
	default:
		defer answerHangups(ctx, log, parts)()
	}
	return run(ctx, log, signals, onReady, parts)
}

// onTerminal says whether a terminal can hang up on us (tty(4)).
func onTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	tty.Close()
	return true
}

// answerHangups has the parts do what SIGHUP asks of them, or says that there is nothing:
// unanswered it would end us, and systemd calls that a clean end.
func answerHangups(ctx context.Context, log *slog.Logger, parts []Part) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			asked := false
			for _, p := range parts {
				if p.Hangup != nil {
					asked = true
					p.Hangup(ctx)
				}
			}
			if !asked {
				log.Info("SIGHUP changes nothing: this process has no configuration file")
			}
		}
	}()
	return func() {
		cancel()
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

// running is a part that was started.
type running struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error // valid when done is closed
}

func run(ctx context.Context, log *slog.Logger, signals <-chan os.Signal, onReady func(), parts []Part) error {
	ended := make(chan *running, len(parts))
	var started []*running
	var stopping error // why we stop
	for _, p := range parts {
		r, ready := start(p, ended)
		started = append(started, r)
		if stopping = await(ctx, log, signals, ended, ready); stopping != nil {
			break
		}
	}
	if stopping == nil {
		onReady()
		tell(log, sd.SdNotifyReady)
		unwatch := watchdog(log, parts)
		stopping = await(ctx, log, signals, ended, nil)
		unwatch()
	}
	tell(log, sd.SdNotifyStopping)
	return errors.Join(asFailure(stopping), stop(signals, started, stopping))
}

func start(p Part, ended chan<- *running) (*running, <-chan struct{}) {
	// Not a child of the caller's context: a part is stopped when its turn comes.
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{name: p.Name, stop: cancel, done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		r.err = p.Run(ctx, func() { close(ready) })
		close(r.done)
		ended <- r
	}()
	return r, ready
}

// errStop stands for an orderly stop, which is no failure.
var errStop = errors.New("stop")

// await returns nil when ready is closed, else why the process has to stop.
func await(ctx context.Context, log *slog.Logger, signals <-chan os.Signal, ended <-chan *running, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return errStop
	case s := <-signals:
		log.Info("stopping", "signal", s.String())
		return errStop
	case r := <-ended:
		if r.err == nil {
			return fmt.Errorf("%s ended by itself", r.name)
		}
		return fmt.Errorf("%s: %w", r.name, r.err)
	}
}

// stop ends the parts in reverse, each before the one it stands on. Errors of
// parts that are being stopped count only if the stop was orderly: after a
// failure they are its consequences.
func stop(signals <-chan os.Signal, started []*running, why error) error {
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.stop()
		select {
		case <-r.done:
		case <-signals:
			return ErrInterrupted
		}
		if r.err != nil && why == errStop {
			errs = append(errs, fmt.Errorf("%s: while stopping: %w", r.name, r.err))
		}
	}
	return errors.Join(errs...)
}

func asFailure(why error) error {
	if why == errStop {
		return nil
	}
	return why
}

// watchdog tells systemd again and again that all parts do their work, if it asks
// (WatchdogSec= of the unit, sd_watchdog_enabled(3)); once a part is stuck it tells
// nothing, and systemd ends and starts us again. stop is for a stop that has begun,
// which has a bound of its own (TimeoutStopSec=).
func watchdog(log *slog.Logger, parts []Part) (stop func()) {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog can't be told anything", "error", err)
	}
	if err != nil || every == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every / 3)
		defer tick.Stop()
		for {
			if alive(ctx, log, parts, every/3) {
				tell(log, sd.SdNotifyWatchdog)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func alive(ctx context.Context, log *slog.Logger, parts []Part, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, p := range parts {
		if p.Alive == nil || p.Alive(ctx) {
			continue
		}
		if ctx.Err() == context.DeadlineExceeded {
			log.Error("stuck: systemd will end this process", "part", p.Name)
		}
		return false
	}
	return true
}

// tell reports to systemd; without NOTIFY_SOCKET it does nothing.
func tell(log *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Warn("systemd could not be told about our state", "error", err)
	}
}
