//go:build slow

// Package engines_test holds Redoubt's promises against every generation of
// engine that Debian ships, each in a root of its own release (see test/lab).
//
// It is the slower rest: unpacking a root takes some four seconds, once.
//
//	CGO_ENABLED=0 go test -tags slow ./test/engines
package engines_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/enroll"
	"github.com/redoubt-cache/redoubt/internal/front"
	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestMain is the sandbox's shim first: an engine's process is this binary
// until it has locked itself down.
func TestMain(m *testing.M) {
	sandbox.Main(enroll.Role(), front.Role())
	m.Run()
}

// each runs a claim as a subtest per engine, on a host of the engine's release.
func each(t *testing.T, claim func(t *testing.T, b lab.Binary), but ...string) {
	for _, name := range lab.Engines() {
		if len(but) > 0 && name == but[0] {
			continue
		}
		t.Run(name, func(t *testing.T) { lab.InRoot(t, name, claim) })
	}
}

// TestEveryEngineStartsByItself is the control: what fails under our lock and
// not here is our doing. It also sees that what must be refused is there.
func TestEveryEngineStartsByItself(t *testing.T) {
	each(t, func(t *testing.T, b lab.Binary) {
		socket := filepath.Join(t.TempDir(), "engine.sock")
		lab.Plain(t, b.Path, "port 0", "unixsocket "+socket, "dir "+t.TempDir(), `save ""`)
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		app := lab.NewClient(t, conn)
		app.Want("+PONG\r\n", "PING")
		field := b.Product + "_version:" + b.Version
		if info := app.Do("INFO", "server"); !strings.Contains(info, field) {
			t.Errorf("INFO server has no %q:\n%s", field, info)
		}
		app.Want("*2\r\n$4\r\nport\r\n$1\r\n0\r\n", "CONFIG", "GET", "port")
		app.Want("+OK\r\n", "SAVE")
	})
}

func TestEveryEngineRunsLockedDown(t *testing.T) {
	each(t, func(t *testing.T, b lab.Binary) {
		app := lab.NewClient(t, lockedDown(t, b))
		app.Want("+OK\r\n", "AUTH", password)
		app.Want("+PONG\r\n", "PING")
		app.Want("+OK\r\n", "SET", "k", "v")
		app.Want("$1\r\nv\r\n", "GET", "k")
		for _, command := range []string{
			"SAVE", "BGSAVE", "BGREWRITEAOF", "CONFIG GET port", "CONFIG SET maxmemory 1", "CONFIG REWRITE",
			"MODULE LIST", "MODULE LOAD /usr/lib/x.so", "DEBUG SLEEP 0", "ACL LIST", "ACL SETUSER default nopass",
			"REPLICAOF NO ONE", "FLUSHALL", "SHUTDOWN NOSAVE", "MONITOR", "SCRIPT DEBUG SYNC",
		} {
			answer := app.Do(strings.Fields(command)...)
			if !strings.HasPrefix(answer, "-NOPERM ") && !strings.HasPrefix(answer, "-ERR unknown command") {
				t.Errorf("%s: %q", command, answer)
			}
		}
	}, lab.TooOld)
}

func TestTooOldAnEngineIsRefused(t *testing.T) {
	lab.InRoot(t, lab.TooOld, func(t *testing.T, b lab.Binary) {
		_, err := engine.New(engine.Options{Binary: b.Path, Passwords: good})
		if !errors.Is(err, engine.ErrEnvironment) {
			t.Fatalf("New: %v", err)
		}
		for _, part := range []string{"redis-server " + b.Version + " at " + b.Path, "too old", "7.0 or later"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not tell %q: %v", part, err)
			}
		}
	})
}

const password = "a password of the tests"

func good() []passwords.Digest { return []passwords.Digest{passwords.Of([]byte(password))} }

// lockedDown runs the engine as Redoubt does, until the test ends, and returns
// a connection that has not said yet who it is.
func lockedDown(t *testing.T, b lab.Binary) net.Conn {
	t.Helper()
	e, err := engine.New(engine.Options{
		Binary: b.Path, Passwords: good,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Version().String(); got != b.Product+" "+b.Version {
		t.Errorf("the engine was taken for %s, it is %s %s", got, b.Product, b.Version)
	}
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- e.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run, at the end: %v", err)
		}
	})
	conn, err := e.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// beyondRoots are the tests of internal/engine that need more than an engine's
// root has: a compiler (an opened engine that still can't get out), a shell
// (imitated engines), a list of users, the kernel's cgroups.
const beyondRoots = "OpenedEngine|GetsOutWithoutTheSandbox|UnfitEngines|NeverRoot|EndedForLackOfMemory"

// TestTheEngineRoomsOwnTestsHoldOnEveryEngine: every command against the table
// of who may run it, the attack list in every disguise, crashes, hangs and a
// dead parent, as internal/engine tries them on this machine's engine.
func TestTheEngineRoomsOwnTestsHoldOnEveryEngine(t *testing.T) {
	const room = "../../internal/engine"
	dir := t.TempDir()
	binary := filepath.Join(dir, "engine.test")
	if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS(room+"/testdata")); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, room)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	for _, name := range lab.Engines() {
		if name == lab.TooOld {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := lab.Engine(t, name).Command(t, binary, "-test.v", "-test.skip="+beyondRoots)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "\n--- PASS: TestEveryAttackIsRefused") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestARootIsNeverWrittenTo: one root serves every test, so what a test does to
// its host must be gone with it.
func TestARootIsNeverWrittenTo(t *testing.T) {
	const name = "redis-7.0"
	t.Run("changed", func(t *testing.T) {
		lab.InRoot(t, name, func(t *testing.T, b lab.Binary) {
			if err := os.WriteFile("/etc/mark", nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Remove(b.Path); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("unchanged", func(t *testing.T) {
		lab.InRoot(t, name, func(t *testing.T, b lab.Binary) { // opens, so it is there again
			if _, err := os.Stat("/etc/mark"); !os.IsNotExist(err) {
				t.Errorf("an earlier test's file is still in the root: %v", err)
			}
		})
	})
}
