//go:build linux

package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openDoors is a configuration that nobody should run: every command allowed,
// save points, debug, modules. What is refused then, the sandbox refuses.
// "ignore-warnings" keeps the arm64 start-up check from forking, and the memory
// check after a crash now and then crashes in turn, sandbox or not.
const openDoors = `port 0
unixsocket s
unixsocketperm 0
save 3600 1
stop-writes-on-bgsave-error no
dir .
io-threads 2
enable-debug-command yes
crash-memcheck-enabled no
enable-module-command yes
enable-protected-configs yes
ignore-warnings ARM64-COW-BUG
`

// redisSpec is the machine's own redis-server, by its real path and right name.
func redisSpec(t *testing.T, dir string) Spec {
	t.Helper()
	found, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("%v (apt-get install redis-server)", err)
	}
	path, err := filepath.EvalSymlinks(found)
	must(t, err)
	return Spec{Path: path, Args: []string{"redis-server", "-"}, Dir: dir, UID: -1, GID: -1}
}

// redis is a running engine, what it prints, and one connection to it.
type redis struct {
	cmd    *exec.Cmd
	output *bufio.Reader
	conn   net.Conn
	reply  *bufio.Reader
}

func startRedis(t *testing.T, cmd *exec.Cmd, dir string) redis {
	t.Helper()
	runtime.LockOSThread() // the parent-death signal hangs on it
	cmd.Stdin = strings.NewReader(openDoors)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := redis{cmd: cmd, output: bufio.NewReader(stdout)}
	r.await(t, "ready to accept connections")
	r.conn, err = net.Dial("unix", filepath.Join(dir, "s"))
	must(t, err)
	t.Cleanup(func() { _ = r.conn.Close() })
	r.reply = bufio.NewReader(r.conn)
	return r
}

// await reads the output up to a line with that text. Nobody reads in between:
// what the engine prints in these tests fits into the pipe.
func (r redis) await(t *testing.T, text string) {
	t.Helper()
	var said strings.Builder
	for !strings.Contains(said.String(), text) {
		line, err := r.output.ReadString('\n')
		said.WriteString(line)
		if err != nil {
			t.Fatalf("redis-server never said %q: %v\n%s", text, err, said.String())
		}
	}
}

// ask sends an inline command and returns the first line of the reply.
func (r redis) ask(t *testing.T, command string) string {
	t.Helper()
	_, err := fmt.Fprintf(r.conn, "%s\r\n", command)
	must(t, err)
	line, err := r.reply.ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line)
}

func TestRedisServesAsAUserOfItsOwn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir() // below a directory that the user can't enter
	must(t, os.Chown(dir, freeUID, freeUID))
	s := redisSpec(t, dir)
	s.UID, s.GID, s.Isolate = freeUID, freeUID, true
	cmd, err := Command(s)
	must(t, err)
	r := startRedis(t, cmd, dir)
	for _, c := range [][2]string{{"PING", "+PONG"}, {"SET k v", "+OK"}, {"GET k", "$1"}} {
		if got := r.ask(t, c[0]); got != c[1] {
			t.Errorf("%s: %q, want %q", c[0], got, c[1])
		}
	}
	found := status(t, r.cmd.Process.Pid)
	if found["Seccomp"] != "2" || found["CapBnd"] != "0000000000000000" {
		t.Errorf("the process is %v", found)
	}
}

func TestRedisServesWhenStartedByAnOrdinaryUser(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o711))
	must(t, os.Chown(dir, freeUID, freeUID))
	cmd, err := Command(redisSpec(t, dir))
	must(t, err)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: freeUID, Gid: freeUID} // the shim itself has no rights
	r := startRedis(t, cmd, dir)
	if got := r.ask(t, "PING"); got != "+PONG" {
		t.Errorf("PING: %q", got)
	}
	found := status(t, r.cmd.Process.Pid)
	if found["CapEff"] != "0000000000000000" || found["NoNewPrivs"] != "1" || found["Seccomp"] != "2" {
		t.Errorf("the process is %v", found)
	}
}

// attack is what the doors are open to, with a listener that waits for a
// replica or a key, and a module whose constructor betrays that it was mapped.
type attack struct {
	redis
	dir    string
	rogue  *net.TCPListener
	port   string
	module string
}

func newAttack(t *testing.T, cmd *exec.Cmd, dir string) attack {
	t.Helper()
	module := filepath.Join(dir, "module.so")
	build := exec.Command("gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", module, "testdata/module.c")
	build.Stderr = os.Stderr
	must(t, build.Run())
	rogue := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	_, port, err := net.SplitHostPort(rogue.Addr().String())
	must(t, err)
	return attack{startRedis(t, cmd, dir), dir, rogue, port, module}
}

// files lists the run directory without what the test itself put there.
func (a attack) files(t *testing.T) []string {
	t.Helper()
	must(t, os.Remove(a.module))
	return names(t, a.dir)
}

func TestEveryDoorIsOpenWithoutTheSandbox(t *testing.T) {
	dir := t.TempDir()
	s := redisSpec(t, dir)
	cmd := &exec.Cmd{Path: s.Path, Args: s.Args, Dir: dir}
	a := newAttack(t, cmd, dir)
	for _, c := range [][2]string{
		{"SET patient marked", "+OK"},
		{"SAVE", "+OK"},
		{"MODULE LOAD " + a.module, "-ERR"},
		{"REPLICAOF 127.0.0.1 " + a.port, "+OK"},
	} {
		if got := a.ask(t, c[0]); got != c[1] && !strings.HasPrefix(got, c[1]+" ") {
			t.Errorf("%s: %q, want %s", c[0], got, c[1])
		}
	}
	a.await(t, "the constructor ran")
	must(t, a.rogue.SetDeadline(time.Now().Add(time.Minute)))
	conn, err := a.rogue.Accept()
	must(t, err)
	must(t, conn.Close())
	if got := strings.Join(a.files(t), " "); got != "dump.rdb s" {
		t.Errorf("the run directory holds %q, want what SAVE makes", got)
	}
}

func TestRedisWithEveryDoorOpenWritesAndDialsNothing(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.Chown(dir, freeUID, freeUID))
	s := redisSpec(t, dir)
	s.UID, s.GID = freeUID, freeUID // not isolated: the network is there to be refused
	cmd, err := Command(s)
	must(t, err)
	a := newAttack(t, cmd, dir)
	for _, c := range [][2]string{
		{"SET patient marked", "+OK"},
		{"SAVE", "-ERR"},
		{"BGSAVE", "-ERR"},
		{"BGREWRITEAOF", "-ERR"},
		{"CONFIG SET appendonly yes", "-ERR"},
		{"CONFIG REWRITE", "-ERR"},
		{"CONFIG SET port " + a.port, "-ERR"},
		{"ACL SAVE", "-ERR"},
		{"DEBUG RELOAD", "-ERR"},
		{"MODULE LOAD " + a.module, "-ERR"},
		{"MIGRATE 127.0.0.1 " + a.port + " patient 0 100", "-IOERR"},
		{"SHUTDOWN SAVE", "-ERR"},
		{"REPLICAOF 127.0.0.1 " + a.port, "+OK"}, // so it says, and never gets there
		{"PING", "+PONG"},
	} {
		if got := a.ask(t, c[0]); !strings.HasPrefix(got, c[1]) {
			t.Errorf("%s: %q, want %s", c[0], got, c[1])
		}
	}
	a.await(t, "Unable to connect to MASTER")
	// A connection would stand in the listener's queue by now.
	must(t, a.rogue.SetDeadline(time.Now().Add(50*time.Millisecond)))
	if conn, err := a.rogue.Accept(); err == nil {
		t.Errorf("%s came to the rogue listener", conn.RemoteAddr())
	}
	must(t, a.cmd.Process.Kill())
	rest, err := io.ReadAll(a.output)
	must(t, err)
	if bytes.Contains(rest, []byte("the constructor ran")) {
		t.Error("the module was mapped: its constructor ran")
	}
	if got := strings.Join(a.files(t), " "); got != "s" {
		t.Errorf("the run directory holds %q, want the socket alone", got)
	}
}

func TestRedisThatCrashesLeavesOnlyItsSocket(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	must(t, os.Chown(dir, freeUID, freeUID))
	s := redisSpec(t, dir)
	s.UID, s.GID, s.Isolate = freeUID, freeUID, true
	cmd, err := Command(s)
	must(t, err)
	r := startRedis(t, cmd, dir)
	if got := r.ask(t, "SET patient marked"); got != "+OK" {
		t.Fatalf("SET: %q", got)
	}
	_, err = fmt.Fprint(r.conn, "DEBUG SEGFAULT\r\n")
	must(t, err)
	r.await(t, "REDIS BUG REPORT END")   // the filter leaves it what it needs for that
	_, _ = io.Copy(io.Discard, r.output) // until it is gone
	_ = r.cmd.Wait()
	ended := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ended.Signal() != unix.SIGSEGV || ended.CoreDump() {
		t.Errorf("ended with %v, core dump %v; want SIGSEGV and none", r.cmd.ProcessState, ended.CoreDump())
	}
	if got := strings.Join(names(t, dir), " "); got != "s" {
		t.Errorf("the run directory holds %q, want the socket alone", got)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	return found
}
