//go:build slow

package libraries_test

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// What becomes of applications when something fails. Each library holds a connection in
// a state, as a process of its own (LANGUAGE/comeback.*), beside a plain engine and
// beside Redoubt. Then the engine is killed, or the cache away, or silent. The program
// goes on as applications do: it tries again, and does nothing about connections. It
// gets REDIS_URL and a KEY, and writes a line for each thing that it has done: "ok", or
// "err CLASS: TEXT". What it does when a line comes on its standard input:
//
//	command      SET and GET: idle is asked when the cache is back, busy always
//	transaction  WATCH and GET ("watched"); at the next line MULTI, SET, EXEC
//	worker       puts a job into the queue, whose worker it is as well
//
// In states blocked (BLPOP) and subscribed nothing is asked: keys and messages come.

// A fault is what is done to a cache, and for how long.
type fault struct {
	name     string
	down, up func(cache)
	lasts    time.Duration
}

func faults() []fault {
	return []fault{
		{"engine killed", cache.kill, func(cache) {}, 0},
		{"restarted", cache.stop, cache.start, 0},
		{"away 3 s", cache.stop, cache.start, 3 * time.Second},
		{fmt.Sprintf("away %.0f s", away.Seconds()), cache.stop, cache.start, *away},
		{"silent 15 s", cache.freeze, cache.thaw, 15 * time.Second},
	}
}

var (
	only = flag.String("only", "", "the libraries to look at; all")
	away = flag.Duration("away", 20*time.Second, "how long the cache is away at most")
)

const (
	tick = 100 * time.Millisecond
	// patience is how long after the cache an application may come back.
	patience = 30 * time.Second
	// steady is how long it must be without an error then.
	steady = 2 * time.Second
)

// A stage is a cache with all players.
type stage struct {
	t       *testing.T
	cache   cache
	poses   []pose
	players []*player

	mu  sync.Mutex
	fed bool
}

// suffer does a fault to the cache and says what became of each pose.
func (s *stage) suffer(f fault) []fate {
	for i, y := range s.players {
		if y == nil {
			s.players[i] = s.poses[i].play(s.t, s.cache.url())
		}
	}
	s.let(true)
	s.await(time.Minute, "well", (*player).well)
	s.let(false)
	s.await(10*time.Second, "in its state", (*player).poised)
	s.awaitStates()

	down := time.Now()
	for _, y := range s.players {
		y.let(y.state == "transaction")
	}
	f.down(s.cache)
	<-time.After(f.lasts)
	f.up(s.cache)
	back := s.awaitCache()
	s.t.Logf("%s: back after %s", f.name, back.Sub(down))
	s.let(true)
	s.settle(down, back)
	fates := make([]fate, len(s.players))
	for i, y := range s.players {
		fates[i] = y.fate(down, back)
		if fates[i].how != "" || y.over() {
			y.end()
			s.players[i] = nil
		}
	}
	return fates
}

// settle waits until all are back, or have had their time.
func (s *stage) settle(down, back time.Time) {
	for ; time.Since(back) < patience; <-time.After(tick) {
		if !slices.ContainsFunc(s.players, func(y *player) bool {
			f := y.fate(down, back)
			return !y.over() && (f.how != "" || time.Since(back) < f.back+steady)
		}) {
			return
		}
	}
}

// let lets all be asked, and fed with keys and messages.
func (s *stage) let(free bool) {
	s.mu.Lock()
	s.fed = free
	s.mu.Unlock()
	for _, y := range s.players {
		y.let(free)
	}
}

func (s *stage) await(within time.Duration, what string, holds func(*player) bool) {
	s.t.Helper()
	for end := time.Now().Add(within); ; <-time.After(tick) {
		i := slices.IndexFunc(s.players, func(y *player) bool { return !holds(y) })
		if i < 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s is not %s: %v", s.players[i], what, s.players[i].events)
		}
	}
}

// awaitStates waits until the engine knows of those that are blocked and subscribed.
func (s *stage) awaitStates() {
	address, password := s.cache.aside()
	c := lab.Connect(s.t, address, password)
	defer c.Conn.Close()
	s.await(10*time.Second, "where it should be", func(y *player) bool {
		return y.state != "subscribed" || strings.HasSuffix(c.Do("PUBSUB", "NUMSUB", y.key), ":1\r\n")
	})
	blocked := regexp.MustCompile(`blocked_clients:(\d+)`)
	want := 0
	for _, p := range s.poses {
		if p.state == "blocked" {
			want++
		}
	}
	s.await(10*time.Second, "the one that is missing among the blocked", func(*player) bool {
		n, _ := strconv.Atoi(blocked.FindStringSubmatch(c.Do("INFO", "clients"))[1])
		return n >= want
	})
}

// awaitCache waits until the cache answers.
func (s *stage) awaitCache() time.Time {
	for end := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if c := s.visit(); c != nil {
			c.Close()
			return time.Now()
		}
		if time.Now().After(end) {
			s.t.Fatal("the cache doesn't come back")
		}
	}
}

// visit opens a connection aside; nil: the cache is away.
func (s *stage) visit() net.Conn {
	address, password := s.cache.aside()
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return nil
	}
	if !say(conn, "AUTH", password) {
		conn.Close()
		return nil
	}
	return conn
}

// say sends a command and says whether it was taken; the answer must be short.
func say(conn net.Conn, args ...string) bool {
	conn.SetDeadline(time.Now().Add(time.Second))
	answer := make([]byte, 256)
	_, err := io.WriteString(conn, lab.Encode(args...))
	if err == nil {
		_, err = conn.Read(answer)
	}
	return err == nil && answer[0] != '-'
}

// feed gives keys and messages to those that wait for them, until the test ends.
func (s *stage) feed() {
	var conn net.Conn
	for pause := time.NewTicker(tick); ; {
		select {
		case <-pause.C:
		case <-s.t.Context().Done():
			return
		}
		s.mu.Lock()
		fed := s.fed
		s.mu.Unlock()
		if !fed {
			continue
		}
		if conn == nil {
			if conn = s.visit(); conn == nil {
				continue
			}
		}
		for _, p := range s.poses {
			good := true
			switch p.state {
			case "blocked":
				good = say(conn, "RPUSH", p.library+"-blocked", "v")
			case "subscribed":
				good = say(conn, "PUBLISH", p.library+"-subscribed", "v")
			}
			if !good {
				conn.Close()
				conn = nil
				break
			}
		}
	}
}

func poses(t *testing.T) []pose {
	t.Helper()
	golang, c := filepath.Join(t.TempDir(), "comeback"), filepath.Join(t.TempDir(), "hiredis")
	lab.Sure(t, exec.Command("go", "-C", "go", "build", "-mod=readonly", "-o", golang, "./comeback"))
	lab.Sure(t, exec.Command("gcc", "-o", c, "c/comeback.c", "-lhiredis"))
	argv := map[string][]string{
		"python": {"/usr/bin/python3", "-W", "ignore", "-B", "python/comeback.py"},
		"ruby":   {"ruby", "-W0", "ruby/comeback.rb"},
		"php":    {"php", "php/comeback.php"},
		"node":   {"node", "node/comeback.mjs"},
		"go":     {golang},
		"c":      {c},
	}
	var all []pose
	for _, l := range []struct{ library, language, states string }{
		{"redis-py", "python", "idle busy blocked subscribed transaction"},
		{"rq", "python", "worker"},
		{"celery", "python", "worker"},
		{"redis-rb", "ruby", "idle busy blocked subscribed transaction"},
		{"sidekiq", "ruby", "idle busy worker"},
		{"phpredis", "php", "idle busy blocked subscribed transaction"},
		{"predis", "php", "idle busy blocked subscribed transaction"},
		{"ioredis", "node", "idle busy blocked subscribed transaction"},
		{"node-redis", "node", "idle busy blocked subscribed transaction"},
		{"bullmq", "node", "worker"},
		{"go-redis", "go", "idle busy blocked subscribed transaction"},
		{"rueidis", "go", "idle busy blocked subscribed transaction"},
		{"redigo", "go", "idle busy blocked subscribed transaction"},
		{"asynq", "go", "worker"},
		{"hiredis", "c", "idle busy blocked subscribed transaction"},
	} {
		if *only != "" && !strings.Contains(*only, l.library) {
			continue
		}
		for state := range strings.FieldsSeq(l.states) {
			all = append(all, pose{l.library, state, argv[l.language]})
		}
	}
	return all
}

// givesUp are the libraries that may not come back, and why that is their own doing. That
// RQ's BLPOP ends without a word is held by TestALaneThatIsCutEndsItsGuest.
var givesUp = map[string]string{
	"phpredis": "a `Redis` object is given up for good once a connect has failed in the wrong moment, on plain Redis too: make a new one after a `RedisException`, as Laravel and Symfony do",
	"rq":       "its worker ends if the connection is lost while it does anything but wait for a job, on plain Redis too: let systemd start it again",
}

// TestLibrariesComeBack is the claim: whoever comes back by himself on plain Redis does
// so here. With -update the table in docs/clients.md is made anew.
func TestLibrariesComeBack(t *testing.T) {
	all := poses(t)
	lab.Redoubt(t) // built once, for both
	var plain, ours [][]fate
	t.Run("beside", func(t *testing.T) {
		run := func(name string, of func(*testing.T) cache, fates *[][]fate) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := &stage{t: t, cache: of(t), poses: all, players: make([]*player, len(all))}
				go s.feed()
				for _, f := range faults() {
					*fates = append(*fates, s.suffer(f))
				}
			})
		}
		run("plain Redis", func(t *testing.T) cache { return newBare(t) }, &plain)
		run("Redoubt", func(t *testing.T) cache { return newRedoubt(t) }, &ours)
	})
	if t.Failed() {
		return
	}
	for n, f := range faults() {
		for i, p := range all {
			t.Logf("%-14s %s\n   plain   %s\n   redoubt %s", f.name, p, plain[n][i], ours[n][i])
			_, excused := givesUp[p.library]
			if ours[n][i].how != "" && plain[n][i].how == "" && !excused {
				t.Errorf("%s, %s: comes back by itself on plain Redis; here: %s", p, f.name, ours[n][i])
			}
		}
	}
	if *update && !t.Failed() {
		writeTable(t, all, plain, ours)
	}
}
