package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// attacks are the ways to change the cache, to run code in it, to make it dial
// out or write, to see others' traffic, and to stop it (the catalogue of
// docs/threat-model.md). Each must be refused, however it is written.
var attacks = [][]string{
	{"CONFIG", "SET", "dir", "/tmp"}, {"CONFIG", "SET", "save", "1 1"}, {"CONFIG", "REWRITE"}, {"CONFIG", "RESETSTAT"},
	{"SAVE"}, {"BGSAVE"}, {"BGSAVE", "SCHEDULE"}, {"BGREWRITEAOF"}, {"LASTSAVE"}, {"SHUTDOWN", "NOSAVE"}, {"SHUTDOWN", "SAVE"},
	{"DEBUG", "SEGFAULT"}, {"DEBUG", "RELOAD"}, {"DEBUG", "SLEEP", "1"}, {"DEBUG", "OBJECT", "k"},
	{"FLUSHALL"}, {"FLUSHALL", "ASYNC"}, {"SWAPDB", "0", "1"}, {"MOVE", "k", "1"},
	{"REPLICAOF", "127.0.0.1", "9"}, {"SLAVEOF", "NO", "ONE"}, {"FAILOVER"}, {"SYNC"}, {"PSYNC", "?", "-1"}, {"REPLCONF", "listening-port", "1"},
	{"MIGRATE", "127.0.0.1", "9", "k", "0", "100"}, {"RESTORE", "r", "0", "x"}, {"RESTORE-ASKING", "r", "0", "x"}, {"DUMP", "k"},
	{"MODULE", "LOAD", "/tmp/x.so"}, {"MODULE", "LOADEX", "/tmp/x.so"}, {"MODULE", "LIST"}, {"MODULE", "UNLOAD", "x"},
	{"ACL", "SETUSER", "default", "+@all"}, {"ACL", "LIST"}, {"ACL", "GETUSER", "default"}, {"ACL", "DELUSER", "redoubt"}, {"ACL", "LOAD"},
	{"ACL", "SAVE"}, {"ACL", "LOG"}, {"ACL", "USERS"}, {"ACL", "GENPASS"}, {"ACL", "DRYRUN", "default", "GET", "k"},
	{"CLUSTER", "MEET", "127.0.0.1", "9"}, {"CLUSTER", "RESET"}, {"CLUSTER", "FAILOVER"}, {"CLUSTER", "ADDSLOTS", "1"}, {"CLUSTER", "GETKEYSINSLOT", "1", "9"},
	{"MONITOR"}, {"SLOWLOG", "GET"}, {"SLOWLOG", "RESET"}, {"LATENCY", "DOCTOR"}, {"LATENCY", "RESET"},
	{"CLIENT", "KILL", "TYPE", "normal"}, {"CLIENT", "PAUSE", "100000"}, {"CLIENT", "UNPAUSE"}, {"CLIENT", "UNBLOCK", "1"},
	{"MEMORY", "DOCTOR"}, {"MEMORY", "PURGE"}, {"MEMORY", "STATS"}, {"MEMORY", "MALLOC-STATS"},
	{"EVAL", "return 1", "0"}, {"EVALSHA", strings.Repeat("a", 40), "0"}, {"EVAL_RO", "return 1", "0"}, {"FCALL", "f", "0"},
	{"SCRIPT", "LOAD", "return 1"}, {"SCRIPT", "FLUSH"}, {"SCRIPT", "KILL"}, {"SCRIPT", "DEBUG", "SYNC"},
	{"FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() return 1 end)"}, {"FUNCTION", "FLUSH"}, {"FUNCTION", "DELETE", "x"},
	{"FUNCTION", "RESTORE", "x"}, {"FUNCTION", "DUMP"}, {"FUNCTION", "KILL"}, {"FUNCTION", "LIST"},
	{"PFDEBUG", "ENCODING", "k"}, {"PFSELFTEST"}, {"LOLWUT"}, {"GEORADIUS", "g", "1", "1", "1", "m", "STORE", "other"},
}

// mixed writes a word as nobody would: sHuTdOwN.
func mixed(word string) string {
	b := []byte(strings.ToLower(word))
	for i := 1; i < len(b); i += 2 {
		b[i] = strings.ToUpper(string(b[i]))[0]
	}
	return string(b)
}

func TestEveryAttackIsRefusedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	engine := enginesOf(t, d)[0]
	doors := map[string]func(t *testing.T) *lab.Client{
		"through the sidecar":        func(t *testing.T) *lab.Client { return d.Connect(t) },
		"straight at the gateway":    func(t *testing.T) *lab.Client { return dialGateway(t, d) },
		"through the sidecar, RESP3": func(t *testing.T) *lab.Client { c := d.Connect(t); c.Do("HELLO", "3"); return c },
	}
	for door, connect := range doors {
		t.Run(door, func(t *testing.T) {
			for _, attack := range attacks {
				name := strings.Join(attack[:min(2, len(attack))], " ")
				odd := append([]string(nil), attack...)
				odd[0] = mixed(odd[0])
				refused(t, name, connect(t).Do(attack...))
				refused(t, mixed(name), connect(t).Do(odd...))
				if inline := strings.Join(attack, " "); !strings.ContainsAny(inline, "\n'") {
					c := connect(t)
					c.Send(inline + "\r\n")
					refused(t, name+" inline", c.Reply())
				}
				c := connect(t)
				c.Want("+OK\r\n", "MULTI")
				refused(t, name+" in MULTI", c.Do(attack...))
				c.Do("SET", "in-multi", "executed")
				refused(t, "EXEC after "+name, c.Do("EXEC"))
				c.Do("DISCARD")
				c.Want(nothing(door), "GET", "in-multi")
			}
		})
	}
	if engines := enginesOf(t, d); len(engines) != 1 || engines[0] != engine {
		t.Errorf("the engine was %d and is %v: an attack ended it", engine, engines)
	}
	d.Connect(t).Want("+PONG\r\n", "PING")
}

// nothing is a missing value, in the protocol that the door speaks.
func nothing(door string) string {
	if strings.Contains(door, "RESP3") {
		return "_\r\n"
	}
	return "$-1\r\n"
}

func refused(t *testing.T, what, reply string) {
	t.Helper()
	if !strings.HasPrefix(reply, "-") {
		t.Errorf("%s: %q", what, reply)
	}
}

func TestScriptsCantAttackEither(t *testing.T) {
	t.Parallel()
	d := lab.Up(t, "--allow", "scripting")
	for _, attack := range attacks {
		var quoted []string
		for _, word := range attack {
			quoted = append(quoted, "'"+strings.NewReplacer("\n", " ", "'", "").Replace(word)+"'")
		}
		script := "return redis.call(" + strings.Join(quoted, ",") + ")"
		refused(t, script, d.Connect(t).Do("EVAL", script, "0"))
	}
	for _, script := range []string{
		"return os.execute('id')", "return io.open('/etc/passwd')", "return require('os')", "return package.loadlib('libc.so.6','system')",
		"return dofile('/etc/passwd')", "return loadfile('/etc/passwd')()", "return debug.getregistry()",
	} {
		refused(t, script, d.Connect(t).Do("EVAL", script, "0"))
	}
}

func TestNothingRunsWithoutThePassword(t *testing.T) {
	t.Parallel()
	d := lab.Up(t)
	doors := map[string]func() *lab.Client{
		"sidecar": func() *lab.Client { return lab.Connect(t, d.Sidecar, "") },
		"gateway": func() *lab.Client { return lab.NewClient(t, mustDial(t, d, certificate(t, d))) },
	}
	for door, connect := range doors {
		for _, command := range append(attacks, []string{"GET", "k"}, []string{"SET", "k", "v"}, []string{"INFO"}, []string{"PING"}, []string{"HELLO", "3"}, []string{"CLIENT", "LIST"}, []string{"CONFIG", "GET", "save"}) {
			refused(t, door+" without AUTH: "+command[0], connect().Do(command...))
		}
		for _, password := range []string{"", "wrong", d.Password() + "x", d.Password()[1:], strings.ToLower(d.Password()), "redoubt"} {
			refused(t, door+" with a wrong password", connect().Do("AUTH", password))
			refused(t, door+" as our own user", connect().Do("AUTH", "redoubt", password))
		}
	}
}

func TestTheTunnelTakesNobodyElse(t *testing.T) {
	d := lab.Up(t)
	other := lab.Up(t) // another deployment, with the same names under a CA of its own
	for name, config := range map[string]*tls.Config{
		"no certificate":          {InsecureSkipVerify: true},
		"another deployment's CA": {InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate(t, other)}},
		"the gateway's own":       {InsecureSkipVerify: true, Certificates: []tls.Certificate{pair(t, filepath.Join(d.Dir, "gateway"))}},
		"TLS 1.2":                 {InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate(t, d)}, MaxVersion: tls.VersionTLS12},
		"TLS 1.0":                 {InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate(t, d)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", d.Gateway, config)
			if err != nil {
				return // refused in the handshake
			}
			// TLS 1.3: a client learns with the first bytes that it was refused.
			c := lab.NewClient(t, conn)
			fmt.Fprint(conn, lab.Encode("AUTH", d.Password()))
			if reply, err := c.TryReply(); err == nil {
				t.Fatalf("it was let in: %q", reply)
			}
		})
	}
	d.Connect(t).Want("+PONG\r\n", "PING")
}

// certificate is the application host's, as the sidecar has it.
func certificate(t *testing.T, d *lab.Deployment) tls.Certificate {
	return pair(t, filepath.Join(d.Dir, "sidecar"))
}

func pair(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// mustDial opens a tunnel as an application library that speaks TLS would: with
// Go's own verification of the gateway's name.
func mustDial(t *testing.T, d *lab.Deployment, cert tls.Certificate) net.Conn {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(d.Dir, "sidecar", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	conn, err := tls.Dial("tcp", d.Gateway, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func dialGateway(t *testing.T, d *lab.Deployment) *lab.Client {
	t.Helper()
	c := lab.NewClient(t, mustDial(t, d, certificate(t, d)))
	c.Want("+OK\r\n", "AUTH", d.Password())
	return c
}
