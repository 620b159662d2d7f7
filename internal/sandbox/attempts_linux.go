//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attemptName is argv[0] of this binary when it is the confined program itself.
const attemptName = "redoubt-" + attempt

// attempt is its name as a part.
const attempt = "attempt"

// again is what the program gets as an argument when an attempt to execute it succeeds.
const again = "again"

// kept is a file that lies in the attempts' directory from the start.
const kept = "kept"

// attempts are what a program that has taken the engine over would try. Each must be
// refused; what it gets, should it succeed, vanishes with the process or the
// directory. To execute comes last, since nothing comes after it. testdata/probe.c
// tries more.
var attempts = []struct {
	name string
	try  func() error
}{
	{"create a file", func() error { return opened("file", unix.O_CREAT|unix.O_WRONLY) }},
	{"create a file without a name", func() error { return opened(".", unix.O_TMPFILE|unix.O_WRONLY) }},
	{"open a device for writing", func() error { return opened("/dev/null", unix.O_WRONLY) }},
	{"write to a file", func() error { return opened(kept, unix.O_WRONLY|unix.O_APPEND) }},
	{"truncate a file", func() error { return unix.Truncate(kept, 0) }},
	{"rename a file", func() error { return unix.Rename(kept, kept+"-elsewhere") }},
	{"make a directory", func() error { return unix.Mkdir("dir", 0o700) }},
	{"make a link", func() error { return unix.Symlink("to", "link") }},
	{"make memory that is a file", func() error { return got(unix.MemfdCreate("memory", 0)) }},
	{"read /etc/passwd", func() error { return opened("/etc/passwd", unix.O_RDONLY) }},
	{"list /", func() error { return opened("/", unix.O_RDONLY|unix.O_DIRECTORY) }},
	{"make an IPv4 socket", func() error { return got(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)) }},
	{"make an IPv6 socket", func() error { return got(unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)) }},
	{"make a datagram socket", func() error { return got(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)) }},
	{"make a netlink socket", func() error { return got(unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0)) }},
	{"connect to a unix socket", func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/run/dbus/system_bus_socket"})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
			return nil // it was let try
		}
		return err
	}},
	{"make a process", func() error { return cloned(0) }},
	{"make a namespace", func() error { return cloned(unix.CLONE_NEWUSER) }},
	{"trace a process", func() error {
		const nobody = 0 // no process has this number
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, nobody, 0, 0, 0, 0)
		if errno == unix.ESRCH {
			return nil // it was let try
		}
		return errnoOrNil(errno)
	}},
	{"signal its parent", func() error { return unix.Kill(os.Getppid(), 0) }},
	{"read the environment of its parent", func() error {
		return opened(fmt.Sprintf("/proc/%d/environ", os.Getppid()), unix.O_RDONLY)
	}},
	{"make memory writable and executable", func() error {
		_, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		return err
	}},
	{"load a program into the kernel", func() error {
		// r0 = 0; exit (bpf(2), BPF_PROG_LOAD of a BPF_PROG_TYPE_SOCKET_FILTER).
		code, license := [...]uint64{0xb7, 0x95}, [...]byte{'M', 'I', 'T', 0}
		attr := struct {
			kind, length  uint32
			code, license unsafe.Pointer
			rest          [96]byte
		}{unix.BPF_PROG_TYPE_SOCKET_FILTER, uint32(len(code)), unsafe.Pointer(&code), unsafe.Pointer(&license), [96]byte{}}
		for {
			fd, _, errno := unix.RawSyscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
			if errno != unix.EAGAIN { // a signal came: that of a process that was made before
				return got(int(fd), errnoOrNil(errno))
			}
		}
	}},
	{"give the kernel a filter for a socket", func() error {
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
		return option(func(fd int) error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
		})
	}},
	{"take a filter from a socket", setsockopt(unix.SO_DETACH_FILTER, 0)},
	{"lock the filter of a socket", setsockopt(unix.SO_LOCK_FILTER, 1)},
	{"give a socket a program of the kernel's", setsockopt(unix.SO_ATTACH_BPF, -1)},
	{"give a group of sockets a filter", setsockopt(unix.SO_ATTACH_REUSEPORT_CBPF, -1)},
	{"give a group of sockets a program of the kernel's", setsockopt(unix.SO_ATTACH_REUSEPORT_EBPF, -1)},
	{"have the peer's descriptors and name come along", setsockopt(unix.SO_PASSCRED, 1)},
	{"take hold of the peer's process", func() error {
		return option(func(fd int) error {
			_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
			return err
		})
	}},
	{"ask who the peer is", func() error {
		return option(func(fd int) error {
			_, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
			return err
		})
	}},
	{"give itself a name that everybody reads", func() error {
		name := [16]byte{'p', 'a', 't', 'i', 'e', 'n', 't'}
		return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
	}},
	{"use io_uring", func() error {
		var params [120]byte
		fd, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		return got(int(fd), errnoOrNil(errno))
	}},
	{"change a mode", func() error { return unix.Chmod(".", 0o777) }},
	{execute, func() error { return unix.Exec("/proc/self/exe", []string{attemptName, again}, nil) }},
}

const (
	execute    = "execute a program"
	succeeded  = "not refused"
	wasRefused = "refused: "

	aboutStatus = "status " // before the name of a field of the program's own status
)

func opened(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func got(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// option tries an option on a unix socket. What the socket itself has to say of it, that
// there is no such filter, program or peer, it says because it was let try.
func option(try func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	switch err := try(fd); err {
	case unix.ENOENT, unix.EBADF, unix.EINVAL, unix.EFAULT, unix.ENODATA, unix.ESRCH:
		return nil
	default:
		return err
	}
}

func setsockopt(name, value int) func() error {
	return func() error {
		return option(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, name, value) })
	}
}

// cloned makes a process that ends at once.
func cloned(flags uintptr) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		unix.Exit(0)
	}
	return errnoOrNil(errno)
}

// beAttempt is the program: it tries each and prints a line for it.
func beAttempt() {
	tell := func(name, outcome string) { unix.Write(1, []byte(name+": "+outcome+"\n")) }
	if len(os.Args) > 1 { // it was let execute
		tell(execute, succeeded)
		unix.Exit(0)
	}
	tellStatus(tell)
	for _, a := range attempts {
		outcome := succeeded
		if err := a.try(); err != nil {
			outcome = wasRefused + err.Error()
		}
		tell(a.name, outcome)
	}
	unix.Exit(0)
}

// tellStatus tells what the kernel shows of this program (proc(5), status). It comes
// before the attempts: the last of them, should it succeed, ends the program.
func tellStatus(tell func(name, outcome string)) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return // and the caller finds nothing told
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			tell(aboutStatus+name, strings.TrimSpace(value))
		}
	}
}

// attemptsWithin bounds a program that tries.
const attemptsWithin = 10 * time.Second

// Try starts this very binary in the sandbox that the engine gets (as uid and gid,
// with namespaces if isolate), has it attempt what must be refused, and returns what
// came of each. The same is attempted outside, as the user that we are: what the
// kernel refuses there as well says nothing of the sandbox. An error is that nothing
// could be started; what a program that ended early didn't tell counts as not
// refused.
func Try(ctx context.Context, uid, gid int, isolate bool) (Trial, error) {
	return try(ctx, uid, gid, func(dir string) (*exec.Cmd, error) {
		// In the shim this is redoubt's own file too, wherever that lies: uid need not be
		// able to walk there.
		return Command(Spec{Path: "/proc/self/exe", Args: []string{attemptName}, Dir: dir, UID: uid, GID: gid, Isolate: isolate})
	})
}

// TryPart does so in the sandbox of a part that may read and write no file, but for what
// the kernel shows of the program itself, which it tells.
func TryPart(ctx context.Context, uid, gid int, isolate bool) (Trial, error) {
	return try(ctx, uid, gid, func(dir string) (*exec.Cmd, error) {
		p := Part{Name: attempt, UID: uid, GID: gid, Isolate: isolate, Read: []string{"/proc/self/status"}}
		o := p.order(0)
		o.Dir = dir
		return command(o)
	})
}

func try(ctx context.Context, uid, gid int, command func(dir string) (*exec.Cmd, error)) (Trial, error) {
	confined, err := tried(ctx, uid, gid, command)
	if err != nil {
		return Trial{}, fmt.Errorf("in the sandbox: %w", err)
	}
	free, err := tried(ctx, -1, -1, func(dir string) (*exec.Cmd, error) {
		return &exec.Cmd{Path: "/proc/self/exe", Args: []string{attemptName}, Dir: dir, Env: []string{}}, nil
	})
	if err != nil {
		return Trial{}, fmt.Errorf("outside the sandbox: %w", err)
	}
	t := Trial{Attempts: make([]Attempt, len(attempts)), Status: map[string]string{}}
	for name, value := range confined {
		if field, ok := strings.CutPrefix(name, aboutStatus); ok {
			t.Status[field] = value
		}
	}
	for i, a := range attempts {
		outcome, told := confined[a.name]
		if !told {
			outcome = "not told: the program ended before"
		}
		t.Attempts[i] = Attempt{Name: a.name, Outcome: outcome, Refused: strings.HasPrefix(outcome, wasRefused), Possible: free[a.name] == succeeded}
	}
	return t, nil
}

// tried runs the program in a directory of its own (of uid, unless that is negative)
// and returns what it told of each attempt.
func tried(ctx context.Context, uid, gid int, command func(dir string) (*exec.Cmd, error)) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptsWithin)
	defer cancel()
	dir, err := os.MkdirTemp("", "redoubt-attempt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, kept), []byte("kept"), 0o600); err != nil {
		return nil, err
	}
	if uid >= 0 {
		if err := errors.Join(os.Chown(dir, uid, gid), os.Chown(filepath.Join(dir, kept), uid, gid)); err != nil {
			return nil, err
		}
	}
	cmd, err := command(dir)
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = runWithin(ctx, cmd)
	if out.Len() == 0 {
		return nil, fmt.Errorf("the program attempted nothing: %v: %s", err, strings.TrimSpace(said.String()))
	}
	outcomes := map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, outcome, _ := strings.Cut(strings.TrimSpace(line), ": ")
		outcomes[name] = outcome
	}
	return outcomes, nil
}
