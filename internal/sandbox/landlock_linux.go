//go:build amd64 || arm64

package sandbox

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockABI is 0 where the kernel lacks Landlock or has it switched off.
func landlockABI() (int, error) {
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch errno {
	case 0:
		return int(abi), nil
	case unix.ENOSYS, unix.EOPNOTSUPP: // landlock_create_ruleset(2)
		return 0, nil
	}
	return 0, fmt.Errorf("ask for the ABI: %w", errno)
}

// handled names what is refused unless a rule allows it: everything that the
// ABI knows (landlock(7)). ABI 7 and 8 brought logging and threads, no rights.
func handled(abi int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{
		// ABI 1: the thirteen rights from EXECUTE to MAKE_SYM.
		Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1,
	}
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	if abi >= 9 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	}
	return attr
}

// grant is one exception. All its rights are of ABI 1, but for those that writing takes
// (newRuleset).
type grant struct {
	path   string
	rights uint64
	needed bool // its absence is an error; else there is nothing to allow
}

const (
	read      = unix.LANDLOCK_ACCESS_FS_READ_FILE
	readExec  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	ownSocket = unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
)

// grants is all that the program can open or make. READ_DIR is not in it: no
// directory can be listed.
func grants(s Spec) []grant {
	return append([]grant{
		{s.Path, readExec, true},
		{s.Dir, ownSocket, true},      // it removes the socket of a predecessor that was killed
		{"/dev/urandom", read, false}, // the seed of its hash function
		// All of /proc and not /proc/self: a rule sits on an inode, and that of
		// /proc/self goes away under memory pressure; used_memory_rss was 0 from
		// then on. Landlock's ptrace rule still guards /proc/OTHER/environ and mem.
		{"/proc", read, true},
		{"/sys/kernel/mm/transparent_hugepage/enabled", read, false}, // start-up check
		{"/sys/devices/system/clocksource/clocksource0", read, false},
	}, libraries...)
}

// libraries are where a program's are.
var libraries = []grant{
	// The kernel opens the program interpreter for execution; libraries are
	// only mapped, for which READ is enough.
	{"/lib64/ld-linux-x86-64.so.2", readExec, false},
	{"/lib/ld-linux-aarch64.so.1", readExec, false},
	{"/etc/ld.so.cache", read, false},
	{"/lib/x86_64-linux-gnu", read, false}, // Debian, Ubuntu
	{"/usr/lib/x86_64-linux-gnu", read, false},
	{"/lib/aarch64-linux-gnu", read, false},
	{"/usr/lib/aarch64-linux-gnu", read, false},
	{"/lib64", read, false}, // Fedora, RHEL, SUSE
	{"/usr/lib64", read, false},
}

const (
	readDir = read | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// All of ABI 1; newRuleset adds what came later.
	writeDir = readDir | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
)

// partGrants is all that a part can open: itself, what it was given, and nothing else. A
// build with cgo needs its libraries too.
func partGrants(p Part) (list []grant, err error) {
	const self = "/proc/self/exe"
	dynamic, err := interpreted(self)
	if err != nil {
		return nil, err
	}
	if dynamic {
		list = append(list, libraries...)
	}
	list = append(list, grant{self, readExec, true})
	for _, path := range p.Read {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		rights := uint64(read)
		if info.IsDir() {
			rights = readDir
		}
		list = append(list, grant{path, rights, true})
	}
	for _, path := range p.Write {
		list = append(list, grant{path, writeDir, true})
	}
	return list, nil
}

// interpreted says whether a program needs libraries.
func interpreted(path string) (bool, error) {
	file, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	return slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}

// newRuleset returns a ruleset that refuses all that abi knows, the grants apart.
func newRuleset(abi int, allowed []grant) (fd int, err error) {
	attr := handled(abi)
	// An older kernel takes this longer structure: what it doesn't know is zero.
	r, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return -1, fmt.Errorf("create a ruleset of ABI %d: %w", abi, errno)
	}
	for _, g := range allowed {
		if g.rights&unix.LANDLOCK_ACCESS_FS_WRITE_FILE != 0 { // and what is handled of moving and truncating
			g.rights |= attr.Handled_access_fs & (unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE)
		}
		if err := g.addTo(r); err != nil && (g.needed || !errors.Is(err, unix.ENOENT)) {
			return -1, errors.Join(fmt.Errorf("allow %s: %w", g.path, err), unix.Close(int(r)))
		}
	}
	return int(r), nil
}

func (g grant) addTo(ruleset uintptr) error {
	fd, err := unix.Open(g.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: g.rights, Parent_fd: int32(fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset,
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	return errors.Join(errnoOrNil(errno), unix.Close(fd))
}
