//go:build linux

package sandbox

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// probePath is set once, by TestMain.
var probePath string

// freeUID belongs to nobody on the machine.
const freeUID = 61842

// needRoot says what is missing. It is no skip: without root half of what the
// sandbox promises would go unproven.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test changes uid and makes namespaces: run it as root")
	}
}

// arena is a run directory and everything around it that the probe attacks.
type arena struct {
	uid      int
	dir      string // the run directory
	outside  string
	unix     string
	abstract string
	port     int
	victim   int
}

func newArena(t *testing.T, uid int) arena {
	t.Helper()
	base := t.TempDir()
	a := arena{uid: uid, dir: filepath.Join(base, "run"), outside: filepath.Join(base, "outside")}
	must(t, os.Chmod(filepath.Dir(base), 0o711)) // the free probe must be able to come here
	for _, dir := range []string{a.dir, a.outside} {
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Chown(dir, uid, uid))
	}
	for _, file := range []string{a.dir + "/existing", a.dir + "/mine", a.outside + "/theirs"} {
		must(t, os.WriteFile(file, []byte("content\n"), 0o600))
		must(t, os.Chown(file, uid, uid))
	}
	a.unix = filepath.Join(base, "listening")
	a.abstract = base // as unique as the directory
	listen(t, "unix", a.unix)
	must(t, os.Chmod(a.unix, 0o777))
	listen(t, "unix", "@"+a.abstract)
	a.port = listen(t, "tcp", "127.0.0.1:0").Addr().(*net.TCPAddr).Port
	a.victim = a.startVictim(t)
	return a
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startVictim starts an unconfined process of the arena's user.
func (a arena) startVictim(t *testing.T) (pid int) {
	t.Helper()
	cmd := a.free("wait")
	startWaiting(t, cmd)
	return cmd.Process.Pid
}

// free is the probe without the shim: the control of every experiment.
func (a arena) free(args ...string) *exec.Cmd {
	cmd := exec.Command(probePath, args...)
	cmd.Dir = a.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.uid)}}
	return cmd
}

// spec confines the probe to the arena's run directory.
func (a arena) spec(args ...string) Spec {
	return Spec{Path: probePath, Args: append([]string{"probe"}, args...), Dir: a.dir, UID: a.uid, GID: a.uid}
}

// attempts are the probe's arguments for trying everything.
func (a arena) attempts() []string {
	return []string{"attempts", a.outside, a.unix, a.abstract, strconv.Itoa(a.port), strconv.Itoa(a.victim)}
}

// confined starts with some layers held back.
func confined(t *testing.T, s Spec, with layers) *exec.Cmd {
	t.Helper()
	cmd, err := command(order{Spec: s, Layers: with})
	must(t, err)
	return cmd
}

// startWaiting starts a probe that says "waiting" and returns its standard
// input. The thread stays with the test: the parent-death signal hangs on it.
func startWaiting(t *testing.T, cmd *exec.Cmd) io.WriteCloser {
	t.Helper()
	runtime.LockOSThread()
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if line != "waiting\n" {
		t.Fatalf("the probe said %q (%v), stderr %q", line, err, stderr.String())
	}
	return stdin
}

// outcomes runs the probe's attempts: "yes", or the name of the error.
func outcomes(t *testing.T, cmd *exec.Cmd) map[string]string {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("the probe: %v, stderr %q, after %q", err, stderr.String(), stdout)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(stdout)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		errno, err := strconv.Atoi(number)
		must(t, err)
		found[name] = "yes"
		if errno != 0 {
			found[name] = unix.ErrnoName(syscall.Errno(errno))
		}
	}
	return found
}
