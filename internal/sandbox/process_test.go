//go:build linux

package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// status reads the fields of /proc/PID/status.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func TestKernelShowsTheConfinedProcessAsSpecified(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	cmd := confined(t, a.spec("wait"), allLayers())
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{1, freeUID + 1}} // groups to lose
	startWaiting(t, cmd)
	uid := strconv.Itoa(freeUID)
	found := status(t, cmd.Process.Pid)
	for field, want := range map[string]string{
		"Name": "probe", "NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1", "Umask": "0117",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
		"Uid": strings.TrimSpace(strings.Repeat(uid+" ", 4)), "Gid": strings.TrimSpace(strings.Repeat(uid+" ", 4)), "Groups": "",
		"SigBlk": "0000000000000000", "TracerPid": "0", "Threads": "1",
	} {
		if found[field] != want {
			t.Errorf("%s is %q, want %q", field, found[field], want)
		}
	}
	ignored, err := strconv.ParseUint(found["SigIgn"], 16, 64)
	must(t, err)
	if ignored&(1<<(unix.SIGXFSZ-1)) == 0 {
		t.Errorf("SIGXFSZ is not ignored: SigIgn %x", ignored)
	}
	if pid := strconv.Itoa(cmd.Process.Pid); found["NSsid"] != pid {
		t.Errorf("session %s, want its own, %s", found["NSsid"], pid)
	}
}

// TestCapabilitiesOfAnOrdinaryUserAreGoneToo: a service manager may give an
// ordinary user capabilities that survive exec (capabilities(7), ambient set).
func TestCapabilitiesOfAnOrdinaryUserAreGoneToo(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	s := a.spec("wait")
	s.UID, s.GID = -1, -1
	for _, c := range []struct {
		cmd  *exec.Cmd
		want string
	}{
		{a.free("wait"), "0000000000001000"}, // the control
		{confined(t, s, allLayers()), "0000000000000000"},
	} {
		c.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: freeUID, Gid: freeUID}
		c.cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
		startWaiting(t, c.cmd)
		found := status(t, c.cmd.Process.Pid)
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			if found[set] != c.want {
				t.Errorf("%s: %s is %s, want %s", c.cmd.Path, set, found[set], c.want)
			}
		}
	}
}

func TestLimitsAreSoftAndHard(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	cmd := confined(t, a.spec("wait"), allLayers())
	startWaiting(t, cmd)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	must(t, err)
	for _, want := range []string{`Max core file size +1 +1 `, `Max file size +0 +0 `, `Max msgqueue size +0 +0 `} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("limits lack %q:\n%s", want, text)
		}
	}
	filter, err := os.ReadFile(fmt.Sprintf("/proc/%d/coredump_filter", cmd.Process.Pid))
	must(t, err)
	if got := strings.TrimSpace(string(filter)); got != "00000000" {
		t.Errorf("coredump_filter %s, want 0", got)
	}
}

func TestProgramGetsNothingItDoesNotNeed(t *testing.T) {
	needRoot(t)
	t.Setenv("REDOUBT_SECRET", "from the supervisor")
	inherited, err := os.Open(os.DevNull)
	must(t, err)
	defer inherited.Close()
	_, err = unix.FcntlInt(inherited.Fd(), unix.F_SETFD, 0) // as a descriptor of a careless parent
	must(t, err)
	a := newArena(t, freeUID)
	cmd := confined(t, a.spec("wait"), allLayers())
	if len(cmd.Args) != 1 || len(cmd.Env) != 1 || cmd.Env[0] != "GOTRACEBACK=none" {
		t.Errorf("the shim itself gets arguments %q and environment %q", cmd.Args, cmd.Env)
	}
	startWaiting(t, cmd)
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)

	environment, err := os.ReadFile(proc + "environ")
	must(t, err)
	if got := string(environment); got != "LC_ALL=C\x00TZ=UTC0\x00" {
		t.Errorf("environment %q", got)
	}
	arguments, err := os.ReadFile(proc + "cmdline")
	must(t, err)
	if got := string(arguments); got != "probe\x00wait\x00" {
		t.Errorf("arguments %q", got)
	}
	open, err := os.ReadDir(proc + "fd")
	must(t, err)
	if len(open) != 3 {
		t.Errorf("%d descriptors, want the 3 standard ones: %v", len(open), open)
	}
	if dir, err := os.Readlink(proc + "cwd"); err != nil || dir != a.dir {
		t.Errorf("working directory %q (%v), want %q", dir, err, a.dir)
	}
}

func TestIsolatedProgramHasNamespacesOfItsOwn(t *testing.T) {
	needRoot(t)
	for _, isolate := range []bool{false, true} {
		a := newArena(t, freeUID)
		s := a.spec("wait")
		s.Isolate = isolate
		cmd := confined(t, s, allLayers())
		startWaiting(t, cmd)
		for _, kind := range []string{"net", "ipc", "uts"} {
			ours, err := os.Readlink("/proc/self/ns/" + kind)
			must(t, err)
			theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, kind))
			must(t, err)
			if (ours != theirs) != isolate {
				t.Errorf("Isolate %v: %s namespace %s, ours %s", isolate, kind, theirs, ours)
			}
		}
	}
}

func TestProgramServesOnItsSocket(t *testing.T) {
	needRoot(t)
	for _, isolate := range []bool{false, true} {
		a := newArena(t, freeUID)
		s := a.spec("serve")
		s.Isolate = isolate
		startWaiting(t, confined(t, s, allLayers()))
		path := filepath.Join(a.dir, "s")
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != 0o660 {
			t.Errorf("the socket's mode is %o, want 660", got)
		}
		conn, err := net.Dial("unix", path)
		must(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("hello\n"))
		must(t, err)
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
			t.Errorf("answer %q (%v)", line, err)
		}
	}
}

func TestAbortLeavesNoCore(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_CORE, &before))
	must(t, unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}))
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) })

	if !dumpsCore(t, a.free("abort")) {
		t.Error("no core dump without the sandbox: the control proves nothing")
	}
	left, err := filepath.Glob(filepath.Join(a.dir, "core*"))
	must(t, err)
	for _, core := range left {
		must(t, os.Remove(core))
	}
	for _, with := range []layers{allLayers(), {Seccomp: true}, {}} {
		if dumpsCore(t, confined(t, a.spec("abort"), with)) {
			t.Errorf("%+v: the kernel says that it dumped core", with)
		}
		if left, err := filepath.Glob(filepath.Join(a.dir, "core*")); err != nil || len(left) > 0 {
			t.Errorf("%+v: left %v (%v)", with, left, err)
		}
	}
}

// dumpsCore runs a probe that aborts. The flag is the kernel's own, so it holds
// for a piped core_pattern too.
func dumpsCore(t *testing.T, cmd *exec.Cmd) bool {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) {
		t.Fatalf("the probe ended with %v, want SIGABRT", err)
	}
	ended := exit.Sys().(syscall.WaitStatus)
	if ended.Signal() != unix.SIGABRT {
		t.Fatalf("the probe ended with %v, want SIGABRT", exit)
	}
	return ended.CoreDump()
}

func TestProgramDiesWithItsSupervisor(t *testing.T) {
	a := newArena(t, os.Getuid())
	supervisor := exec.Command("/proc/self/exe")
	supervisor.Env = append(os.Environ(), roleVariable+"="+a.dir, "PROBE="+probePath)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	stdin, hold, err := os.Pipe() // the test holds it: its end is not what ends the program
	must(t, err)
	t.Cleanup(func() { _ = hold.Close() })
	supervisor.Stdin, supervisor.Stdout, supervisor.Stderr = stdin, w, os.Stderr
	must(t, supervisor.Start())
	must(t, errors.Join(w.Close(), stdin.Close()))
	t.Cleanup(func() { _ = supervisor.Process.Kill() })
	said := bufio.NewReader(r)
	if line, err := said.ReadString('\n'); line != "waiting\n" {
		t.Fatalf("the probe said %q (%v)", line, err)
	}

	must(t, supervisor.Process.Kill())
	_ = supervisor.Wait() // killed: its error says no more than that
	// Supervisor and program are the only ones that hold the writing end, and
	// nothing but its end makes the program let go.
	requireEnd(t, r, said)
}

// requireEnd waits for a program to let go of its standard output.
func requireEnd(t *testing.T, r *os.File, said io.Reader) {
	t.Helper()
	must(t, r.SetReadDeadline(time.Now().Add(time.Minute)))
	if rest, err := io.ReadAll(said); err != nil || len(rest) > 0 {
		t.Errorf("the program lives on: it said %q (%v)", rest, err)
	}
}

func TestProgramDiesWithTheThreadThatStartedIt(t *testing.T) {
	a := newArena(t, os.Getuid())
	cmd := confined(t, Spec{Path: probePath, Args: []string{"probe", "wait"}, Dir: a.dir, UID: -1, GID: -1}, allLayers())
	stdin, err := cmd.StdinPipe()
	must(t, err)
	defer stdin.Close()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd.Stdout = w
	said := bufio.NewReader(r)
	must(t, lab.OnThread(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		_, err := said.ReadString('\n')
		return err
	}))
	must(t, w.Close())
	requireEnd(t, r, said)
	_ = stdin.Close() // ends it, if the thread's end did not
	_ = cmd.Wait()    // its error is looked at below
	if ended := cmd.ProcessState.Sys().(syscall.WaitStatus); ended.Signal() != unix.SIGKILL {
		t.Errorf("ended with %v, want SIGKILL", cmd.ProcessState)
	}
}
