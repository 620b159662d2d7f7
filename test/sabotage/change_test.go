package sabotage_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/passwords"
)

func changeSabotages() []sabotage {
	const cache, app = evidence.CacheHost, evidence.AppHost
	return []sabotage{
		{id: "RD-501", from: cache, how: "a setting of the engine is another", env: "configuration tracking-table-max-keys 100000 -> tracking-table-max-keys 7"},
		{id: "RD-502", from: cache, how: "the engine has a user more", env: `configuration user redoubt  -> user mallory on nopass -@all +ping\nuser redoubt `},
		{id: "RD-503", from: cache, how: "the engine lets the application run one command more", env: "right +lcs"},
		{id: "RD-504", from: app, how: "the engine lets the application run one command more", env: "right +lcs"},
		{id: "RD-505", from: cache, how: "outside a transaction CLIENT LIST is answered", broken: meddled(func(request []byte) string {
			if says(request, "CLIENT", "LIST") {
				return "$0\r\n\r\n"
			}
			return ""
		})},
		{id: "RD-506", from: cache, how: "a script runs that the policy has closed", broken: meddled(func(request []byte) string {
			if says(request, "EVAL") {
				return ":1\r\n"
			}
			return ""
		})},
		{id: "RD-506", from: cache, how: "a script may do what the application may not", args: []string{"--allow", "scripting"}, broken: meddled(func(request []byte) string {
			if strings.Contains(string(request), "redis.pcall('CONFIG'") {
				return "$11\r\nnot refused\r\n"
			}
			return ""
		})},
		{id: "RD-508", from: cache, how: "somebody has added a password to the digests file, and the gateway has taken it in", broken: func(t *testing.T, d *deployment) {
			added := passwords.Of([]byte("somebody's own"))
			f, err := os.OpenFile(d.target.Cache.Digests, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintln(f, added); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			for { // until the gateway has read it, or the test's time is over
				a, err := d.target.Cache.Audit(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(strings.Join(a.Users, "\n"), added.User()) {
					return
				}
			}
		}},
		{id: "RD-508", from: cache, how: "the engine has a password that the digests file doesn't", broken: func(t *testing.T, d *deployment) {
			other := filepath.Join(t.TempDir(), "password.sha256")
			if err := os.WriteFile(other, []byte(passwords.Of([]byte("another")).String()+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			d.target.Cache.Digests = other
		}},
		{id: "RD-510", from: cache, how: "a module is loaded", env: "configuration port 0 -> port 0\\nloadmodule " + modulePath},
		{id: "RD-511", from: cache, how: "the engine is a replica", env: "configuration port 0 -> port 0\\nreplicaof 127.0.0.1 1\\nreplica-read-only no"},
		{id: "RD-512", from: cache, how: "the engine is nobody's package, and of a version that nobody mends", args: []string{"--engine", unpackaged}},
		{id: "RD-512", from: cache, how: "the engine's program isn't the file that its package has there", over: []instead{{path: sumsOfTheEngine, from: `(?m)^[0-9a-f]{32}`, to: "00000000000000000000000000000000"}}},
		{id: "RD-531", from: cache, how: "the engine's program belongs to somebody else", args: []string{"--engine", anothers}, also: []string{"RD-512"}},
	}
}

// sumsOfTheEngine is the list of sums (deb-md5sums(5)) of the package that the engine's
// program is from.
func sumsOfTheEngine(*deployment) string {
	program, _ := exec.LookPath("redis-server")
	program, _ = filepath.EvalSymlinks(program)
	lists, _ := filepath.Glob("/var/lib/dpkg/info/*.md5sums")
	for _, list := range lists {
		if text, err := os.ReadFile(list); err == nil && strings.Contains(string(text), "  "+strings.TrimPrefix(program, "/")+"\n") {
			return list
		}
	}
	return "no package has " + program
}

// meddled puts a proxy before the engine's socket, for the guest.
func meddled(answer func([]byte) string) func(*testing.T, *deployment) {
	return func(t *testing.T, d *deployment) {
		guest := d.target.Cache.NewGuest
		depth := 0 // one conversation at a time: within MULTI nothing is answered
		d.target.Cache.NewGuest = func(ctx context.Context) (engine.Guest, error) {
			g, err := guest(ctx)
			if err == nil {
				g.Socket = meddler(t, "unix", g.Socket, nil, func(request []byte) string {
					switch {
					case says(request, "MULTI"):
						depth = 1
					case says(request, "DISCARD"), says(request, "EXEC"):
						depth = 0
					case depth == 0:
						return answer(request)
					}
					return ""
				})
			}
			return g, err
		}
	}
}

// The engine may read libraries only where the distribution keeps them, so the
// module lies there for the time of the test.
var modulePath = fmt.Sprintf("/lib64/redoubt-sabotage-%d.so", os.Getpid())

// unpackaged is a copy of the engine that belongs to no package.
var unpackaged = fmt.Sprintf("/usr/local/lib/redoubt-sabotage-%d", os.Getpid())

// anothers is one that a user of the host could replace.
var anothers = unpackaged + "-anothers"

// layOut makes what must lie in a system's directory before the
// sabotages run, and has it removed after them.
func layOut(t *testing.T) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "module.c")
	if err := os.WriteFile(source, []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, path := range []string{modulePath, unpackaged, anothers} {
			os.Remove(path)
		}
	})
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", modulePath, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(server)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{unpackaged, anothers} {
		if err := os.WriteFile(path, binary, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(anothers, 12345, 12345); err != nil {
		t.Fatal(err)
	}
}

// module is the least that the engine takes for one (redismodule.h: a module gets the
// engine's functions through the first pointer of its context).
const module = `
#include <stddef.h>
typedef int (*getapi)(const char *, void *);
int RedisModule_OnLoad(void *ctx, void **argv, int argc) {
	(void)argv; (void)argc;
	getapi api = (getapi)(((void **)ctx)[0]);
	void (*attributes)(void *, const char *, int, int) = NULL;
	if (api("RedisModule_SetModuleAttribs", &attributes) != 0) return 1;
	attributes(ctx, "sabotage", 1, 1);
	return 0;
}
`
