package engine

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// The configuration that the engine reads from stdin. It is a table so that a
// reviewer can hold it against redis.conf: every line names one thing that
// could put data on a disk, open a way in, or grow without a bound.

// socketName is the engine's only listener, relative to its working directory:
// its user may be unable to walk the path that leads there.
const socketName = "s"

// A line is one directive, and the engines that know it.
type line struct {
	text  string
	known applies
}

// fixed is what no policy changes. In the order of hardening's catalogue.
var fixed = []line{
	// Ways in: one unix socket. Its mode comes from the umask of the sandbox,
	// since a chmod after bind leaves a gap (CVE-2023-45145).
	{"port 0", always}, {"tls-port 0", always},
	{"unixsocket " + socketName, always}, {"unixsocketperm 0", always},
	{"protected-mode yes", always}, {"timeout 0", always}, {"databases 16", always},

	// Ways onto a disk. stop-writes-on-bgsave-error: a save that the sandbox
	// refused must not turn the cache read-only (MISCONF).
	{`save ""`, always}, {"appendonly no", always}, {"stop-writes-on-bgsave-error no", always},
	{"rdb-del-sync-files yes", always}, {"repl-diskless-sync yes", always}, {"repl-diskless-load swapdb", always},
	{`logfile ""`, always}, {"loglevel notice", always}, {"syslog-enabled no", always}, {`pidfile ""`, always},
	{"daemonize no", always}, {"supervised no", always}, {"set-proc-title no", always}, {"oom-score-adj no", always},

	// Ways of data into the output and into the engine's own records.
	{"crash-log-enabled no", always}, {"crash-memcheck-enabled no", always},
	{"slowlog-log-slower-than -1", always}, {"slowlog-max-len 0", always}, {"acllog-max-len 0", always},
	{"latency-monitor-threshold 0", always}, {"latency-tracking no", always}, {`notify-keyspace-events ""`, always},
	{"hide-user-data-from-log yes", since(at(7, 4), at(8, 0))},
	{"commandlog-execution-slower-than -1", since(nil, at(8, 1))},
	{"commandlog-request-larger-than -1", since(nil, at(8, 1))},
	{"commandlog-reply-larger-than -1", since(nil, at(8, 1))},
	{"commandlog-slow-execution-max-len 0", since(nil, at(8, 1))},
	{"commandlog-large-request-max-len 0", since(nil, at(8, 1))},
	{"commandlog-large-reply-max-len 0", since(nil, at(8, 1))},

	// On arm64 the engine forks at start to look for a kernel bug; where fork
	// is denied it would end itself (syscheck.c).
	{"ignore-warnings ARM64-COW-BUG", always},

	// No change while it runs.
	{"enable-protected-configs no", always}, {"enable-debug-command no", always}, {"enable-module-command no", always},
	{"acl-pubsub-default resetchannels", always},
	{"lua-enable-insecure-api no", since(nil, at(9, 1))},
	{"sanitize-dump-payload yes", func(v Version) bool { return !since(nil, at(9, 1))(v) }}, // 9.1: always on, and unknown
	{"shutdown-on-sigterm nosave now force", always}, {"shutdown-on-sigint nosave now force", always},
	{"shutdown-timeout 0", always},

	// Bounds that no policy changes. maxmemory-clients: a lane carries many
	// sessions and must not be evicted, and client eviction is where
	// CVE-2026-23479 sits (docs/decisions/0016). busy-reply-threshold lies
	// below pingPatience, so that a long script is told from a hung engine.
	{"maxmemory-clients 0", always},
	{"client-output-buffer-limit pubsub 32mb 8mb 60", always},
	{"client-output-buffer-limit replica 64mb 32mb 60", always},
	{"tracking-table-max-keys 100000", always}, {"busy-reply-threshold 2000", always},
	{"lazyfree-lazy-eviction yes", always}, {"lazyfree-lazy-expire yes", always}, {"lazyfree-lazy-server-del yes", always},
	{"lazyfree-lazy-user-del yes", always}, {"lazyfree-lazy-user-flush yes", always},
}

// removed is the commands that are gone for every user. Only such whose
// arguments are no data: the error for an unknown command repeats up to 128
// bytes of them, that for a forbidden one repeats none. So DUMP, RESTORE,
// MIGRATE, EVAL, SORT and their like are refused by the ACL instead.
var removed = []line{
	{"SAVE", always}, {"BGSAVE", always}, {"BGREWRITEAOF", always}, {"SHUTDOWN", always}, {"DEBUG", always},
	{"MODULE", always}, {"REPLICAOF", always}, {"SLAVEOF", always}, {"FAILOVER", always}, {"SYNC", always},
	{"PSYNC", always}, {"REPLCONF", always}, {"MONITOR", always}, {"CLUSTER", always}, {"SLOWLOG", always},
	{"LATENCY", always}, {"SWAPDB", always}, {"FLUSHALL", always}, {"PFDEBUG", always}, {"PFSELFTEST", always},
	{"LASTSAVE", always}, {"COMMANDLOG", since(nil, at(8, 1))},
}

// outputFloor is the least that a connection's unread replies may amount to:
// HGETALL and LRANGE give more than one value.
const outputFloor = 64 * mib

// bounds is the lines that the policy's numbers make. With the default of
// 512 MiB a value they are Redis's own defaults, but for the output limit,
// which Redis does not have.
func bounds(p Policy) []string {
	// One argument over proto-max-bulk-len is refused as a protocol error,
	// which is not logged; one over client-query-buffer-limit is logged with
	// the first bytes of the value (networking.c). So the second must be larger.
	queries := 2 * p.MaxValue
	replies := max(2*p.MaxValue, outputFloor)
	return []string{
		fmt.Sprintf("maxmemory %d", p.Memory),
		"maxmemory-policy " + p.eviction(),
		fmt.Sprintf("maxclients %d", p.MaxClients),
		fmt.Sprintf("proto-max-bulk-len %d", p.MaxValue),
		fmt.Sprintf("client-query-buffer-limit %d", queries),
		fmt.Sprintf("client-output-buffer-limit normal %d %d 60", replies, replies/2),
	}
}

// secrets is drawn anew at each start and lives in this process's memory only.
type secrets struct {
	config, acl string // what CONFIG and ACL are called
	password    string // the supervisor's
}

// newSecrets draws 256 bits for each. crypto/rand does not fail: it ends the
// process rather than give less.
func newSecrets() secrets {
	draw := func() string {
		var b [32]byte
		rand.Read(b[:])
		return hex.EncodeToString(b[:])
	}
	return secrets{config: "c" + draw(), acl: "a" + draw(), password: draw()}
}

// render is the whole of what the engine reads. p is valid.
func render(v Version, p Policy, good []passwords.Digest, s secrets) string {
	var b strings.Builder
	put := func(text string) { b.WriteString(text); b.WriteByte('\n') }
	for _, l := range fixed {
		if l.known(v) {
			put(l.text)
		}
	}
	for _, text := range bounds(p) {
		put(text)
	}
	for _, l := range removed {
		if l.known(v) {
			put(`rename-command ` + l.text + ` ""`)
		}
	}
	put("rename-command CONFIG " + s.config)
	put("rename-command ACL " + s.acl)
	for _, user := range appUsers(appRights(v, p), good) {
		put("user " + strings.Join(user, " "))
	}
	put(supervisorUser(passwords.Of([]byte(s.password)).String()))
	return b.String()
}
