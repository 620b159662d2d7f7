package migration

import (
	"strings"
)

// The directives of Redis 6.0 to 8.0 and Valkey 8.0 to 9.1, and what becomes of
// each. A value that is Redoubt's own (engine.Wanted) is kept whatever stands
// here; those of which something is computed are in redis.go as well.

// A directive is a row: some names with one fate.
type directive struct {
	names    string // apart by spaces
	verdict  Verdict
	harmless string // values, apart by |, with which the line had no effect anyway
	weak     bool
	secret   bool // its value is never shown
	why      string
}

const (
	ownSocket    = "The engine listens on a unix socket that only its gateway reaches; other hosts come through the tunnel."
	noDisk       = "With Redoubt nothing is ever written to a disk, and what is cached is gone when the engine ends: it must be data that can be made again."
	noDiskKnob   = "It says how to write to a disk, which the engine never does."
	ownProcess   = "The gateway starts the engine, watches it and passes on what may be logged."
	noReplica    = "There is no replication: each gateway has an engine of its own."
	noCluster    = "There is no cluster: each gateway has an engine of its own."
	ownTLS       = "The engine speaks no TLS; the tunnel is TLS 1.3 with certificates of its own on both ends."
	layout       = "How values are laid out and looked after in memory: the engine's own default serves."
	follows      = "It follows from engine.memory and engine.max_value."
	noTrace      = "The engine keeps no record of commands or keys: they may hold patient data."
	noModules    = "No code is loaded into the engine: applications that use the module's commands get an error."
	notOurs      = "Redoubt has no such switch."
	moduleValues = "A module's own setting; no module is loaded."
)

var directives = []directive{
	// Ways in.
	{names: "port unixsocket unixsocketperm unixsocketgroup tcp-backlog tcp-keepalive socket-mark-id bind-source-addr mptcp rdma-port rdma-bind rdma-rx-size rdma-completion-vector max-new-connections-per-cycle max-new-tls-connections-per-cycle availability-zone",
		verdict: Dropped, why: ownSocket},
	{names: "bind", verdict: Dropped, why: ownSocket}, // seen in redis.go
	{names: "protected-mode", verdict: Tightened, weak: true, why: "protected-mode was off. " + ownSocket},
	{names: "timeout", verdict: Changed, harmless: "0", why: "Idle connections are not closed: at the sidecar they cost next to nothing."},
	{names: "gopher-enabled", verdict: Refused, harmless: "no", why: "The engine answers nothing but the Redis protocol."},
	{names: "tls-port tls-cluster tls-replication", verdict: Dropped, harmless: "0|no", why: ownTLS},
	{names: "tls-cert-file tls-key-file tls-client-cert-file tls-client-key-file tls-dh-params-file tls-ca-cert-file tls-ca-cert-dir tls-auth-clients tls-auth-clients-user tls-protocols tls-ciphers tls-ciphersuites tls-prefer-server-ciphers tls-session-caching tls-session-cache-size tls-session-cache-timeout tls-auto-reload-interval",
		verdict: Dropped, why: ownTLS},
	{names: "tls-key-file-pass tls-client-key-file-pass", verdict: Dropped, secret: true, why: ownTLS},

	// Who.
	{names: "requirepass", verdict: Kept, secret: true},
	{names: "user", verdict: Kept, secret: true},
	{names: "aclfile", verdict: Kept},
	{names: "acl-pubsub-default", verdict: Tightened, why: "Users get no channels but by a rule."},

	// What commands do.
	{names: "rename-command", verdict: Kept, secret: true},
	{names: "enable-protected-configs enable-debug-command enable-module-command", verdict: Tightened, weak: true, harmless: "no",
		why: "No client changes the engine or loads code into it."},
	{names: "lua-enable-deprecated-api lua-enable-insecure-api", verdict: Tightened, harmless: "no", why: "Scripts get no functions that are known to be unsafe."},
	{names: "loadmodule", verdict: Refused, why: noModules},
	{names: "lua-time-limit busy-reply-threshold", verdict: Changed, why: "A script or command that runs for more than 2 s makes the engine answer BUSY; after 30 s it is ended."},
	{names: "lua-replicate-commands propagation-error-behavior", verdict: Dropped, why: noReplica},
	{names: "notify-keyspace-events", verdict: Refused, why: "Keyspace events tell the names of keys to whoever listens, and are off. Applications that wait for them get none."},
	{names: "databases", verdict: Kept},
	{names: "extended-redis-compatibility", verdict: Refused, harmless: "no", why: "Valkey says its own name; applications that insist on Redis get redis-server as the engine (engine.binary)."},
	{names: "locale-collate", verdict: Changed, why: "SORT ALPHA and Lua compare by the C locale, byte by byte."},
	{names: "import-mode cluster-compatibility-sample-ratio client-default-resp", verdict: Dropped, why: notOurs},

	// Bounds.
	{names: "maxmemory maxmemory-policy maxclients proto-max-bulk-len", verdict: Kept},
	{names: "maxmemory-clients client-query-buffer-limit client-output-buffer-limit tracking-table-max-keys", verdict: Changed, why: follows},
	{names: "maxmemory-samples maxmemory-eviction-tenacity lfu-log-factor lfu-decay-time active-expire-effort", verdict: Dropped, why: layout},

	// Ways onto a disk.
	{names: "save", verdict: Tightened, weak: true, why: noDisk},
	{names: "appendonly", verdict: Tightened, weak: true, harmless: "no", why: noDisk},
	{names: "dir dbfilename appendfilename appenddirname appendfsync no-appendfsync-on-rewrite auto-aof-rewrite-percentage auto-aof-rewrite-min-size aof-load-truncated aof-use-rdb-preamble aof-timestamp-enabled aof-disable-auto-gc aof-rewrite-incremental-fsync rdb-save-incremental-fsync rdbcompression rdbchecksum rdb-del-sync-files rdb-key-save-delay key-load-delay rdb-version-check stop-writes-on-bgsave-error sanitize-dump-payload loading-process-events-interval-bytes req-res-logfile",
		verdict: Dropped, why: noDiskKnob},

	// Records of what happened.
	{names: "logfile", verdict: Tightened, why: "The engine logs to the gateway alone, which passes on fixed texts only: Redis's own log can hold values."},
	{names: "loglevel syslog-enabled syslog-ident syslog-facility log-format log-timestamp-format always-show-logo", verdict: Dropped, why: ownProcess},
	{names: "slowlog-log-slower-than slowlog-max-len commandlog-execution-slower-than commandlog-request-larger-than commandlog-reply-larger-than commandlog-slow-execution-max-len commandlog-large-request-max-len commandlog-large-reply-max-len acllog-max-len latency-monitor-threshold latency-tracking latency-tracking-info-percentiles",
		verdict: Tightened, why: noTrace},
	{names: "crash-log-enabled crash-memcheck-enabled hide-user-data-from-log", verdict: Tightened, why: "A crash report holds commands and keys: there is none."},

	// The process.
	{names: "daemonize pidfile supervised set-proc-title proc-title-template oom-score-adj oom-score-adj-values disable-thp server-cpulist server_cpulist bio-cpulist bio_cpulist aof-rewrite-cpulist aof_rewrite_cpulist bgsave-cpulist bgsave_cpulist ignore-warnings shutdown-timeout shutdown-on-sigint shutdown-on-sigterm watchdog-period use-exit-on-panic debug-assert-enabled",
		verdict: Dropped, why: ownProcess},

	// Speed and layout.
	{names: "io-threads io-threads-do-reads events-per-io-thread prefetch-batch-max-size", verdict: Dropped, why: "The engine runs one thread for commands; the tunnel's work is the gateway's."},
	{names: "hz dynamic-hz activerehashing hash-seed jemalloc-bg-thread activedefrag active-defrag-ignore-bytes active-defrag-threshold-lower active-defrag-threshold-upper active-defrag-cycle-min active-defrag-cycle-max active-defrag-cycle-us active-defrag-max-scan-fields hash-max-listpack-entries hash-max-listpack-value hash-max-ziplist-entries hash-max-ziplist-value hash-max-zipmap-entries hash-max-zipmap-value list-max-listpack-size list-max-ziplist-size list-max-ziplist-entries list-max-ziplist-value list-compress-depth set-max-intset-entries set-max-listpack-entries set-max-listpack-value zset-max-listpack-entries zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value hll-sparse-max-bytes stream-node-max-bytes stream-node-max-entries",
		verdict: Dropped, why: layout},
	{names: "lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del lazyfree-lazy-user-flush", verdict: Changed, why: "Memory is always freed in the background."},

	// Other servers.
	{names: "replicaof slaveof", verdict: Refused, harmless: "no one", why: noReplica + " Import the primary's configuration; if this one is a replica to fall back on, give it a gateway of its own and name both in sidecar.yaml."},
	{names: "min-replicas-to-write min-slaves-to-write", verdict: Refused, harmless: "0", why: noReplica + " Writes don't wait for copies."},
	{names: "masterauth masteruser primaryauth primaryuser", verdict: Dropped, secret: true, why: noReplica},
	{names: "replica-serve-stale-data slave-serve-stale-data replica-read-only slave-read-only replica-priority slave-priority replica-announced replica-announce-ip slave-announce-ip replica-announce-port slave-announce-port replica-ignore-maxmemory slave-ignore-maxmemory replica-ignore-disk-write-errors replica-lazy-flush slave-lazy-flush replica-full-sync-buffer-limit min-replicas-max-lag min-slaves-max-lag repl-timeout repl-ping-replica-period repl-ping-slave-period repl-backlog-size repl-backlog-ttl repl-disable-tcp-nodelay repl-diskless-sync repl-diskless-sync-delay repl-diskless-sync-period repl-diskless-sync-max-replicas repl-diskless-load repl-mptcp dual-channel-replication-enabled slot-migration-max-failover-repl-bytes",
		verdict: Dropped, why: noReplica},
	{names: "cluster-enabled", verdict: Refused, harmless: "no", why: noCluster + " Applications of a cluster speak to its nodes by their own addresses."},
	{names: "cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down cluster-allow-replica-migration cluster-announce-bus-port cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-announce-client-port cluster-announce-client-tls-port cluster-announce-hostname cluster-announce-human-nodename cluster-announce-ip cluster-announce-port cluster-announce-tls-port cluster-blacklist-ttl cluster-config-file cluster-config-save-behavior cluster-databases cluster-link-sendbuf-limit cluster-manual-failover-timeout cluster-migration-barrier cluster-node-timeout cluster-ping-interval cluster-port cluster-preferred-endpoint-type cluster-replica-no-failover cluster-slave-no-failover cluster-replica-validity-factor cluster-slave-validity-factor cluster-require-full-coverage cluster-slot-migration-log-max-len cluster-slot-stats-enabled",
		verdict: Dropped, why: noCluster},
	{names: "sentinel", verdict: Refused, why: "Sentinel moves clients between replicas, and " + "there is no replication here. This is a Sentinel's file: import that of the Redis that it watches."},
}

// lookup finds a directive's row.
func lookup(name string) (directive, bool) {
	for _, d := range directives {
		for n := range strings.FieldsSeq(d.names) {
			if n == name {
				return d, true
			}
		}
	}
	// Modules name their settings MODULE.SETTING, and the modules of Redis 8 by
	// their own beginnings.
	for _, prefix := range []string{"search-", "ts-", "bf-", "cf-", "lua."} {
		if strings.HasPrefix(name, prefix) {
			return directive{names: name, verdict: Dropped, secret: true, why: moduleValues}, true
		}
	}
	return directive{}, false
}

// without says whether the value had no effect.
func (d directive) without(value string) bool {
	if d.harmless == "" {
		return false
	}
	for _, v := range strings.Split(d.harmless, "|") {
		if strings.EqualFold(v, value) {
			return true
		}
	}
	return false
}
