package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

func TestEngineRunsAsNobodyElseWithItsSocketAlone(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	if got := files(t, r.dir); len(got) != 1 || got[0] != socketName {
		t.Errorf("the run directory holds %v, want the socket alone", got)
	}
	info, err := os.Stat(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != 0o700 || int(owner.Uid) != r.id.uid || owner.Uid == 0 {
		t.Errorf("the run directory is %v of uid %d, want 0700 of the engine's %d", info.Mode(), owner.Uid, r.id.uid)
	}
	if !strings.Contains(readProc(t, r.PID(), "status"), fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", r.id.uid)) {
		t.Errorf("the engine does not run as %d:\n%s", r.id.uid, readProc(t, r.PID(), "status"))
	}
	if got := readProc(t, r.PID(), "cmdline"); got != r.Version().Product+"-server\x00-\x00" {
		t.Errorf("the engine's arguments are %q", got)
	}
	if got := readProc(t, r.PID(), "limits"); !strings.Contains(got, "\nMax core file size        1                    1 ") {
		t.Errorf("the engine may dump core:\n%s", got)
	}
}

func TestTheEngineRunsWithWhatWeRendered(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: policies[2].policy})
	own := r.own()
	for directive, want := range map[string]string{
		"port": "0", "save": "", "appendonly": "no", "logfile": "", "loglevel": "notice", "maxmemory": "67108864",
		"maxmemory-policy": "allkeys-lru", "maxmemory-clients": "0", "maxclients": "1000", "proto-max-bulk-len": "16777216",
		"client-query-buffer-limit": "33554432", "enable-debug-command": "no", "enable-module-command": "no",
		"enable-protected-configs": "no", "notify-keyspace-events": "", "crash-log-enabled": "no", "slowlog-max-len": "0",
		"client-output-buffer-limit": "normal 67108864 33554432 60 slave 67108864 33554432 60 pubsub 33554432 8388608 60",
	} {
		got, _ := own.do(r.secret.config, "GET", directive).([]any)
		if len(got) != 2 || got[1] != want {
			t.Errorf("%s is %v, want %q", directive, got, want)
		}
	}
	users, _ := own.do(r.secret.acl, "LIST").([]any) // its rules come in no fixed order
	if len(users) != 3 {
		t.Fatalf("there are %d users, want the application's two and ours: %v", len(users), users)
	}
	for _, u := range users {
		line := u.(string)
		name := strings.Fields(line)[1]
		if (name != defaultUser && name != supervisor && name != passwords.Of([]byte(password)).User()) || strings.Contains(line, "nopass") || strings.Contains(line, password) {
			t.Errorf("user %s: %s", name, line)
		}
	}
}

func TestASizeOverTheLimitIsRefusedAndNotPrinted(t *testing.T) {
	t.Parallel()
	var really logBuffer
	r := start(t, Options{Policy: policies[2].policy}, tapped(&really))
	c := r.app()
	c.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16777217\r\n" + mark)
	if got, ok := c.reply().(refusal); !ok || !strings.HasPrefix(string(got), "ERR Protocol error") {
		t.Errorf("a value over the limit: %v", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(really.String(), mark) {
		t.Error("the engine printed the value's first bytes")
	}
}

func TestStopIsInOrderAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	pid, blocked := r.PID(), r.app()
	blocked.send("BLPOP nothing 0\r\n")
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(begun); took >= stopPatience {
		t.Errorf("the stop took %s: SIGTERM alone did not do", took)
	}
	if got := blocked.reply(); got == "OK" {
		t.Errorf("a blocked client got %v", got)
	}
	if alive(pid) || r.PID() != 0 {
		t.Error("the engine still runs")
	}
	if _, err := os.Stat(r.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run directory is still there: %v", err)
	}
	if _, err := r.Dial(t.Context()); err == nil {
		t.Error("Dial gives a connection to an engine that has stopped")
	}
	if strings.Contains(r.log.String(), "level=ERROR") {
		t.Error("an orderly stop logs an error")
	}
}

func TestAHangingEngineIsNoticedAndReplaced(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	pid := r.PID()
	send(t, pid, syscall.SIGSTOP)
	waitFor(t, "another engine that answers", func() bool {
		p := r.PID()
		return p != 0 && p != pid && answers(r)
	})
	if alive(pid) {
		t.Error("the hanging engine is still there")
	}
	if !strings.Contains(r.log.String(), "no answer within 5s") {
		t.Error("our log does not say why")
	}
}

func TestAHangingEngineDoesNotHoldUpTheStop(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	pid := r.PID()
	send(t, pid, syscall.SIGSTOP)
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if alive(pid) {
		t.Error("the engine still runs")
	}
}

// send signals the engine; 0 would be our own process group.
func send(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("the engine does not run: process %d", pid)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatal(err)
	}
}

// answers tells whether the engine takes the application's password by now.
func answers(r *running) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := r.Dial(ctx)
	if err != nil {
		return false
	}
	defer conn.Close()
	c := &client{t: r.t, conn: conn, r: bufio.NewReader(conn)}
	return c.do("AUTH", password) == "OK"
}

func TestAKilledEngineIsReplacedByAnEmptyOne(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.app().do("SET", "k", mark)
	for range 3 { // three deaths in a row: each leaves a socket behind
		pid, secret := r.PID(), r.secret
		send(t, pid, syscall.SIGKILL)
		waitFor(t, "another engine that answers", func() bool {
			p := r.PID()
			return p != 0 && p != pid && answers(r)
		})
		r.mu.Lock()
		if r.secret.config == secret.config || r.secret.password == secret.password {
			t.Error("the secrets of a start are used again")
		}
		r.mu.Unlock()
	}
	if got := r.app().do("DBSIZE"); got != "0" {
		t.Errorf("the new engine holds %v keys", got)
	}
	if !strings.Contains(r.log.String(), "died of SIGKILL") {
		t.Error("our log does not name the signal")
	}
	searchFor(t, r, mark)
}

func TestALongScriptDoesNotCostTheCache(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: Policy{Allow: []string{"scripting"}}})
	pid, c := r.PID(), r.app()
	// Longer than pingPatience: the engine says BUSY meanwhile, and lives.
	got := c.do("EVAL", "local s = redis.call('TIME')[1] repeat until redis.call('TIME')[1] - s > 7 return 'done'", "0")
	if got != "done" || r.PID() != pid {
		t.Errorf("a script of 7 s ended with %v, the engine is another: %t", got, r.PID() != pid)
	}
}

// Here time is synctest's, and the engine's end of the connection is a pipe
// that says what a busy one says.
func TestAScriptWithoutEndIsEnded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply func(n int) string
		lives bool // beyond busyPatience
	}{
		{"busy without end", func(int) string { return "-BUSY Redis is busy running a script.\r\n" }, false},
		{"busy now and then", func(n int) string {
			if n%20 == 0 {
				return "+PONG\r\n"
			}
			return "-BUSY Redis is busy running a script.\r\n"
		}, true},
		{"another error", func(int) string { return "-NOPERM " + mark + "\r\n" }, false},
		{"silence", func(int) string { return "" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() {
					r := bufio.NewReader(theirs)
					for n := 1; ; n++ {
						for range 3 { // *1, $4, PING
							if _, err := r.ReadString('\n'); err != nil {
								return
							}
						}
						if _, err := theirs.Write([]byte(tt.reply(n))); err != nil {
							return
						}
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), 10*busyPatience)
				defer cancel()
				begun := time.Now()
				err := watch(ctx, &process{done: make(chan struct{})}, &control{conn: ours, r: bufio.NewReader(ours)}, duties{tend: func(context.Context) error { return nil }})
				took := time.Since(begun)
				if lived := errors.Is(err, context.DeadlineExceeded); lived != tt.lives || (!lived && took > busyPatience+3*pingInterval) {
					t.Errorf("after %s: %v", took, err)
				}
				if strings.Contains(err.Error(), mark) {
					t.Errorf("the error repeats the reply: %v", err)
				}
				ours.Close()
				theirs.Close()
			})
		})
	}
}

func TestRestartsAreSpacedOut(t *testing.T) {
	var b backoff
	last := time.Duration(0)
	for i := range 20 {
		full := min(firstDelay<<i, mostDelay)
		if i >= 10 {
			full = mostDelay
		}
		last = b.next(time.Second)
		if last < full/2 || last > full {
			t.Errorf("delay %d is %s, want between %s and %s", i, last, full/2, full)
		}
	}
	if got := b.next(goodLife); got > firstDelay {
		t.Errorf("after a good life the delay is %s, want the first again", got)
	}
}

// parentEnv tells the test binary to be a supervisor that gets killed.
const parentEnv = "REDOUBT_ENGINE_TEST_PARENT"

// beParent runs an engine, prints its process id, and waits for its own end.
func beParent() error {
	e, err := New(Options{Passwords: good(password), RunDir: os.Getenv(parentEnv)})
	if err != nil {
		return err
	}
	return e.Run(context.Background(), func() { os.Stdout.WriteString(strconv.Itoa(e.PID()) + "\n") })
}

func TestTheEngineDiesWithItsParent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "run")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), parentEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("engine %q: %v", line, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	waitFor(t, "the end of the engine", func() bool { return !alive(pid) })

	// What the dead left is no obstacle: the next one starts in its place.
	r := start(t, Options{RunDir: dir})
	if !answers(r) {
		t.Error("the next engine does not answer")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("a directory that was there before holds %v afterwards", got)
	}
}

func TestManyStartsHoldNoThreadAndNoFile(t *testing.T) {
	r := start(t, Options{})
	count := func() int { return len(files(t, "/proc/self/fd")) }
	before := 0
	for i := range 6 {
		pid := r.PID()
		send(t, pid, syscall.SIGKILL)
		waitFor(t, "another engine that answers", func() bool { p := r.PID(); return p != 0 && p != pid && answers(r) })
		if i == 1 {
			before = count()
		}
	}
	if after := count(); after > before+3 {
		t.Errorf("%d files open after two restarts, %d after six", before, after)
	}
}

func TestRunDirectoriesThatAreNotOursAreRefused(t *testing.T) {
	t.Parallel()
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "dump.rdb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.Chown(foreign, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	busy := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(busy, socketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for dir, want := range map[string]string{
		occupied: "is not empty", foreign: "belongs to user 12345", link: "", busy: "another engine listens",
		filepath.Join(occupied, "dump.rdb"):                    "not a directory",
		"/nowhere/at/all":                                      "no such file",
		filepath.Join(t.TempDir(), strings.Repeat("long", 30)): "too long for a unix socket",
	} {
		e, err := New(Options{Passwords: good(password), RunDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err = e.Run(ctx, func() { t.Errorf("%s: the engine runs there", dir); cancel() })
		cancel()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", dir, err, want)
		}
	}
	if got := files(t, occupied); !slices.Equal(got, []string{"dump.rdb"}) {
		t.Errorf("a refused directory holds %v afterwards", got)
	}
}

// A directory that only root can walk to is fine: everything is relative to it.
func TestTheEngineNeedNotReachItsDirectoryByPath(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, Options{RunDir: filepath.Join(closed, "run")})
	if !answers(r) {
		t.Error("the engine does not answer")
	}
}

func TestTheEngineIsNeverRoot(t *testing.T) {
	for _, name := range []string{"root", "0"} {
		if _, err := New(Options{Passwords: good(password), User: name}); err == nil || !strings.Contains(err.Error(), "must not run as root") {
			t.Errorf("user %s: error %v", name, err)
		}
	}
	_, err := New(Options{Passwords: good(password), User: "no-such-user"})
	if !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), `"no-such-user"`) {
		t.Errorf("a user that does not exist: error %v", err)
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nobody", nobody.Uid} {
		r := start(t, Options{User: name})
		if strconv.Itoa(r.id.uid) != nobody.Uid || !answers(r) {
			t.Errorf("user %s: the engine runs as %d", name, r.id.uid)
		}
	}
}

func TestAnEngineThatRefusesItsConfigurationSaysWhere(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Passwords: good(password)})
	if err != nil {
		t.Fatal(err)
	}
	e.configuration = func(secrets, []passwords.Digest) string { return "port 0\n" + mark + " yes\n" }
	err = e.Run(t.Context(), func() { t.Error("it runs") })
	want := "refuses its configuration (line 2 "
	if v := e.Version(); v.Product == productRedis && v.Major >= 8 {
		want = "does not know a directive of its configuration" // it numbers no line
	}
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), mark) {
		t.Errorf("error %v, want one with %q and not the line itself", err, want)
	}
}

func TestASandboxThatFailsIsTheEnvironmentsFault(t *testing.T) {
	t.Parallel()
	e, err := New(Options{Passwords: good(password)})
	if err != nil {
		t.Fatal(err)
	}
	e.path = "/nowhere/redis-server"
	err = e.Run(t.Context(), func() { t.Error("it runs") })
	if !errors.Is(err, ErrEnvironment) || !strings.Contains(err.Error(), "sandbox") {
		t.Errorf("error %v, want the environment's with the sandbox's own words", err)
	}
}
