//go:build amd64 || arm64

package sandbox

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shim is the process between Command and the program.
type shim struct {
	order
	ruleset int // Landlock's, from openRuleset to restrict; -1: this kernel has none
}

type step struct {
	name string
	do   func() error
}

// steps is the way down, in order. What needs rights (namespaces, opening and
// entering paths, capabilities, identity) comes before what takes them away.
func (s *shim) steps() []step {
	return s.sabotaged([]step{
		{"core dump filter", emptyCoreDumps},
		{"oom_score_adj", standInLine},
		{"resource limits", s.setLimits},
		{"descriptors", s.closeDescriptorsOnExec},
		{"dumpable", forbidAttach},
		{"namespaces", s.isolate},
		{"landlock", s.openRuleset},
		{"directory", s.enterDir},
		{"bounding set", dropBoundingSet},
		{"identity", s.becomeUser},
		{"capabilities", dropCapabilities},
		{"directory", s.checkDir},
		{"no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"parent", s.dieWithParent},
		{"MDWE", s.refuseExecGain},
		{"landlock", s.restrict},
		{"exec", s.filterAndExec},
	})
}

// emptyCoreDumps takes every page out of a dump; the setting survives exec
// (core(5)). A dump still holds registers, so the limit below matters more.
func emptyCoreDumps() error {
	err := os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel that can't dump core
	}
	return err
}

// standInLine takes away what keeps the parent from being ended for lack of memory
// (OOMScoreAdjust= of its unit): the program is the large one, and it can be started
// again. Raising it needs no right (proc_pid_oom_score_adj(5)).
func standInLine() error {
	const file = "/proc/self/oom_score_adj"
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "-") {
		return nil // not there, or not spared
	}
	return os.WriteFile(file, []byte("0"), 0)
}

// limitCore sets the limit of core files. It is 1 and not 0: with a piped core_pattern the
// kernel ignores 0 but refuses exactly 1 (fs/coredump.c), and 1 byte is too little for a
// file. Where it is 0 already and can't be raised (limits.conf(5), without
// CAP_SYS_RESOURCE) it stays so: no file can be, and verify names it (RD-403, RD-414).
func limitCore() error {
	err := unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil)
	var now unix.Rlimit
	if errors.Is(err, unix.EPERM) && unix.Getrlimit(unix.RLIMIT_CORE, &now) == nil && now.Max == 0 {
		return nil
	}
	return err
}

// setLimits sets soft and hard limits.
func (s *shim) setLimits() error {
	// A write past FSIZE raises SIGXFSZ, which kills; ignored it is EFBIG, and
	// an ignored signal stays ignored over exec.
	signal.Ignore(unix.SIGXFSZ)
	type limit struct {
		name     string
		resource int
		value    uint64
	}
	if err := limitCore(); err != nil {
		return fmt.Errorf("CORE: %w", err)
	}
	limits := []limit{{"MSGQUEUE", unix.RLIMIT_MSGQUEUE, 0}}
	if s.Part == nil || len(s.Part.Write) == 0 {
		limits = append(limits, limit{"FSIZE", unix.RLIMIT_FSIZE, 0})
	}
	if s.Part != nil && s.Part.Descriptors > 0 {
		limits = append(limits, limit{"NOFILE", unix.RLIMIT_NOFILE, s.Part.Descriptors})
	}
	for _, limit := range limits {
		if err := unix.Prlimit(0, limit.resource, &unix.Rlimit{Cur: limit.value, Max: limit.value}, nil); err != nil {
			return fmt.Errorf("%s: %w", limit.name, err)
		}
	}
	if s.Part != nil {
		unix.Umask(0o077)
		return nil
	}
	unix.Umask(0o117) // the socket is born rw-rw----: no moment in which others may connect (CVE-2023-45145)
	return nil
}

// closeDescriptorsOnExec leaves the program standard input, output and error, and a
// part its files, whatever the supervisor itself had inherited. close_range(2) could do it in
// one call, but with CLOSE_RANGE_CLOEXEC only from Linux 5.11.
func (s *shim) closeDescriptorsOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if fd > 2 && (fd < FirstFile || fd >= FirstFile+s.Files) {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// forbidAttach keeps processes of the same uid from taking hold of the shim
// (ptrace, /proc/PID/mem) and by it of the program. Exec ends it, but by then
// the filter stands. Everything that /proc/self is needed for comes earlier:
// this gives its files to root.
func forbidAttach() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

func (s *shim) isolate() error {
	if !s.Isolate {
		return nil
	}
	err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: own namespaces need root (CAP_SYS_ADMIN)", err)
	}
	return err
}

// openRuleset opens the paths of the Landlock rules while we still may: the
// later uid need not be able to reach them.
func (s *shim) openRuleset() error {
	abi, err := landlockABI()
	if err != nil {
		return err
	}
	s.ruleset = -1
	if abi = min(abi, s.Layers.Landlock); abi == 0 {
		return nil // reported by Probe, which the supervisor prints
	}
	allowed := grants(s.Spec)
	if s.Part != nil {
		if allowed, err = partGrants(*s.Part); err != nil {
			return err
		}
	}
	s.ruleset, err = newRuleset(abi, allowed)
	return err
}

func (s *shim) enterDir() error { return os.Chdir(s.Dir) }

// becomeUser changes this thread only: it is the one that stays.
func (s *shim) becomeUser() error {
	if s.UID == -1 {
		return nil
	}
	uid, gid := uintptr(s.UID), uintptr(s.GID)
	for _, call := range []struct{ nr, a, b, c uintptr }{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, gid, gid, gid},
		{unix.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, errno := unix.RawSyscall(call.nr, call.a, call.b, call.c); errno != 0 {
			return fmt.Errorf("become uid %d, gid %d: %w (only root can)", s.UID, s.GID, errno)
		}
	}
	return nil
}

// checkDir finds a directory that the new identity can't use: the program's
// own message would come later and say less.
func (s *shim) checkDir() error {
	if s.Part != nil {
		return nil // it makes no socket
	}
	if err := unix.Access(".", unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("uid %d can't make its socket in %s: %w", unix.Getuid(), s.Dir, err)
	}
	return nil
}

// dieWithParent arms the parent-death signal. It comes after the change of
// identity, which clears it (prctl(2)). The parent may be gone by then already.
func (s *shim) dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if unix.Getppid() != s.Parent {
		return errors.New("the process that started this one has ended")
	}
	return nil
}

// refuseExecGain is inherited by exec. A kernel before 6.3 doesn't know it; the
// filter refuses the same by its arguments.
func (s *shim) refuseExecGain() error {
	if !s.Layers.MDWE {
		return nil
	}
	err := unix.Prctl(unix.PR_SET_MDWE, unix.PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func (s *shim) restrict() error {
	if s.ruleset == -1 {
		return nil
	}
	_, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(s.ruleset), 0, 0)
	return errnoOrNil(errno)
}

// filterAndExec is one step because nothing of Go's runtime may come between:
// from the filter on, most of its system calls are refused.
func (s *shim) filterAndExec() error {
	path, err := unix.BytePtrFromString(s.Path)
	if err != nil {
		return fmt.Errorf("%q: %w", s.Path, err)
	}
	argv, err := syscall.SlicePtrFromStrings(s.Args)
	if err != nil {
		return fmt.Errorf("arguments of %s: %w", filepath.Base(s.Path), err)
	}
	envp, err := syscall.SlicePtrFromStrings(s.environment())
	if err != nil {
		return err
	}
	key := newExecKey()
	debug.SetGCPercent(-1) // a collection could start a thread, and a thread that starts while another one execs fails loudly
	if s.Layers.Seccomp {
		if err := installFilter(filter(s.tables(key))); err != nil {
			return fmt.Errorf("seccomp: %w", err)
		}
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVE,
		uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])),
		uintptr(key[0]), uintptr(key[1]), uintptr(key[2]))
	runtime.KeepAlive(argv)
	runtime.KeepAlive(envp)
	return fmt.Errorf("%s: %w", s.Path, errno)
}

func (s *shim) tables(key execKey) tables {
	if s.Part != nil {
		return ofPart(os.Getpid(), key, len(s.Part.Write) > 0)
	}
	return ofEngine(os.Getpid(), key)
}

// environment is the program's. A part is told how many processors there are for it,
// since it can't read what the runtime would look at, and what the runtime was told
// here (FIPS 140-3 mode).
func (s *shim) environment() []string {
	env := []string{"LC_ALL=C", "TZ=UTC0"}
	if s.Part != nil {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", s.Processors), "GODEBUG="+s.Debug)
	}
	return env
}

// execKey opens the filter for one exec. execve takes three arguments, but a
// filter sees six registers: the kernel ignores the other three, the filter
// wants 192 random bits in them. Exec wipes the registers and the memory that
// held them, so the program can't repeat it. (A secret address of the path
// would hold 28 bits on a usual kernel, vm.mmap_rnd_bits: an hour's guessing.)
type execKey [3]uint64

func newExecKey() execKey {
	var bytes [24]byte
	_, _ = rand.Read(bytes[:]) // never fails since Go 1.24
	var key execKey
	for i := range key {
		key[i] = binary.NativeEndian.Uint64(bytes[8*i:])
	}
	return key
}

func errnoOrNil(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
