package engine

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// attacks is every way to change a running engine, to take data out of it
// other than by its commands, or to see what is not the application's.
var attacks = strings.Fields(strings.ReplaceAll(`
CONFIG_SET_maxmemory_1 CONFIG_SET_dir_/tmp CONFIG_SET_save_1 CONFIG_GET_* CONFIG_RESETSTAT CONFIG_REWRITE
ACL_SETUSER_default_nopass ACL_SETUSER_mallory_on_nopass_+@all ACL_DELUSER_redoubt ACL_LOAD ACL_SAVE ACL_LIST ACL_USERS ACL_GETUSER_redoubt ACL_LOG ACL_CAT ACL_GENPASS
MODULE_LOAD_/tmp/x.so MODULE_LOADEX_/tmp/x.so MODULE_UNLOAD_x MODULE_LIST
DEBUG_SEGFAULT DEBUG_PANIC DEBUG_RESTART DEBUG_RELOAD DEBUG_SLEEP_0 DEBUG_OBJECT_k DEBUG_SET-ACTIVE-EXPIRE_0
REPLICAOF_127.0.0.1_1 REPLICAOF_NO_ONE SLAVEOF_127.0.0.1_1 FAILOVER SYNC PSYNC_?_-1 REPLCONF_listening-port_1 ROLE
FUNCTION_DELETE_x FUNCTION_FLUSH FUNCTION_RESTORE_x FUNCTION_DUMP FUNCTION_KILL FUNCTION_STATS
SCRIPT_FLUSH SCRIPT_KILL SCRIPT_DEBUG_SYNC SCRIPT_DEBUG_YES SCRIPT_SHOW_x
MIGRATE_127.0.0.1_1_k_0_100 RESTORE_k_0_x RESTORE-ASKING_k_0_x DUMP_k SORT_list SORT_list_BY_nosort_GET_* SORT_RO_list
CLUSTER_MEET_127.0.0.1_1 CLUSTER_RESET CLUSTER_ADDSLOTS_1 CLUSTER_FAILOVER CLUSTER_NODES CLUSTER_GETKEYSINSLOT_0_10 CLUSTER_MIGRATESLOTS_x CLUSTER_SYNCSLOTS_x CLUSTER_FLUSHSLOT_0 CLUSTER_CANCELSLOTMIGRATIONS CLUSTER_SAVECONFIG
SWAPDB_0_1 FLUSHALL FLUSHALL_ASYNC SHUTDOWN SHUTDOWN_NOSAVE SAVE BGSAVE BGSAVE_SCHEDULE BGREWRITEAOF LASTSAVE
CLIENT_KILL_TYPE_normal CLIENT_PAUSE_1 CLIENT_UNPAUSE CLIENT_UNBLOCK_1 CLIENT_NO-EVICT_on CLIENT_LIST CLIENT_IMPORT-SOURCE_on
LATENCY_RESET LATENCY_DOCTOR LATENCY_HISTOGRAM SLOWLOG_GET SLOWLOG_RESET SLOWLOG_LEN COMMANDLOG_RESET_slow COMMANDLOG_GET_-1_slow
MEMORY_PURGE MEMORY_DOCTOR MEMORY_STATS MEMORY_MALLOC-STATS MONITOR PFDEBUG_GETREG_k PFSELFTEST
LCS_k_k GEORADIUS_g_0_0_1_m_STORE_k GEORADIUSBYMEMBER_g_a_1_m_STORE_k LOLWUT VADD_v_VALUES_1_1_a CLUSTERSCAN_0
`, "\n", " "))

// byDefault is what a plain cache refuses besides.
var byDefault = strings.Fields(`
EVAL_return(1)_0 EVAL_RO_return(1)_0 EVALSHA_x_0 EVALSHA_RO_x_0 SCRIPT_LOAD_return(1) SCRIPT_EXISTS_x
FCALL_f_0 FCALL_RO_f_0 FUNCTION_LOAD_x FUNCTION_LIST`)

// refusals is what a refused command is answered with; the last six are
// Lua's words for it, by version. Anything else, a wrong number of arguments say, would mean
// that the command was not refused but misspelt.
var refusals = regexp.MustCompile(`^(NOPERM |ERR unknown command|ERR unknown subcommand|ERR Unknown subcommand|` +
	`ERR This Redis command is not allowed from script|ERR Unknown Redis command called from script|ERR The user executing the script can't run this command or subcommand|` +
	`ERR This Valkey command is not allowed from script|ERR Unknown command called from script|ERR ACL failure in script: User default has no permissions to run )`)

func words(attack string) []string { return strings.Split(attack, "_") }

// state is what must be the same after an attack as before: configuration,
// users, role, process and data.
func state(t *testing.T, r *running) string {
	t.Helper()
	own := r.own()
	defer own.conn.Close()
	s := fmt.Sprint(own.do(r.secret.config, "GET", "*"), own.do(r.secret.acl, "LIST"), own.do("INFO", "replication"), own.do("INFO", "modules"), own.do("INFO", "keyspace"))
	server, _ := own.do("INFO", "server").(string)
	for _, field := range []string{"run_id", "process_id", "tcp_port"} {
		_, rest, _ := strings.Cut(server, field+":")
		value, _, _ := strings.Cut(rest, "\r\n")
		s += field + value
	}
	app := r.app()
	defer app.conn.Close()
	return s + fmt.Sprint(app.do("GET", "k"), app.do("LRANGE", "list", "0", "-1"))
}

// disguises is the shapes in which a command can arrive.
var disguises = []struct {
	name string
	send func(t *testing.T, c *client, words []string) any
}{
	{"plain", func(t *testing.T, c *client, w []string) any { return c.do(w...) }},
	{"mixed case", func(t *testing.T, c *client, w []string) any {
		mixed := append([]string{}, w...)
		for i := range min(2, len(mixed)) {
			if mixed[i] != "k" {
				mixed[i] = alternate(mixed[i])
			}
		}
		return c.do(mixed...)
	}},
	{"inline", func(t *testing.T, c *client, w []string) any {
		c.send(strings.ToLower(strings.Join(w, " ")) + "\r\n")
		return c.reply()
	}},
	{"over RESP3", func(t *testing.T, c *client, w []string) any {
		c.do("HELLO", "3")
		return c.do(w...)
	}},
	{"in a transaction", func(t *testing.T, c *client, w []string) any {
		c.do("MULTI")
		got := c.do(w...)
		if end, _ := c.do("EXEC").(refusal); !strings.HasPrefix(string(end), "EXECABORT") {
			t.Errorf("%v in a transaction: EXEC said %v", w, end)
		}
		return got
	}},
}

// alternate writes a word in MiXeD case.
func alternate(s string) string {
	b := []byte(strings.ToLower(s))
	for i := 0; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

func TestEveryAttackIsRefusedInEveryDisguise(t *testing.T) {
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, Options{Policy: p.policy})
			prepare := r.app()
			prepare.do("SET", "k", "v")
			prepare.do("RPUSH", "list", "b", "a")
			prepare.do("GEOADD", "g", "0", "0", "a")
			before := state(t, r)

			list := attacks
			if p.name != "opened" {
				list = append(append([]string{}, attacks...), byDefault...)
			}
			for _, attack := range list {
				for _, d := range disguises {
					c := r.app()
					got := d.send(t, c, words(attack))
					if text, ok := got.(refusal); !ok || !refusals.MatchString(string(text)) {
						t.Errorf("%s, %s: %v", attack, d.name, got)
					}
					c.conn.Close()
				}
			}
			if after := state(t, r); after != before {
				t.Errorf("the engine is another than before:\n%s\n%s", before, after)
			}
		})
	}
}

func TestScriptsCannotAttackEither(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: Policy{Uses: []Use{Cache, Locks}}})
	r.app().do("SET", "k", "v")
	before := state(t, r)
	for _, attack := range attacks {
		for _, call := range []string{"redis.call(unpack(ARGV))", "redis.pcall(unpack(ARGV))"} {
			c := r.app()
			got := c.do(append([]string{"EVAL", "return " + call, "0"}, words(attack)...)...)
			text, ok := got.(refusal)
			// call wraps the error and says where in the script it was.
			if !ok || !refusals.MatchString(string(text)) {
				t.Errorf("%s from %s: %v", attack, call, got)
			}
			c.conn.Close()
		}
	}
	for _, attack := range []string{
		"return io.open('/tmp/x', 'w')", "return os.execute('id')", "return package.loadlib('x', 'y')", "return require('io')",
		"return dofile('/etc/passwd')", "return loadfile('/etc/passwd')", "return getmetatable('').__index.x.y",
	} {
		if got, ok := r.app().do("EVAL", attack, "0").(refusal); !ok {
			t.Errorf("%s: %v", attack, got)
		}
	}
	if after := state(t, r); after != before {
		t.Errorf("the engine is another than before:\n%s\n%s", before, after)
	}
}

func TestNobodyIsLetInWithoutThePassword(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	for _, attempt := range []string{
		"GET_k", "PING", "INFO", "FLUSHDB", "EVAL_return(1)_0", "HELLO_3", "AUTH_wrong", "AUTH_default_wrong", "AUTH_redoubt_wrong",
		"AUTH_default_", "AUTH_", "AUTH_" + digest(password), "HELLO_3_AUTH_default_wrong", "MULTI", "SUBSCRIBE_c",
	} {
		got, ok := r.raw().do(words(attempt)...).(refusal)
		if !ok || !regexp.MustCompile(`^(NOAUTH|WRONGPASS) `).MatchString(string(got)) {
			t.Errorf("%s without a password: %v", attempt, got)
		}
	}
}

func TestBothPasswordsWorkWhileOneIsChanged(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Passwords: good(password, "the next one")})
	for _, word := range []string{password, "the next one"} {
		if got := r.raw().do("AUTH", word); got != "OK" {
			t.Errorf("AUTH: %v", got)
		}
	}
}

// readProc reads a file of the engine's /proc entry.
func readProc(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
