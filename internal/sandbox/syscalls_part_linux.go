//go:build amd64 || arm64

package sandbox

import (
	"slices"

	"golang.org/x/sys/unix"
)

// What a part of ours may call: a Go server on sockets that it has been given. It can't
// make a socket, connect one or bind one, nor start anything. The list is what a front
// was seen to call under load, and what Go's runtime calls when it starts; what stands
// nowhere gives ENOSYS, as the engine's does.

// partAllowed needs no look at the arguments.
var partAllowed = []int{
	// Descriptors that are open.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_LSEEK,
	unix.SYS_CLOSE, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2,
	// Metadata, which Landlock can't refuse either, and reading a directory, which it can.
	unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_GETCWD,

	// Memory, but for making it executable (below).
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MADVISE, unix.SYS_MINCORE,
	unix.SYS_MLOCK, unix.SYS_MLOCK2, unix.SYS_MUNLOCK, unix.SYS_MLOCKALL,

	// Signals to itself, locks, the processor.
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_MEMBARRIER,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETCPU, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,

	// Time.
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,

	// Who and where it is.
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID,
	unix.SYS_GETEGID, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRUSAGE, unix.SYS_GETRANDOM,

	// Serving. It receives descriptors from who started it (recvmsg) and can send none:
	// one that is under way to somebody else would not count as open.
	unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_PPOLL,
}

// partWriting is for a part that may write somewhere; where, Landlock says, and on a
// kernel without it the owner of the files.
var partWriting = []int{
	unix.SYS_OPENAT, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FLOCK,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_LINKAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
}

// partForbidden says in a log what happened, where ENOSYS would be taken for an old kernel.
var partForbidden = []int{
	unix.SYS_EXECVEAT, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_SENDMSG,
	unix.SYS_MEMFD_CREATE, unix.SYS_PTRACE, unix.SYS_BPF, unix.SYS_MOUNT, unix.SYS_UNSHARE, unix.SYS_SETNS,
}

// partConditional looks at arguments, as conditional does.
func partConditional(pid int, key execKey) []rule {
	self := uint32(pid)
	return []rule{
		{unix.SYS_EXECVE, unix.EPERM, slices.Concat(whole(3, key[0]), whole(4, key[1]), whole(5, key[2]))},
		{unix.SYS_CLONE, unix.EPERM, []cond{bits(0, unix.CLONE_THREAD|newNamespaces, unix.CLONE_THREAD)}},
		{unix.SYS_SENDTO, unix.EPERM, whole(4, 0)}, // no address
		// What the tunnel's listener and lanes set, and Go's net of an inherited socket. No
		// program for the kernel, and no hold of the peer's process. The two levels share the
		// numbers: what one has under a number of the other is as harmless.
		{unix.SYS_SETSOCKOPT, unix.EPERM, []cond{
			is(1, unix.SOL_SOCKET, unix.IPPROTO_TCP),
			is(2, unix.SO_KEEPALIVE, unix.SO_LINGER, unix.SO_RCVBUF, unix.SO_SNDBUF,
				unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT),
		}},
		{unix.SYS_GETSOCKOPT, unix.EPERM, []cond{is(1, unix.SOL_SOCKET), is(2, unix.SO_ERROR, unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ACCEPTCONN)}},
		// Never writable and executable at once or in turn.
		{unix.SYS_MMAP, unix.EACCES, []cond{bits(2, unix.PROT_WRITE|unix.PROT_EXEC, unix.PROT_NONE, unix.PROT_WRITE, unix.PROT_EXEC)}},
		{unix.SYS_MPROTECT, unix.EACCES, []cond{bits(2, unix.PROT_EXEC, 0)}},
		// Itself only.
		{unix.SYS_KILL, unix.EPERM, []cond{is(0, self)}},
		{unix.SYS_TGKILL, unix.EPERM, []cond{is(0, self)}},
		{unix.SYS_PRLIMIT64, unix.EPERM, []cond{is(0, 0)}},
		{unix.SYS_FCNTL, unix.EINVAL, []cond{is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL)}},
		// Not dumpable: exec has undone the shim's. It is asked to be less, never more.
		{unix.SYS_PRCTL, unix.EINVAL, []cond{is(0, unix.PR_SET_DUMPABLE), is(1, 0)}},
		{unix.SYS_IOCTL, unix.ENOTTY, []cond{is(1, unix.TCGETS, fionbio)}},
	}
}

// readingOnly is for a part that writes nowhere.
var readingOnly = rule{unix.SYS_OPENAT, unix.EACCES, []cond{bits(2, writing, 0)}}

// ofPart is the policy of a part.
func ofPart(pid int, key execKey, writes bool) tables {
	t := tables{
		allowed:     slices.Concat(partAllowed, partArchAllowed),
		conditional: slices.Concat(partConditional(pid, key), partArchConditional),
		forbidden:   partForbidden,
		unknown:     unix.ENOSYS,
	}
	if writes {
		t.allowed = slices.Concat(t.allowed, partWriting)
	} else {
		t.conditional = append(t.conditional, readingOnly)
	}
	return t
}
