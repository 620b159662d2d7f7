//go:build amd64 || arm64

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attemptName is argv[0] of this binary when it is the confined program itself.
const attemptName = "redoubt-attempt"

// attempts are what a program that has taken the engine over would try. Each must be
// refused; what it gets, should it succeed, vanishes with the process or the
// directory. testdata/probe.c tries more, with the unconfined control.
var attempts = []struct {
	name string
	try  func() error
}{
	{"create a file", func() error { return opened("file", unix.O_CREAT|unix.O_WRONLY) }},
	{"create a file without a name", func() error { return opened(".", unix.O_TMPFILE|unix.O_WRONLY) }},
	{"open a device for writing", func() error { return opened("/dev/null", unix.O_WRONLY) }},
	{"truncate a file", func() error { return unix.Truncate("/dev/null", 0) }},
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
	{"make a process", func() error {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && pid == 0 {
			unix.Exit(0)
		}
		return errnoOrNil(errno)
	}},
	{"execute a program", func() error { return unix.Exec("/proc/self/exe", []string{attemptName, "again"}, nil) }},
	{"make a namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"trace itself", func() error {
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0, 0, 0, 0)
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
		var attr [128]byte
		_, _, errno := unix.RawSyscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), uintptr(len(attr)))
		return errnoOrNil(errno)
	}},
	{"use io_uring", func() error {
		var params [120]byte
		_, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		return errnoOrNil(errno)
	}},
	{"change a mode", func() error { return unix.Chmod(".", 0o777) }},
}

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

// beAttempt is the confined program: it tries each and prints a line for it.
func beAttempt() {
	for _, a := range attempts {
		outcome := "not refused"
		if err := a.try(); err != nil {
			outcome = "refused: " + err.Error()
		}
		line := a.name + ": " + outcome + "\n"
		unix.Write(1, []byte(line))
	}
	unix.Exit(0)
}

// attemptsWithin bounds the program that tries.
const attemptsWithin = 10 * time.Second

// Try starts this very binary in the sandbox that the engine gets (as uid and gid,
// with namespaces if isolate), has it attempt what must be refused, and returns what
// came of each.
func Try(ctx context.Context, uid, gid int, isolate bool) ([]Attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptsWithin)
	defer cancel()
	dir, err := os.MkdirTemp("", "redoubt-attempt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if uid >= 0 {
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	// In the shim this is redoubt's own file too, wherever that lies: uid need not be
	// able to walk there.
	cmd, err := Command(Spec{Path: "/proc/self/exe", Args: []string{attemptName}, Dir: dir, UID: uid, GID: gid, Isolate: isolate})
	if err != nil {
		return nil, err
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := runWithin(ctx, cmd); err != nil {
		return nil, fmt.Errorf("the program in the sandbox: %w: %s", err, strings.TrimSpace(said.String()))
	}
	var list []Attempt
	for line := range strings.Lines(out.String()) {
		name, outcome, _ := strings.Cut(strings.TrimSpace(line), ": ")
		list = append(list, Attempt{name, outcome, strings.HasPrefix(outcome, "refused")})
	}
	if len(list) != len(attempts) {
		return nil, fmt.Errorf("the program in the sandbox ended after %d of %d attempts", len(list), len(attempts))
	}
	return list, nil
}
