package migration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// server reads a redis.conf of these lines.
func serverOf(t *testing.T, o Options, lines ...string) (*server, *journal) {
	t.Helper()
	o.Redis, o.Now = write(t, t.TempDir(), "redis.conf", strings.Join(lines, "\n")+"\n"), time.Now()
	j := &journal{}
	srv, err := j.readServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return srv, j
}

// verdict is that of the last finding of a name; "" if there is none.
func (j *journal) verdict(name string) (v Verdict) {
	for _, f := range j.findings {
		if f.Name == name {
			v = f.Verdict
		}
	}
	return v
}

func TestSizesAreRedissOwn(t *testing.T) {
	for text, want := range map[string]int64{
		"1k": 1000, "1kb": 1024, "1m": 1e6, "1MB": 1 << 20, "1g": 1e9, "1Gb": 1 << 30, "100": 100, "100b": 100, "99999999999gb": 1 << 62,
		"": -1, "1x": -1, "kb": -1, "1.5gb": -1, "1 gb": -1,
	} {
		if n, err := parseSize(text); (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("%q is %d, %v; want %d", text, n, err, want)
		}
	}
}

// TestEvictionFollows: what the engine will do is told from what it did, and the
// verdict says whether they differ.
func TestEvictionFollows(t *testing.T) {
	for _, c := range []struct {
		line  string
		asked []string
		uses  []engine.Use
		want  Verdict
	}{
		{"maxmemory-policy allkeys-lru", nil, []engine.Use{engine.Cache}, Kept},
		{"maxmemory-policy allkeys-lfu", nil, []engine.Use{engine.Cache}, Changed},
		{"maxmemory-policy volatile-lru", nil, []engine.Use{engine.Cache}, Changed},
		{"maxmemory-policy noeviction", nil, []engine.Use{engine.Queues}, Kept},
		{"maxmemory-policy noeviction", []string{"cache"}, []engine.Use{engine.Cache}, Changed},
		{"maxmemory-policy NoEviction", []string{"locks"}, []engine.Use{engine.Locks}, Kept},
		{"", nil, []engine.Use{engine.Cache}, Changed},
		{"", []string{"queues"}, []engine.Use{engine.Queues}, Kept},
	} {
		srv, j := serverOf(t, Options{Uses: c.asked}, c.line)
		if !slices.Equal(srv.policy.Uses, c.uses) || j.verdict("maxmemory-policy") != c.want {
			t.Errorf("%q, asked for %v: %v, %s; want %v, %s", c.line, c.asked, srv.policy.Uses, j.verdict("maxmemory-policy"), c.uses, c.want)
		}
	}
}

func TestBoundsAreKeptWithinOurs(t *testing.T) {
	for _, c := range []struct {
		lines          string
		memory, values int64
		clients        int
	}{
		{"maxmemory 4gb\nmaxclients 500\nproto-max-bulk-len 64mb", 4 << 30, 64 << 20, 500},
		{"maxmemory 0", 2 << 30, 512 << 20, 0},
		{"maxmemory 1mb", 16 << 20, 8 << 20, 0},
		{"maxmemory 100mb", 100 << 20, 50 << 20, 0},
		{"maxmemory 1gb\nmaxclients 1\nproto-max-bulk-len 2gb", 1 << 30, 512 << 20, 16},
		{"maxmemory 1gb\nmaxmemory 3gb", 3 << 30, 512 << 20, 0},
	} {
		srv, _ := serverOf(t, Options{}, c.lines)
		if p := srv.policy; p.Memory != c.memory || p.MaxValue != c.values || p.MaxClients != c.clients {
			t.Errorf("%q: %+v", c.lines, p)
		}
	}
	for _, line := range []string{"maxmemory lots", "maxmemory", "maxmemory 1 2", "maxclients -1", "port 70000", "rename-command X", "user"} {
		path := write(t, t.TempDir(), "redis.conf", "\n"+line+"\n")
		if _, err := new(journal).readServer(Options{Redis: path}); err == nil || !strings.Contains(err.Error(), "redis.conf:2: ") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestWhatAnApplicationWouldMissIsRefused, and what has no effect is not.
func TestWhatAnApplicationWouldMissIsRefused(t *testing.T) {
	for line, want := range map[string]Verdict{
		"replicaof 10.0.0.1 6379": Refused, "slaveof no one": Dropped, "cluster-enabled yes": Refused, "cluster-enabled no": Dropped,
		"loadmodule /usr/lib/x.so": Refused, "notify-keyspace-events Ex": Refused, `notify-keyspace-events ""`: Kept,
		"databases 17": Refused, "databases 16": Kept, "databases 8": Changed, "min-replicas-to-write 1": Refused,
		"sentinel monitor a 10.0.0.1 6379 2": Refused, "nonsense 1": Unknown, "search-threads 4": Dropped,
		"appendonly yes": Tightened, "appendonly no": Kept, "save 900 1": Tightened, `save ""`: Kept, "enable-debug-command local": Tightened,
		"protected-mode no": Tightened, "protected-mode yes": Kept, "timeout 300": Changed, "timeout 0": Kept, "dir /var/lib/redis": Dropped,
		"user alice on >x ~* +@all": Refused, "user alice off": Dropped, "user alice": Dropped,
	} {
		_, j := serverOf(t, Options{}, line)
		name, _, _ := strings.Cut(line, " ")
		if got := j.verdict(name); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestWhatWasClosedStaysClosedOrIsRefused(t *testing.T) {
	for _, c := range []struct {
		line  string
		o     Options
		want  Verdict
		denys string
	}{
		{`CONFIG ""`, Options{}, Changed, "[]"}, {`DEBUG ""`, Options{}, Kept, "[]"}, {`INFO ""`, Options{}, Changed, "[]"}, {`ROLE ""`, Options{}, Changed, "[]"}, {`flushall ""`, Options{}, Kept, "[]"}, {`SORT ""`, Options{}, Kept, "[]"},
		{`KEYS ""`, Options{}, Kept, "[keys]"}, {`FLUSHDB ""`, Options{}, Kept, "[flushdb]"}, {`SUBSCRIBE ""`, Options{}, Refused, "[]"},
		{`EVAL ""`, Options{}, Kept, "[]"}, {`EVAL ""`, Options{Uses: []string{"locks"}}, Refused, "[]"},
		{`EVALSHA ""`, Options{Allow: []string{"scripting"}}, Refused, "[]"}, {`FCALL ""`, Options{}, Kept, "[]"},
		{`GET ""`, Options{}, Refused, "[]"}, {`SCAN ""`, Options{}, Refused, "[]"}, {`NOSUCH ""`, Options{}, Refused, "[]"},
		{"CONFIG abc", Options{}, Changed, "[]"}, {"DEBUG abc", Options{}, Tightened, "[]"}, {"KEYS abc", Options{}, Refused, "[]"}, {"GET abc", Options{}, Refused, "[]"}, {"GET get", Options{}, Dropped, "[]"},
	} {
		srv, j := serverOf(t, c.o, "rename-command "+c.line)
		got := j.verdict("rename-command")
		for _, f := range j.findings { // one line may have several commands
			if f.Name == "rename-command" && f.Verdict == c.want {
				got = f.Verdict
			}
		}
		if got != c.want || fmt.Sprint(srv.policy.Deny) != c.denys {
			t.Errorf("rename-command %s, %+v: %s, deny %v; want %s, %s", c.line, c.o, got, srv.policy.Deny, c.want, c.denys)
		}
		for _, f := range j.findings {
			if strings.Contains(f.Was+f.Why, "abc") {
				t.Errorf("a hidden name is told: %+v", f)
			}
		}
	}
}

func TestTheDefaultUsersPasswordsStayGood(t *testing.T) {
	of := func(list ...string) (digests []passwords.Digest) {
		for _, p := range list {
			digests = append(digests, passwords.Of([]byte(p)))
		}
		return digests
	}
	hash := of("hashed")[0].String()
	const all = " on ~* &* +@all"
	for _, c := range []struct {
		lines string
		app   string
		good  []passwords.Digest
		want  Verdict // of the user's line
		deny  string
	}{
		{"requirepass a", "a", of("a"), "", "[]"},
		{"requirepass a\nrequirepass b", "b", of("b"), "", "[]"},
		{`requirepass ""`, "", nil, "", "[]"},
		{"", "", nil, "", "[]"},
		{"user default" + all + " >one >two #" + hash, "two", of("one", "two", "hashed"), Kept, "[]"},
		{"requirepass a\nuser default" + all + " >b", "b", of("b"), Kept, "[]"},
		{"user default" + all + " >a <a >b", "b", of("b"), Kept, "[]"},
		{"user default" + all + " >a !" + of("a")[0].String(), "", nil, Kept, "[]"},
		{"user default" + all + " >a nopass", "", nil, Kept, "[]"},
		{"user default" + all + " >a resetpass >b", "b", of("b"), Kept, "[]"},
		{"user default on allkeys allcommands >a", "a", of("a"), Kept, "[pubsub]"}, // no channels
		{"user default" + all + " -@dangerous -@admin -keys >a", "a", of("a"), Kept, "[keys flushdb]"},
		{"user default" + all + " -@all +@all >a", "a", of("a"), Kept, "[]"},
		{"user default on allchannels allkeys -@all +@all -flushall -config|set >a", "a", of("a"), Kept, "[]"},
		{"acl-pubsub-default allchannels\nuser default on ~* +@all >a", "a", of("a"), Kept, "[]"},
		{"user default" + all + " -subscribe -psubscribe -publish >a", "a", of("a"), Kept, "[pubsub]"},
		{"user default" + all + " -@pubsub >a", "a", of("a"), Kept, "[pubsub]"},
		{"user default" + all + " -get >a", "a", of("a"), Refused, "[]"},
		{"user default" + all + " -get +get >a", "a", of("a"), Kept, "[]"},
		{"user default on ~cached:* &* +@all >a", "a", of("a"), Refused, "[]"},
		{"user default on ~* &* +@read >a", "a", of("a"), Refused, "[flushdb pubsub]"},
		{"user default ~* &* +@all >a", "a", of("a"), Refused, "[]"}, // off
		{"user default" + all + " (~b +get) >a", "a", of("a"), Refused, "[]"},
	} {
		srv, j := serverOf(t, Options{}, c.lines)
		got := Verdict("") // a refusal, or else that of the line itself
		for _, f := range j.findings {
			if f.Name == "user" && (got == "" || f.Verdict == Refused) {
				got = f.Verdict
			}
		}
		if srv.password.app != c.app || !slices.Equal(srv.password.digests, c.good) || got != c.want || fmt.Sprint(srv.policy.Deny) != c.deny {
			t.Errorf("%s:\n%q, %d digests, %s, deny %v; want %q, %d, %s, %s", c.lines, srv.password.app, len(srv.password.digests), got, srv.policy.Deny,
				c.app, len(c.good), c.want, c.deny)
		}
	}
	// A password whose > was forgotten is not told.
	_, j := serverOf(t, Options{}, "user default"+all+" Xq7secretZ")
	if text := fmt.Sprint(j.findings); strings.Contains(text, "Xq7") {
		t.Error(text)
	}
}

func TestAnAclfileHasNoQuotes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "users.acl", "user default  on ~* &* +@all >\"a\n\nuser alice on >x ~* +@all\n")
	path := write(t, dir, "redis.conf", "requirepass ignored\naclfile users.acl\n")
	j := &journal{}
	srv, err := j.readServer(Options{Redis: path})
	if err != nil || srv.password.app != `"a` || j.verdict("requirepass") == Kept {
		t.Fatalf("%v, %+v", err, srv)
	}
	last := j.findings[len(j.findings)-1]
	if i := slices.IndexFunc(j.findings, func(f Finding) bool { return f.Was == "alice" }); i < 0 || j.findings[i].Line != 3 {
		t.Errorf("%+v", last)
	}
}

// TestWhoLogsInByNameHasAWayOut: it is named, and goes.
func TestWhoLogsInByNameHasAWayOut(t *testing.T) {
	const lines = "user default off\nuser app on >a-long-password-of-the-application ~* &* +@all -@dangerous\nuser old off\n"
	_, j := serverOf(t, Options{}, lines)
	told := fmt.Sprint(j.findings)
	if !strings.Contains(told, "--user app") || strings.Contains(told, "--user old") || strings.Contains(told, "no password") {
		t.Errorf("no way out, or a wrong one: %s", told)
	}
	srv, j := serverOf(t, Options{User: "app"}, lines)
	for _, f := range j.findings {
		if f.Verdict == Refused || f.Verdict == Unknown {
			t.Errorf("%+v", f)
		}
	}
	if srv.password.app != "a-long-password-of-the-application" || fmt.Sprint(srv.policy.Deny) != "[keys flushdb]" || !strings.Contains(fmt.Sprint(j.findings), "Take the name out") {
		t.Errorf("%+v %+v", srv, j.findings)
	}
	for _, c := range []struct{ lines, user, want string }{
		{"requirepass p\n" + lines[len("user default off\n"):], "app", "with all rights: it ends"},
		{lines[len("user default off\n"):], "app", "needed no password"},
		{"user default on >p ~* &* +@all\n" + lines[len("user default off\n"):], "app", "that ends, and only app's"},
		{lines, "old", "is off"},
		{"user app off", "", ""},
		{"user default on nopass ~* &* +@all", "", "There was no password"},
		{"user default off", "", "No user of these files is on"},
	} {
		_, j := serverOf(t, Options{User: c.user}, c.lines)
		if !strings.Contains(fmt.Sprint(j.findings), c.want) {
			t.Errorf("%s, --user %s: nothing says %q: %+v", c.lines, c.user, c.want, j.findings)
		}
	}
	o := Options{Redis: write(t, t.TempDir(), "redis.conf", lines), User: "nobody"}
	if _, err := new(journal).readServer(o); err == nil || !strings.Contains(err.Error(), "no such user") {
		t.Error(err)
	}
}
