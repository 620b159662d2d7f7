package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// readyTimeout bounds every start and every end: an engine starts in some 100 ms, and a
// machine that is busy with other tests needs many times as much.
const readyTimeout = 3 * time.Minute

// Redoubt builds the product's binary, once a test process, and returns its path.
func Redoubt(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Sabotaged builds it so that it breaks what its environment names (tag sabotage).
func Sabotaged(t testing.TB) string {
	t.Helper()
	path, err := builtSabotaged()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Main runs a package's tests in a temporary directory of their own, which it removes.
// It is for TestMain. A verification looks into all that is below the temporary directory,
// and the machine's may hold what a hundred builds have left.
func Main(m *testing.M) int {
	dir, err := ownTemp()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	return m.Run()
}

// ownTemp makes a directory that others may use as they do /tmp. Its name is short: those
// of sockets below it must be.
func ownTemp() (string, error) {
	for n := 0; ; n++ {
		dir := filepath.Join(os.TempDir(), fmt.Sprint(n))
		switch err := os.Mkdir(dir, 0o700); {
		case err == nil:
			return dir, os.Chmod(dir, 0o777|os.ModeSticky)
		case !errors.Is(err, fs.ErrExist):
			return "", err
		}
	}
}

var (
	built          = sync.OnceValues(func() (string, error) { return build() })
	builtSabotaged = sync.OnceValues(func() (string, error) { return build("-tags", "sabotage") })
)

func build(flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "redoubt-lab-")
	if err != nil {
		return "", err
	}
	// Others must be able to run it: tests start it under other uids.
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "redoubt")
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "github.com/redoubt-cache/redoubt/cmd/redoubt")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// Package is the .deb of this tree for this machine, in this version.
func Package(t testing.TB, version string) string {
	t.Helper()
	return filepath.Join(Packages(t, "../..", version, "ARCHES=amd64", "FORMATS=deb"), "redoubt_"+version+"_amd64.deb")
}

// Packages has make package build a tree's packages, and returns the directory.
func Packages(t testing.TB, tree, version string, variables ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("make", append([]string{"--no-print-directory", "package"}, append(variables, "PACKAGE_VERSION="+version, "OUT="+dir)...)...)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make package: %v\n%s", err, out)
	}
	return dir
}

// Process is a running redoubt.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of Wait; valid when done is closed

	mu  sync.Mutex
	out bytes.Buffer // standard output and error, as they came
}

// Start runs cmd, waits until a line of its output begins with or contains
// ready, and ends it when the test ends.
func Start(t testing.TB, cmd *exec.Cmd, ready string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: cmd, done: make(chan struct{})}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	write.Close()
	seen := make(chan struct{})
	go p.collect(read, ready, seen)
	t.Cleanup(func() { p.Stop() })
	select {
	case <-seen:
	case <-p.done:
		t.Fatalf("%s ended before it was ready: %v\n%s", cmd.Args, p.err, p.Output())
	case <-time.After(readyTimeout):
		t.Fatalf("%s was not ready within %v\n%s", cmd.Args, readyTimeout, p.Output())
	}
	return p
}

func (p *Process) collect(from *os.File, ready string, seen chan<- struct{}) {
	defer from.Close()
	lines := bufio.NewReader(from)
	found := false
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		p.out.WriteString(line)
		p.mu.Unlock()
		if !found && strings.Contains(line, ready) {
			found = true
			close(seen)
		}
		if err != nil {
			break
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// Output is all that it has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Wait waits for its end and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(readyTimeout):
		p.cmd.Process.Kill()
		p.t.Fatalf("%s did not end\n%s", p.cmd.Args, p.Output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stop asks it to end, if it runs, and waits.
func (p *Process) Stop() int {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Deployment is a running "redoubt up".
type Deployment struct {
	*Process
	Dir     string // its state
	URL     string // REDIS_URL
	Sidecar string // HOST:PORT
	Bound   string // HOST:PORT that the sidecar listens on, which may be every address
	Gateway string // HOST:PORT
}

// Up runs "redoubt up" on free ports and a directory of the test's own; args
// come after those.
func Up(t testing.TB, args ...string) *Deployment {
	t.Helper()
	return UpIn(t, filepath.Join(t.TempDir(), "state"), args...)
}

// UpIn is Up on a directory that may have a state already.
func UpIn(t testing.TB, dir string, args ...string) *Deployment {
	t.Helper()
	return UpBy(t, exec.Command(Redoubt(t)), dir, args...)
}

// UpBy is UpIn by a command that is only the binary and its environment.
func UpBy(t testing.TB, cmd *exec.Cmd, dir string, args ...string) *Deployment {
	t.Helper()
	cmd.Args = append(cmd.Args, append([]string{"up", "--dir", dir, "--listen", "127.0.0.1:0", "--gateway", "127.0.0.1:0"}, args...)...)
	d := &Deployment{Dir: dir, Process: Start(t, cmd, "ready:")}
	env, err := os.ReadFile(filepath.Join(dir, "app.env"))
	if err != nil {
		t.Fatal(err)
	}
	d.URL = strings.TrimPrefix(strings.TrimSpace(string(env)), "REDIS_URL=")
	d.Sidecar = d.URL[strings.LastIndex(d.URL, "@")+1:]
	d.Gateway, d.Bound = wordAfter(d.Output(), "gateway"), wordAfter(d.Output(), "sidecar")
	return d
}

// Password is the application's, out of REDIS_URL.
func (d *Deployment) Password() string {
	rest := strings.TrimPrefix(d.URL, "redis://:")
	return rest[:strings.LastIndex(rest, "@")]
}

// wordAfter finds the line that begins with a word and returns the next one.
func wordAfter(text, first string) string {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == first {
			return strings.TrimRight(fields[1], ",")
		}
	}
	return ""
}
