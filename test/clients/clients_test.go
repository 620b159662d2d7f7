// Package clients_test runs the client libraries that applications really use
// through Redoubt. Each client has a program in its own language and idiom:
//
//	shell/   redis-cli, redis-benchmark       python/  redis-py
//	c/       hiredis                          node/    ioredis, node-redis
//	go/      go-redis, rueidis (a module of its own, so that the product's stays clean)
//
// All programs play one script. A program gets the deployment's address in
// REDIS_URL, a prefix for its keys in PREFIX and the names of behaviours as
// arguments; for each it writes "ok NAME" or "FAIL NAME: why" to its standard
// output, and it ends with 1 if one failed. So one can be run by hand:
//
//	REDIS_URL=redis://:PASSWORD@127.0.0.1:6379 PREFIX=try PROTOCOL=3 LIBRARY=ioredis \
//	    node test/clients/node/ioredis.mjs set-get pubsub
//
// Nothing is installed here: what is missing fails the test and is named.
package clients_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// limit is the longest that a program may take for the whole script; they take
// less than two seconds.
const limit = 5 * time.Minute

// script is what every client does. Reconnecting comes last: a library may not
// have noticed yet that a connection is gone, and tell the next command.
func script() []string {
	return []string{
		"set-get", "binary-value", "large-value", "expire", "pipeline", "transaction", "watch-abort", "pubsub",
		"blpop-woken", "blpop-timeout", "hash", "zset", "scan", "wrong-password", "refused-command", "reconnect",
	}
}

// TestClients is the claim: an ordinary application finds an ordinary Redis.
func TestClients(t *testing.T) { play(t, programs(t), lab.Up(t).URL) }

// TestClientsWorkOnPlainRedis is the control: what fails on Redoubt and not
// here is Redoubt's doing.
func TestClientsWorkOnPlainRedis(t *testing.T) {
	play(t, programs(t), plainRedis(t, "-config|set", "-flushall"))
}

// TestClientsNoticeAnOpenEngine proves that the script can fail: an engine
// that refuses nothing must not pass.
func TestClientsNoticeAnOpenEngine(t *testing.T) {
	url := plainRedis(t)
	for _, p := range programs(t) {
		if !slices.Contains(p.script, "refused-command") {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			out, err := p.run(t, url, "refused-command")
			if err == nil || !strings.HasPrefix(out, "FAIL refused-command: ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// play has every program play its script, one after the other: a script asks
// the engine how many clients are blocked, and knows of its own only.
func play(t *testing.T, programs []program, url string) {
	t.Helper()
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			var want strings.Builder
			for _, name := range p.script {
				fmt.Fprintln(&want, "ok", name)
			}
			out, err := p.run(t, url, p.script...)
			if err != nil || out != want.String() {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// run has the program carry out behaviours, and returns what it wrote.
func (p program) run(t *testing.T, url string, behaviours ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.argv[0], append(p.argv[1:], behaviours...)...)
	cmd.WaitDelay = 5 * time.Second // a shell's children may hold its pipe
	var complaints strings.Builder
	cmd.Stderr = &complaints
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Env = append(cmd.Env, "REDIS_URL="+url, "PREFIX="+strings.ReplaceAll(p.name, " ", "-")+rand.Text())
	out, err := cmd.Output()
	if complaints.Len() > 0 {
		t.Logf("on standard error:\n%s", complaints.String())
	}
	return string(out), err
}

// plainRedis starts a redis-server with a password and ACL rules and returns
// its address. The address names the user, since redis-cli and redis-benchmark
// (7.0 to 8.0, and Valkey's) send AUTH "" PASSWORD for an address without one,
// which Redis refuses. Redoubt must let them in: its REDIS_URL names none.
func plainRedis(t *testing.T, rules ...string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	password := rand.Text()
	lab.Plain(t, need(t, "redis-server", "redis-server"), "bind 127.0.0.1", "port "+port, `save ""`,
		"user default on >"+password+" ~* &* +@all "+strings.Join(rules, " "))
	return fmt.Sprintf("redis://default:%s@127.0.0.1:%s", password, port)
}
