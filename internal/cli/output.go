package cli

// The rules of the surface:
//   - Standard output has what was asked for, and nothing else: a report, JSON,
//     a rendered file. It can be piped.
//   - Standard error has the log and, last, at most one line "redoubt: …" that
//     says what went wrong and how to mend it.
//   - Colours only on a terminal, never with NO_COLOR set.
//   - No secret is ever printed; a file's name is.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Exit codes, a contract that scripts rely on (README).
const (
	exitGood        = 0
	exitNotGood     = 1 // the thing asked about is not good, or the work failed
	exitUsage       = 2 // wrong usage or configuration
	exitEnvironment = 3 // this machine is not able: no engine, no permission, a taken port
)

// coded is an error with its exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// usage marks an error as the caller's, and adds where the right way is told.
func usage(err error, help string) error {
	return coded{fmt.Errorf("%w (see %s)", err, help), exitUsage}
}

// misconfigured marks an error as one of the configuration.
func misconfigured(err error) error {
	if err == nil || exitCode(err) != exitNotGood {
		return err
	}
	return coded{err, exitUsage}
}

func exitCode(err error) int {
	var c coded
	var quiet silent
	switch {
	case err == nil:
		return exitGood
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &quiet):
		return quiet.code
	case errors.Is(err, engine.ErrEnvironment), errors.Is(err, syscall.EADDRINUSE),
		errors.Is(err, os.ErrPermission), errors.Is(err, statedir.ErrInUse):
		return exitEnvironment
	case errors.Is(err, sidecar.ErrNotLoopback):
		return exitUsage
	}
	return exitNotGood
}

// fail prints the error, if there is one, and returns its exit code.
func (e *env) fail(err error) int {
	var quiet silent
	if err != nil && !errors.As(err, &quiet) {
		fmt.Fprintf(e.stderr, "redoubt: %v\n", err)
	}
	return exitCode(err)
}

// logFlags are the flags of every subcommand that stays.
type logFlags struct {
	Level  logLevel `default:"${level}" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
	Format string   `enum:"auto,text,json" default:"auto" help:"text, json, or auto: text on a terminal, else JSON (${default})."`
}

// logLevel is slog's, by the names that the help has.
type logLevel slog.Level

func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("%q must be debug, info, warn or error", text)
	}
	return nil
}

func (f logFlags) logger(e *env) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(f.Level), ReplaceAttr: legible}
	if f.Format == "text" || f.Format == "auto" && isTerminal(e.stderr) {
		return slog.New(slog.NewTextHandler(e.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(e.stderr, options))
}

// legible writes a time that something took as people do; in JSON it would be
// nanoseconds, without a unit.
func legible(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// protected keeps the memory of a process that stays out of core dumps and swap, and from
// other processes of its user. It is for those that hold patient data.
func protected(log *slog.Logger) {
	if err := errors.Join(sandbox.NoCoreFile(), sandbox.Ourselves()); err != nil {
		log.Warn("the memory of this process is not protected in full", "cause", err)
	}
}
