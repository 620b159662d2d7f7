package migration

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// ask is redis-cli's plain answer, in lines.
func ask(t *testing.T, socket string, args ...string) []string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-s", socket}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// TestTheTablesOfCommandsAreTheEngines: what is said to stay open is open for the
// application, or answered by the sidecar, and what is said to be refused is
// refused, for each command that the engine at hand has.
func TestTheTablesOfCommandsAreTheEngines(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`)
	categories := map[string][]string{}
	for _, c := range ask(t, socket, "ACL", "CAT") {
		for _, name := range ask(t, socket, "ACL", "CAT", c) {
			categories[name] = append(categories[name], "@"+c)
		}
	}
	version, err := engine.VersionFromInfo(strings.Join(ask(t, socket, "INFO", "server"), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(categories) < 300 {
		t.Fatalf("only %d commands", len(categories))
	}
	for _, policy := range []engine.Policy{{}, {Allow: []string{"scripting", "functions"}}, {Deny: []string{"keys", "flushdb", "pubsub"}}, engine.MostOpen()} {
		r := &reader{journal: &journal{}, server: &server{policy: policy}, options: Options{Allow: policy.Allow}}
		for name := range categories {
			parent, sub, _ := strings.Cut(name, "|")
			if _, container := categories[parent+"|help"]; container && sub == "" {
				continue // by its subcommands
			}
			found := command.Lookup([]byte(parent), []byte(sub))
			open := policy.Opens(version, name, categories[name]) || found.Class == command.Local || slices.Contains([]string{"auth", "hello", "quit", "reset"}, name)
			if v, why := r.fate(name); open != (v == Kept) && sub != "help" && !harmless(name) {
				t.Errorf("%+v: %s is said to be %q (%s), and open is %v", policy, name, v, why, open)
			}
		}
	}
}

// harmless are of no use to anybody, so that nothing is said of them.
func harmless(name string) bool {
	return slices.Contains([]string{"asking", "acl|whoami"}, name)
}

// TestTheRightsOfAUserAreTheEngines: what a line lets a user run is what a real
// engine says that it does, command by command, for lines that people write and
// for any.
func TestTheRightsOfAUserAreTheEngines(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	lab.Plain(t, "redis-server", "port 0", "unixsocket "+socket, `save ""`)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c := lab.NewClient(t, conn)
	lines := []string{
		"+@all -@dangerous", "+@all -role", "+@all -config", "+@all -client|list", "+@all -@admin +info", "allcommands -keys -flushdb",
		"-@all +@read +@write +@connection", "nocommands +get +set", "+@all -@all +config|get", "+@all -config +config|get", "-@all +select|0 +@hash -hgetall",
		"+@all -debug +debug|object", "+@ALL -KEYS", "", "+@all -@dangerous +keys +@pubsub -publish", "+client -client|kill", "+@all -@connection", "+@all reset on ~* +get",
	}
	var words []string
	for _, name := range matching("@all") {
		if lookupCommand(name).Since == "" {
			words = append(words, name)
		}
	}
	words = append(words, strings.Fields(strings.TrimSpace("@all @read @write @dangerous @admin @keyspace @fast @slow @pubsub @blocking @scripting @connection @transaction @hash @string @list @set @sortedset @stream @bitmap @geo @hyperloglog config client acl script object function cluster"))...)
	for seed := range 30 {
		dice, line := rand.New(rand.NewPCG(uint64(seed), 1)), ""
		for range 1 + dice.IntN(6) {
			line += " " + string("+-"[dice.IntN(2)]) + words[dice.IntN(len(words))]
		}
		lines = append(lines, line)
	}
	asked := 0
	for _, line := range lines {
		rule := append([]string{"ACL", "SETUSER", "u", "reset", "on", "~*", "&*"}, strings.Fields(line)...)
		c.Want("+OK\r\n", rule...)
		var have rights
		for _, word := range strings.Fields(line) {
			have.apply(word, &credential{})
		}
		closed := have.closed()
		for _, name := range matching("@all") {
			found := lookupCommand(name)
			if found.Since != "" {
				continue
			}
			parent, sub, isSub := strings.Cut(name, "|")
			try := []string{"ACL", "DRYRUN", "u", parent}
			if isSub {
				try = append(try, sub)
			}
			for n := found.Arity; len(try)-3 < max(n, -n); {
				try = append(try, "1")
			}
			reply := c.Do(try...)
			for strings.Contains(reply, "wrong number of arguments") && len(try) < 10 { // COMMAND GETKEYS wants one more than it says
				try = append(try, "1")
				reply = c.Do(try...)
			}
			if strings.HasPrefix(reply, "-") {
				t.Fatalf("%v: %s", try, reply)
			}
			asked++
			if may := reply == "+OK\r\n"; may == slices.Contains(closed, name) {
				t.Errorf("%q: %s: the engine lets it run: %v", line, name, may)
			}
		}
	}
	t.Logf("%d answers of the engine", asked)
}

// TestWhatConfigRewriteMakesIsUnderstood: Redis then has the password twice, and
// every setting that differs from its default.
func TestWhatConfigRewriteMakesIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	path := write(t, dir, "redis.conf", "port 0\nunixsocket "+socket+"\nsave \"\"\nrequirepass first\n")
	lab.Start(t, exec.Command("redis-server", path), "eady to accept connections")
	cli := exec.Command("redis-cli", "-s", socket)
	cli.Stdin = strings.NewReader("AUTH first\nCONFIG SET requirepass \"second one\"\nCONFIG SET maxmemory 300mb\nCONFIG REWRITE\n")
	if out, err := cli.CombinedOutput(); err != nil || strings.Count(string(out), "OK") != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "user default on") {
		t.Fatalf("%v\n%s", err, text)
	}
	j := &journal{}
	srv, err := j.readServer(Options{Redis: path})
	if err != nil {
		t.Fatal(err)
	}
	if srv.password.app != "second one" || !slices.Equal(srv.password.digests, []passwords.Digest{passwords.Of([]byte("second one"))}) || srv.policy.Memory != 300<<20 {
		t.Errorf("%+v", srv)
	}
	for _, f := range j.findings {
		if f.Verdict == Unknown || f.Verdict == Refused {
			t.Errorf("%+v", f)
		}
	}
}

// TestAFileIsReadAsTheRealRedisReadsIt: quotes, units, includes, what is set twice.
func TestAFileIsReadAsTheRealRedisReadsIt(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	write(t, dir, "more/20.conf", "maxmemory 1m\nMAXCLIENTS 77\n")
	write(t, dir, "more/10.conf", "maxmemory 17Mb\nmaxclients 55\nproto-max-bulk-len 3mb\n")
	for _, pw := range []string{`plain`, `"with \" quote and \x41 and \n end"`, `'single \' and \n'`, `"\xe9\xff bytes"`, `half"quoted"`, `$(a);b#c`, `"#"`} {
		path := write(t, dir, "redis.conf", "  PORT 0\r\n# requirepass no\nunixsocket "+socket+"\nsave \"\"\nrequirepass first\nrequirepass "+pw+"  \ninclude "+dir+"/more/*.conf\nmaxmemory-policy 'allkeys-random'\nproto-max-bulk-len 2mb\nmaxmemory 20m\n")
		redis := lab.Start(t, exec.Command("redis-server", path), "eady to accept connections")
		j := &journal{}
		srv, err := j.readServer(Options{Redis: path})
		if err != nil {
			t.Fatalf("%s: %v", pw, err)
		}
		cli := exec.Command("redis-cli", "-s", socket, "config", "get", "max*")
		cli.Env = append(os.Environ(), "REDISCLI_AUTH="+srv.password.app)
		out, err := cli.Output()
		for _, want := range []string{"maxmemory\n20000000\n", "maxclients\n77\n"} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v, no %q in %s", pw, err, want, out)
			}
		}
		if srv.policy.Memory != 20_000_000 || srv.policy.MaxClients != 77 || srv.policy.MaxValue != 2<<20 {
			t.Errorf("%+v", srv.policy)
		}
		redis.Stop()
	}
}
