package engine

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// changing is passwords that a test changes while the engine runs.
type changing struct {
	now atomic.Pointer[[]passwords.Digest]
}

func (c *changing) set(words ...string) {
	digests := good(words...)()
	c.now.Store(&digests)
}

func (c *changing) good() []passwords.Digest { return *c.now.Load() }

// rotating is an engine whose passwords a test changes.
func rotating(t *testing.T, words ...string) (*running, *changing) {
	c := &changing{}
	c.set(words...)
	return start(t, Options{Passwords: c.good}), c
}

// soon is how long the engine may take to follow, with a look each second, on a machine
// that does nothing else.
const soon = 5 * time.Second

// takes says whether the engine takes a password now, as the default user and,
// which must be the same, as the password's own.
func takes(r *running, word string) bool {
	r.t.Helper()
	one, twin := r.raw(), r.raw()
	defer one.conn.Close()
	defer twin.conn.Close()
	return one.do("AUTH", word) == "OK" && twin.do("AUTH", passwords.Of([]byte(word)).User(), word) == "OK"
}

// as is a connection as a password's own user.
func as(r *running, word string) *client {
	r.t.Helper()
	c := r.raw()
	if got := c.do("AUTH", passwords.Of([]byte(word)).User(), word); got != "OK" {
		r.t.Fatalf("AUTH: %v", got)
	}
	return c
}

// ends waits for a connection's end, and gives how long it took.
func (c *client) ends() time.Duration {
	c.t.Helper()
	begun := time.Now()
	if got := c.reply(); got != io.EOF {
		c.t.Errorf("a connection that must end got %v", got)
	}
	return time.Since(begun)
}

func TestAPasswordComesAndGoesWithoutARestart(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, password)
	pid := r.PID()
	r.app().do("SET", "k", "kept")
	bound := lab.Promised(t, soon)
	words.set(password, "the next one")
	begun := time.Now()
	waitFor(t, "the next password is taken", func() bool { return takes(r, "the next one") })
	if took, most := time.Since(begun), bound(); took > most {
		t.Errorf("the next password was taken after %s, more than %s", took, most)
	}
	if !takes(r, password) {
		t.Error("the old password is refused within the overlap")
	}
	words.set("the next one")
	begun = time.Now()
	waitFor(t, "the old password is refused", func() bool { return !takes(r, password) })
	if took, most := time.Since(begun), bound(); took > most {
		t.Errorf("the old password was refused after %s, more than %s", took, most)
	}
	if got := as(r, "the next one").do("GET", "k"); got != "kept" || r.PID() != pid {
		t.Errorf("the cache has %v, it is another: %t", got, r.PID() != pid)
	}
	for _, secret := range []string{password, "the next one", digest(password), r.secret.acl} {
		if strings.Contains(r.log.String(), secret) {
			t.Error("the log has a secret")
		}
	}
}

// TestWithAPasswordItsConnectionsEnd: those of its own user at once, others that
// are older than the end (they may have come with it) a little later; whoever
// came with another password, as its own user, is not touched.
func TestWithAPasswordItsConnectionsEnd(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, password, "the next one")
	next := as(r, "the next one")
	waiting := as(r, "the next one")
	waiting.send(string(appendCommand(nil, "BLPOP", "jobs", "0")))
	old, blocked, subscribed := as(r, password), as(r, password), as(r, password)
	subscribed.do("SUBSCRIBE", "news")
	blocked.send(string(appendCommand(nil, "BLPOP", "nothing", "0")))
	direct := r.app()
	// A name can't pass for another user, nor hide the user behind its length.
	if got := direct.do("CLIENT", "SETNAME", "user="+supervisor+strings.Repeat("x", 100_000)); got != "OK" {
		t.Fatal(got)
	}
	if got, ok := direct.do("CLIENT", "SETNAME", "x user="+supervisor).(refusal); !ok {
		t.Errorf("a name with a space: %v", got)
	}

	bound := lab.Promised(t, soon)
	words.set("the next one")
	for _, c := range []*client{old, blocked, subscribed} {
		if took, most := c.ends(), bound(); took > most {
			t.Errorf("a connection of the old password ended after %s, more than %s", took, most)
		}
	}
	if took, most := direct.ends(), cutPause+bound(); took > most {
		t.Errorf("a connection of the default user ended after %s, more than %s", took, most)
	}
	if got := next.do("PING"); got != "PONG" {
		t.Errorf("a connection of the new password: %v", got)
	}
	next.do("RPUSH", "jobs", "one")
	if got := fmt.Sprint(waiting.reply()); got != "[jobs one]" {
		t.Errorf("one that waits, of the new password: %v", got)
	}
	// Valkey ends them before it answers that it does.
	waitFor(t, "the log to tell of those that were ended", func() bool {
		return strings.Contains(r.log.String(), "may have come with a password that has ended")
	})
}

// TestWhoCameAfterAPasswordsEndStays: the later cut is not for who has proved
// another password since.
func TestWhoCameAfterAPasswordsEndStays(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, password, "the next one")
	before := r.app()
	words.set("the next one")
	waitFor(t, "the old password's end", func() bool { return strings.Contains(r.log.String(), "passwords have changed") })
	after := r.raw()
	after.do("AUTH", "the next one")
	before.ends()
	if got := after.do("PING"); got != "PONG" {
		t.Errorf("who came with the new password after the old one's end: %v", got)
	}
}

func TestAnEngineThatStartsAnewHasTheCurrentPasswords(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, password)
	words.set(password, "the next one")
	waitFor(t, "the next password is taken", func() bool { return takes(r, "the next one") })
	again := func() {
		pid := r.PID()
		send(t, pid, syscall.SIGKILL)
		waitFor(t, "another engine", func() bool { p := r.PID(); return p != 0 && p != pid })
		waitFor(t, "it answers", func() bool { return dials(r) }) // its socket is there a little later
	}
	again()
	if !takes(r, password) || !takes(r, "the next one") {
		t.Error("after a restart within the overlap a password is refused")
	}
	words.set("the next one") // while it is away, for all it knows
	again()
	if takes(r, password) || !takes(r, "the next one") {
		t.Error("after a restart behind the overlap the old password is taken, or the new one is not")
	}
}

// TestNoRequestFailsWhileThePasswordIsChanged: workers, each with a password
// that is good, over the whole of two rotations.
func TestNoRequestFailsWhileThePasswordIsChanged(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, "one")
	var current atomic.Pointer[string]
	use := func(word string) { current.Store(&word) }
	use("one")
	ctx, stop := context.WithCancel(t.Context())
	var failed, done atomic.Int64
	var workers sync.WaitGroup
	var inUse [8]atomic.Pointer[string] // each worker's
	for i := range inUse {
		workers.Go(func() {
			for ctx.Err() == nil {
				word := *current.Load()
				conn, err := r.Dial(context.Background())
				if err != nil {
					failed.Add(1)
					continue
				}
				c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
				ok := c.do("AUTH", passwords.Of([]byte(word)).User(), word) == "OK"
				inUse[i].Store(&word)
				for ok && ctx.Err() == nil && word == *current.Load() { // as an application that reads its file anew
					ok = c.do("INCR", "n") != io.EOF
					done.Add(1)
				}
				if !ok {
					failed.Add(1)
				}
				conn.Close()
			}
		})
	}
	for i, next := range []string{"two", "three"} {
		old := *current.Load()
		words.set(old, next)
		waitFor(t, "the next password is taken", func() bool { return takes(r, next) })
		use(next)
		waitFor(t, "every worker has moved over", func() bool { // or it is cut
			for i := range inUse {
				if word := inUse[i].Load(); word == nil || *word != next {
					return false
				}
			}
			return true
		})
		before := done.Load()
		waitFor(t, "they have worked on", func() bool { return done.Load() > before+1000 })
		words.set(next)
		waitFor(t, "the old password is refused", func() bool { return !takes(r, old) })
		waitFor(t, "the log tells of it", func() bool { return strings.Count(r.log.String(), "passwords have changed") == 2*i+2 })
	}
	direct := r.raw() // the late cut is over when a connection from before an end is
	direct.do("AUTH", "three")
	words.set("three", "four")
	waitFor(t, "a fourth is taken", func() bool { return takes(r, "four") })
	words.set("three")
	direct.ends()
	stop()
	workers.Wait()
	if failed.Load() > 0 || done.Load() < 1000 {
		t.Errorf("%d of %d requests failed", failed.Load(), done.Load())
	}
}

// TestNobodyButUsChangesUsers: as the default user and as a password's own, and
// by the secret name.
func TestNobodyButUsChangesUsers(t *testing.T) {
	t.Parallel()
	r, _ := rotating(t, password)
	for name, c := range map[string]*client{"default": r.app(), "the password's own": as(r, password)} {
		for _, acl := range []string{"ACL", r.secret.acl} {
			for _, attempt := range []string{
				"SETUSER default nopass", "SETUSER default +@all", "SETUSER intruder on nopass +@all ~*", "DELUSER redoubt",
				"SETUSER " + passwords.Of([]byte(password)).User() + " +@all", "LIST", "GETUSER default", "WHOAMI", "SAVE", "LOAD",
			} {
				got, ok := c.do(append([]string{acl}, strings.Fields(attempt)...)...).(refusal)
				if !ok || !strings.HasPrefix(string(got), "NOPERM") && !strings.HasPrefix(string(got), "ERR unknown command") {
					t.Errorf("%s: ACL %s: %v", name, attempt, got)
				}
			}
		}
		for _, attempt := range []string{"CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT KILL USER redoubt", "CLIENT PAUSE 1000"} {
			if got, ok := c.do(strings.Fields(attempt)...).(refusal); !ok || !strings.HasPrefix(string(got), "NOPERM") {
				t.Errorf("%s: %s: %v", name, attempt, got)
			}
		}
	}
}

// TestAnEngineThatRefusesAChangeIsReplaced: it would go on with a password that
// has ended.
func TestAnEngineThatRefusesAChangeIsReplaced(t *testing.T) {
	t.Parallel()
	words := &changing{}
	words.set(password)
	var deprived atomic.Bool
	r := start(t, Options{Passwords: words.good}, func(r *running) {
		render := r.configuration
		r.configuration = func(s secrets, good []passwords.Digest) string {
			text := render(s, good)
			if deprived.CompareAndSwap(false, true) { // the first start only
				text = strings.ReplaceAll(text, " +acl|setuser", "")
			}
			return text
		}
	})
	pid := r.PID()
	words.set("the next one")
	waitFor(t, "another engine that takes the new password only", func() bool {
		p := r.PID()
		return p != 0 && p != pid && dials(r) && takes(r, "the next one") && !takes(r, password)
	})
	if !strings.Contains(r.log.String(), "can't be supervised") || !strings.Contains(r.log.String(), "NOPERM") {
		t.Error("the log does not say why")
	}
}

func dials(r *running) bool {
	conn, err := r.Dial(context.Background())
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// FuzzReadConnections: whatever the engine lists, nothing is believed of a line
// that is not whole, and the supervisor is never taken for the default user.
func FuzzReadConnections(f *testing.F) {
	f.Add([]byte("id=3 addr=s:0 laddr=s:0 fd=7 name= age=5 idle=0 flags=U db=0 cmd=auth user=default redir=-1 resp=2\n"))
	f.Add([]byte("id=4 name=user=redoubt age=1 user=default\nid=9 name=" + strings.Repeat("y", 5000) + " age=3 user=redoubt\n"))
	f.Add([]byte("id=99999999999999999999 age=-1 user=\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 0
		err := readConnections(bytes.NewReader(text), func(c connection) {
			lines++
			if len(c.user) >= maxField {
				t.Errorf("a user of %d bytes", len(c.user))
			}
		})
		if err != nil || lines != bytes.Count(text, []byte("\n")) {
			t.Errorf("%d lines, %v", lines, err)
		}
	})
}
