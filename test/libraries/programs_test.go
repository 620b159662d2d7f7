//go:build slow

package libraries_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// libraries are all that can be installed from Debian, npm and Go's modules. Libraries
// of the JVM and of .NET can't, so nothing is said of them.
func libraries(t *testing.T) []library {
	t.Helper()
	node := []string{"node", "node/features.mjs"}
	python := []string{"/usr/bin/python3", "-B", "python/features.py"} // Debian's own, which has the packages
	ruby := []string{"ruby", "-W0", "ruby/features.rb"}
	php := []string{"php", "php/features.php"}
	golang := []string{filepath.Join(t.TempDir(), "features")}
	lab.Sure(t, exec.Command("go", "-C", "go", "build", "-mod=readonly", "-o", golang[0], "."))
	lab.Sure(t, exec.Command("npm", "ls", "--prefix", "node")) // or npm ci --ignore-scripts --prefix test/libraries/node

	all := []library{
		{"bullmq", npm("bullmq"), node, list("jobs; delayed jobs; getWorkers")},
		{"bull", npm("bull"), node, list("jobs; delayed jobs; getWorkers")},
		{"connect-redis", npm("connect-redis"), node, list("sessions; all, length, clear")},
		{"redlock", npm("redlock"), node, list("lock")},
		{"rate-limiter-flexible", npm("rate-limiter-flexible"), node, list("limit")},
		{"keyv", npm("keyv"), node, list("cache; clear")},
		{"socket.io", npm("@socket.io/redis-adapter"), node, list("messages; fetchSockets")},
		{"ioredis", npm("ioredis"), node, list("cache")},
		{"node-redis", npm("redis"), node, list("cache")},

		{"celery", debian("python3-celery"), python, list("jobs; later; results")},
		{"rq", debian("python3-rq"), python, list("jobs; empty")},
		{"django-redis", debian("python3-django-redis"), python, list("cache; incr; clear; delete_pattern, iter_keys; keys; lock; sessions")},
		{"channels-redis", debian("python3-channels-redis"), python, list("messages; messages, pub/sub layer")},
		{"redis-py", debian("python3-redis"), python, list("cache; lock")},

		{"sidekiq", debian("ruby-sidekiq"), ruby, list("jobs; scheduled jobs; retries; web")},
		{"rails", debian("ruby-activesupport"), ruby, list("cache; increment; clear; clear with a namespace; delete_matched")},
		{"action-cable", debian("ruby-actioncable"), ruby, list("messages")},
		{"redis-rb", debian("ruby-redis"), ruby, list("cache")},

		{"laravel", debian("php-illuminate-redis"), php, list("cache; add; tags; clear; lock; limiter; jobs")},
		{"php", debian("php-redis"), php, list("sessions; sessions with locking")},
		{"phpredis", debian("php-redis"), php, list("cache")},
		{"predis", debian("php-nrk-predis"), php, list("cache")},
		{"symfony-cache", debian("php-symfony-cache"), php, list("cache; clear")},

		{"asynq", module("github.com/hibiken/asynq"), golang, list("jobs; later")},
		{"redsync", module("github.com/go-redsync/redsync/v4"), golang, list("lock")},
		{"redigo", module("github.com/gomodule/redigo"), golang, list("cache")},
		{"go-redis", module("github.com/redis/go-redis/v9"), golang, list("cache")},
	}
	for i := range all {
		all[i].version = version(lab.Sure(t, exec.Command("bash", "-c", all[i].version)))
	}
	return all
}

func list(features string) []string { return strings.Split(features, "; ") }

// Where a package's version is asked for.
func npm(name string) string {
	return `node -p 'JSON.parse(fs.readFileSync("node/node_modules/` + name + `/package.json")).version'`
}
func debian(name string) string { return `dpkg-query -W -f '${Version}' ` + name }
func module(path string) string { return `go -C go list -m -f '{{.Version}}' ` + path }

// version is an upstream version: without Debian's epoch, additions and revision.
func version(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "v")
	if _, rest, ok := strings.Cut(text, ":"); ok {
		text = rest
	}
	text, _, _ = strings.Cut(text, "-")
	text, _, _ = strings.Cut(text, "+")
	return text
}
