package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is one client, in one choice of version and protocol.
type program struct {
	name   string
	argv   []string
	env    []string
	script []string
}

// programs checks that all is there that the programs need, and compiles those
// that want it.
func programs(t *testing.T) []program {
	t.Helper()
	bash := need(t, "bash", "bash")
	need(t, "redis-cli", "redis-tools")
	need(t, "redis-benchmark", "redis-tools")
	python := python(t)
	hiredis := compileC(t)
	ioredis := []string{nodeModules(t), "node/ioredis.mjs"}
	nodeRedis := []string{ioredis[0], "node/node-redis.mjs"}
	goredis, rueidis := compileGo(t, "goredis"), compileGo(t, "rueidis")

	all := []program{
		{name: "redis-cli", argv: []string{bash, "shell/redis-cli.sh"}},
		{name: "redis-cli RESP3", argv: []string{bash, "shell/redis-cli.sh"}, env: []string{"PROTOCOL=3"}},
		{name: "redis-benchmark", argv: []string{bash, "shell/redis-benchmark.sh"}, script: []string{"benchmark"}},
		{name: "redis-py", argv: []string{python, "python/redis_py.py"}},
		{name: "hiredis", argv: []string{hiredis}},
		{name: "ioredis 6 RESP3", argv: ioredis, env: []string{"LIBRARY=ioredis", "PROTOCOL=3"}},
		{name: "ioredis 6 RESP2", argv: ioredis, env: []string{"LIBRARY=ioredis", "PROTOCOL=2"}},
		{name: "ioredis 5", argv: ioredis, env: []string{"LIBRARY=ioredis5"}},
		{name: "node-redis 6 RESP3", argv: nodeRedis, env: []string{"PROTOCOL=3"}},
		{name: "node-redis 6 RESP2", argv: nodeRedis, env: []string{"PROTOCOL=2"}},
		{name: "go-redis RESP3", argv: []string{goredis}, env: []string{"PROTOCOL=3"}},
		{name: "go-redis RESP2", argv: []string{goredis}, env: []string{"PROTOCOL=2"}},
		{name: "rueidis RESP3", argv: []string{rueidis}, env: []string{"PROTOCOL=3"}, script: append([]string{"client-cache"}, script()...)},
		{name: "rueidis RESP2", argv: []string{rueidis}, env: []string{"PROTOCOL=2"}},
	}
	for i := range all {
		if all[i].script == nil {
			all[i].script = script()
		}
	}
	return all
}

// need finds a command, or fails naming the Debian package that has it.
func need(t *testing.T, command, debian string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s", command, debian)
	}
	return path
}

// prepare runs a step of the preparation.
func prepare(t *testing.T, hint, command string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), command, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v (%s)\n%s", command, args, err, hint, out)
	}
}

// python is the system's own, since Debian's python3-redis belongs to it;
// python3 may be another interpreter on somebody's PATH.
func python(t *testing.T) string {
	t.Helper()
	const system = "/usr/bin/python3"
	prepare(t, "apt-get install python3-redis", system, "-c", "import redis")
	return system
}

func compileC(t *testing.T) string {
	t.Helper()
	need(t, "gcc", "gcc")
	if _, err := os.Stat("/usr/include/hiredis/hiredis.h"); err != nil {
		t.Fatalf("hiredis is missing: apt-get install libhiredis-dev (%v)", err)
	}
	binary := filepath.Join(t.TempDir(), "hiredis")
	prepare(t, "apt-get install gcc libc6-dev libhiredis-dev",
		"gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", binary, "c/hiredis.c", "-lhiredis")
	return binary
}

// nodeModules checks that the locked packages are unpacked, and returns node.
func nodeModules(t *testing.T) string {
	t.Helper()
	node := need(t, "node", "nodejs")
	need(t, "npm", "npm")
	prepare(t, "npm ci --ignore-scripts --prefix test/clients/node", "npm", "ls", "--prefix", "node")
	return node
}

func compileGo(t *testing.T, program string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), program)
	prepare(t, "a module of its own: test/clients/go", "go", "-C", "go", "build", "-mod=readonly", "-o", binary, "./"+program)
	return binary
}
