package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrEnvironment is in the chain of every error that says: this machine can't,
// as it is; nothing is wrong with the command or the configuration (exit code 3).
var ErrEnvironment = errors.New("the environment is not able")

// environmentError marks an error as the environment's, and reads as itself.
type environmentError struct{ error }

func (e environmentError) Is(target error) bool { return target == ErrEnvironment }
func (e environmentError) Unwrap() error        { return e.error }

func unable(format string, args ...any) error {
	return environmentError{fmt.Errorf("engine: "+format, args...)}
}

// Where an engine is looked for: by name on PATH, then where packages and
// `make install` put it, for a service manager's bare PATH.
var (
	engineNames = []string{"redis-server", "valkey-server"}
	engineDirs  = []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/sbin"}
)

// probePatience bounds `--version`, which answers within milliseconds.
const probePatience = 10 * time.Second

// find gives the first engine that is new enough: the one asked for, or the
// first of the usual names. The error is that of the first one met.
func find(binary string) (path string, v Version, err error) {
	if binary != "" {
		path, err = filepath.Abs(binary)
		if err != nil {
			return "", Version{}, fmt.Errorf("engine: %w", err)
		}
		v, err = probe(path)
		return path, v, err
	}
	return firstFit(candidates())
}

// firstFit gives the first engine that can be run.
func firstFit(candidates []string) (path string, v Version, err error) {
	var first error
	for _, candidate := range candidates {
		v, err := probe(candidate)
		if err == nil {
			return candidate, v, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = unable("no redis-server or valkey-server found on PATH or in /usr/bin: install one (apt-get install redis-server), or set engine.binary")
	}
	return "", Version{}, first
}

// candidates is where engines are installed here, in the order of preference.
func candidates() []string {
	var found []string
	for _, name := range engineNames {
		places := []string{name}
		for _, dir := range engineDirs {
			places = append(places, filepath.Join(dir, name))
		}
		for _, place := range places {
			path, err := exec.LookPath(place)
			if err != nil {
				continue // not there: the usual case
			}
			if path, err = filepath.Abs(path); err == nil {
				found = append(found, path)
				break
			}
		}
	}
	return found
}

// probe asks the engine at path for its version. Its name is kept as it is:
// one binary is server and checker, and argv[0] says which (server.c).
func probe(path string) (Version, error) {
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = time.Second // a grandchild that keeps stdout open does not hold us
	out, err := cmd.Output()
	if err != nil {
		return Version{}, unable("%s --version: %w (install redis-server 7.0 or later, or set engine.binary)", path, err)
	}
	firstLine, _, _ := bytes.Cut(out, []byte("\n"))
	v, err := parseVersion(string(firstLine))
	if err != nil {
		return Version{}, unable("%s: %w (set engine.binary to a redis-server or valkey-server)", path, err)
	}
	if v.release().before(oldest) {
		return Version{}, unable("%s-server %d.%d.%d at %s is too old: 7.0 or later is needed (apt-get install redis-server, or set engine.binary)",
			v.Product, v.Major, v.Minor, v.Patch, path)
	}
	return v, nil
}
