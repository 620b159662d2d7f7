//go:build linux

package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"time"

	"golang.org/x/sys/unix"
)

// patience is for what is waited for and not measured.
const patience = time.Minute

// errand is what the part in the tests is told to try.
type errand struct {
	Read, Write []string // files
	Open        int      // descriptors
}

// outcome is what came of it.
type outcome struct {
	Errors   map[string]string // by what was tried; "": it worked
	Opened   int
	Environ  []string
	Parent   string // of a signal to its parent
	Dumpable bool
}

// serve is the part: its first file is a listener, on which it takes one connection; from
// it comes an errand, and to it goes the outcome.
func serve() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	listener, err := net.FileListener(os.NewFile(FirstFile, "listener"))
	if err != nil {
		return fail(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		return fail(err)
	}
	var e errand
	if err := json.NewDecoder(conn).Decode(&e); err != nil {
		return fail(err)
	}
	out := outcome{Errors: map[string]string{}, Environ: os.Environ()}
	told := func(what string, err error) {
		out.Errors[what] = ""
		if err != nil {
			out.Errors[what] = err.Error()
		}
	}
	for _, path := range e.Read {
		_, err := os.ReadFile(path)
		told("read "+path, err)
	}
	for _, path := range e.Write {
		told("write "+path, replaced(path))
	}
	_, err = net.DialTimeout("tcp", listener.Addr().String(), patience)
	told("connect", err)
	_, err = net.Listen("tcp", "127.0.0.1:0")
	told("listen", err)
	told("execute", exec.Command("/bin/true").Run())
	out.Parent = fmt.Sprint(unix.Kill(os.Getppid(), 0))
	for range e.Open {
		if _, err := unix.Dup(0); err != nil {
			if _, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0); err != nil {
				break
			}
		}
		out.Opened++
	}
	if err := json.NewEncoder(conn).Encode(out); err != nil {
		return fail(err)
	}
	io.Copy(io.Discard, conn) // until the test has looked
	return 0
}

// replaced writes a file as package statedir does.
func replaced(path string) error {
	if err := os.WriteFile(path+".new", []byte("new"), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// served starts the part and has it do its errand.
func served(t *testing.T, p Part, e errand, look func(pid int)) outcome {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	file, err := listener.(*net.TCPListener).File()
	must(t, err)
	cmd, err := p.Command(file)
	must(t, err)
	var said strings.Builder
	cmd.Stderr = &said
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the part ends with the thread that has started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
		started <- err
		if err == nil {
			defer context.AfterFunc(t.Context(), func() { cmd.Process.Kill() })()
			ended <- cmd.Wait()
		}
	}()
	must(t, <-started)
	conn, err := net.Dial("tcp", listener.Addr().String())
	must(t, err)
	defer conn.Close()
	must(t, listener.Close()) // the part's is left: with it the connection ends
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	must(t, json.NewEncoder(conn).Encode(e))
	var out outcome
	if err := json.NewDecoder(conn).Decode(&out); err != nil {
		conn.Close()
		t.Fatalf("%v; the part: %v: %s", err, <-ended, said.String())
	}
	if look != nil {
		look(cmd.Process.Pid)
	}
	conn.Close()
	if err := <-ended; err != nil {
		t.Errorf("the part: %v: %s", err, said.String())
	}
	return out
}

func lowly(t *testing.T) Part {
	t.Helper()
	needRoot(t)
	return Part{Name: "server", UID: freeUID, GID: freeUID, Isolate: true}
}

// TestAPartServesOnWhatItWasGivenAndReachesNothingElse is the whole of the promise.
func TestAPartServesOnWhatItWasGivenAndReachesNothingElse(t *testing.T) {
	p := lowly(t)
	t.Setenv("SECRET", "of the parent's environment")
	out := served(t, p, errand{Read: []string{"/etc/passwd", "/proc/self/status", "/proc/1/status"}, Write: []string{"/tmp/redoubt-part-test", "/dev/shm/redoubt-part-test"}}, func(pid int) {
		found := status(t, pid)
		uid := strconv.Itoa(freeUID)
		for field, want := range map[string]string{
			"NoNewPrivs": "1", "Seccomp": "2", "Groups": "", "Umask": "0077",
			"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
			"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
			"Uid": strings.TrimSpace(strings.Repeat(uid+" ", 4)), "Gid": strings.TrimSpace(strings.Repeat(uid+" ", 4)),
		} {
			if found[field] != want {
				t.Errorf("%s is %q, want %q", field, found[field], want)
			}
		}
		info, err := os.Stat(fmt.Sprintf("/proc/%d/environ", pid))
		must(t, err)
		if info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Error("it is dumpable: who has its uid may attach to it")
		}
		ours, err := os.Readlink("/proc/self/ns/net")
		must(t, err)
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		must(t, err)
		if ours == its {
			t.Error("it shares our network")
		}
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		must(t, err)
		for _, fd := range open {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
			if err == nil && strings.HasPrefix(to, "/") && to != "/dev/null" {
				t.Errorf("it has inherited %s", to)
			}
		}
	})
	for what, err := range out.Errors {
		if err == "" {
			t.Errorf("%s: not refused", what)
		}
	}
	if len(out.Errors) != 8 {
		t.Errorf("%d attempts were told: %v", len(out.Errors), out.Errors)
	}
	if out.Parent != unix.EPERM.Error() {
		t.Errorf("a signal to its parent: %s", out.Parent)
	}
	if strings.Contains(strings.Join(out.Environ, " "), "SECRET") {
		t.Errorf("it has our environment: %q", out.Environ)
	}
}

// TestAPartReadsAndWritesWhereItIsTold, and nowhere beside.
func TestAPartReadsAndWritesWhereItIsTold(t *testing.T) {
	p := lowly(t)
	base := t.TempDir()
	for dir := base; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	for _, dir := range []string{"readable", "writable", "beside"} {
		must(t, os.Mkdir(filepath.Join(base, dir), 0o700))
		must(t, os.WriteFile(filepath.Join(base, dir, "file"), []byte("content"), 0o600))
		must(t, os.Chown(filepath.Join(base, dir), freeUID, freeUID))
		must(t, os.Chown(filepath.Join(base, dir, "file"), freeUID, freeUID))
	}
	in := func(dir string) string { return filepath.Join(base, dir, "file") }
	p.Read, p.Write = []string{filepath.Join(base, "readable")}, []string{filepath.Join(base, "writable")}
	out := served(t, p, errand{Read: []string{in("readable"), in("writable"), in("beside")}, Write: []string{in("readable"), in("writable"), in("beside")}}, nil)
	for what, works := range map[string]bool{
		"read " + in("readable"): true, "read " + in("writable"): true, "read " + in("beside"): false,
		"write " + in("readable"): false, "write " + in("writable"): true, "write " + in("beside"): false,
	} {
		if err, tried := out.Errors[what]; !tried || (err == "") != works {
			t.Errorf("%s: %q, want that it works: %v", what, err, works)
		}
	}
}

// TestAPartHasNoMoreDescriptorsThanItIsAllowed, whatever it asks for.
func TestAPartHasNoMoreDescriptorsThanItIsAllowed(t *testing.T) {
	p := lowly(t)
	p.Descriptors = 40
	if out := served(t, p, errand{Open: 100}, nil); out.Opened == 0 || out.Opened >= 40 {
		t.Errorf("it has opened %d more, of 40 in all", out.Opened)
	}
}

// TestATakenPartIsRefusedEverything: the very attempts that a taken engine would make.
func TestATakenPartIsRefusedEverything(t *testing.T) {
	needRoot(t)
	for _, as := range []struct {
		uid     int
		isolate bool
	}{{freeUID, true}, {freeUID, false}, {-1, false}} {
		trial, err := TryPart(t.Context(), as.uid, as.uid, as.isolate)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range trial.Attempts {
			if !a.Refused {
				t.Errorf("uid %d: %s: %s", as.uid, a.Name, a.Outcome)
			}
			if !a.Possible {
				t.Errorf("%s: outside the sandbox it isn't possible either, so that its refusal proves nothing", a.Name)
			}
		}
		if trial.Status["NoNewPrivs"] != "1" || trial.Status["Seccomp"] != "2" {
			t.Errorf("it doesn't tell what the kernel shows of it: %v", trial.Status)
		}
	}
}

// TestAPartThatCantBeConfinedIsNotStarted: a wrong order is an error, and so is a name
// that nothing is called by: it must not become the command line.
func TestAPartThatCantBeConfinedIsNotStarted(t *testing.T) {
	for _, p := range []Part{{Name: ""}, {Name: "Server"}, {Name: "a/b"}, {Name: "server", Read: []string{"relative"}}, {Name: "server", Write: []string{"relative"}}} {
		if _, err := p.Command(); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
	if _, err := (Part{Name: "server"}).Command(make([]*os.File, maxFiles+1)...); err == nil {
		t.Error("too many files: no error")
	}
	p := Part{Name: "server", UID: -1, GID: -1, Read: []string{filepath.Join(t.TempDir(), "missing")}}
	cmd, err := p.Command()
	must(t, err)
	var said strings.Builder
	cmd.Stderr = &said
	var exit *exec.ExitError
	if err := runWithin(t.Context(), cmd); !errors.As(err, &exit) || exit.ExitCode() != ExitFailed || !strings.Contains(said.String(), "missing") {
		t.Errorf("%v: %s", err, said.String())
	}
}

// TestAProgramThatWouldOnlyStartItselfStartsNothing: without Main, or without the part, a
// program would begin anew in each child, and start the next one.
func TestAProgramThatWouldOnlyStartItselfStartsNothing(t *testing.T) {
	spec := Spec{Path: "/bin/true", Args: []string{"true"}, Dir: t.TempDir(), UID: -1, GID: -1}
	if _, err := Command(spec); err != nil {
		t.Fatal(err)
	}
	if _, err := (Part{Name: "absent", UID: -1, GID: -1}).Command(); err == nil {
		t.Error("a part that this program doesn't have")
	}
	able = false
	defer func() { able = true }()
	if _, err := Command(spec); err == nil {
		t.Error("a program without Main")
	}
}
