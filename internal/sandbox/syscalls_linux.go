//go:build amd64 || arm64

package sandbox

import (
	"slices"

	"golang.org/x/sys/unix"
)

// These tables are the policy. A call that stands in none of them gives
// ENOSYS. Calls that one architecture alone has are in its own file; the list
// is what redis 7.0 and 8.0 and valkey 8.1 and 9.1 need to start, serve, and
// report their own crash.

// allowed needs no look at the arguments.
var allowed = []int{
	// Descriptors and files that are open, or open for reading by the rules below.
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_LSEEK,
	unix.SYS_CLOSE, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_EVENTFD2,
	// Metadata. Landlock can't refuse it either.
	unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_READLINKAT, unix.SYS_GETCWD, unix.SYS_CHDIR, unix.SYS_UMASK,
	// Removing the socket; Landlock confines it to Spec.Dir.
	unix.SYS_UNLINKAT,

	// Memory, but for making it executable (below).
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MADVISE, unix.SYS_MINCORE,

	// Signals to itself, locks, the processor.
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_MEMBARRIER,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_GETCPU, unix.SYS_RESTART_SYSCALL,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_WAIT4, // it has no children

	// Time.
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES,
	unix.SYS_GETTIMEOFDAY, unix.SYS_SETITIMER, unix.SYS_TIMES,

	// Who and where it is.
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID,
	unix.SYS_GETEGID, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRUSAGE, unix.SYS_GETRLIMIT, unix.SYS_GETRANDOM,

	// Serving on the socket. No connect, and no sendmsg or recvmsg: they carry
	// descriptors from process to process (unix(7), SCM_RIGHTS).
	unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN, unix.SYS_RECVFROM,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_PPOLL, unix.SYS_PSELECT6,
}

// forbidden would get ENOSYS by standing nowhere; EPERM makes the engine say
// what happened to it rather than look for another way.
var forbidden = []int{
	unix.SYS_EXECVEAT, unix.SYS_CONNECT,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_MKDIRAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_MEMFD_CREATE,
	unix.SYS_PTRACE,
}

const (
	// writing is each way of open(2) to change a file or make one.
	writing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_TMPFILE&^unix.O_DIRECTORY

	// newNamespaces is each CLONE_NEW* that fits in clone's flags (clone(2)).
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
		unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

	// socketKind is the part of socket's type that is not a flag (linux/net.h, SOCK_TYPE_MASK).
	socketKind = 0xf

	// fionbio makes a descriptor non-blocking (asm-generic/ioctls.h).
	fionbio = 0x5421
)

// conditional looks at arguments. Numbered in the comments as the man pages
// write the calls: the first argument is 0.
func conditional(pid int, key execKey) []rule {
	self := uint32(pid) // exec keeps it
	return []rule{
		// The engine once, by the shim.
		{unix.SYS_EXECVE, unix.EPERM, slices.Concat(whole(3, key[0]), whole(4, key[1]), whole(5, key[2]))},
		// Threads, no processes and no namespaces. clone3 hides its flags behind
		// a pointer; on ENOSYS glibc takes clone.
		{unix.SYS_CLONE, unix.EPERM, []cond{bits(0, unix.CLONE_THREAD|newNamespaces, unix.CLONE_THREAD)}},
		// Reading only: a second guarantee on kernels without Landlock. openat2
		// hides its flags too.
		{unix.SYS_OPENAT, unix.EACCES, []cond{bits(2, writing, 0)}},
		// Unix stream sockets only. EACCES and not EAFNOSUPPORT: on that one the
		// engine says OK to CONFIG SET port though nothing listens.
		{unix.SYS_SOCKET, unix.EACCES, []cond{is(0, unix.AF_UNIX), bits(1, socketKind, unix.SOCK_STREAM)}},
		{unix.SYS_SENDTO, unix.EPERM, whole(4, 0)}, // no address
		// What an engine sets on its sockets, and asks of them. Refused is above all to
		// give the kernel a program to run on each packet (SO_ATTACH_FILTER and its kin),
		// and a descriptor of the peer's process (SO_PEERPIDFD). A unix socket answers
		// options of TCP with EOPNOTSUPP itself.
		{unix.SYS_SETSOCKOPT, unix.EOPNOTSUPP, []cond{is(1, unix.SOL_SOCKET), is(2, unix.SO_REUSEADDR, unix.SO_KEEPALIVE, unix.SO_RCVTIMEO, unix.SO_SNDTIMEO)}},
		{unix.SYS_GETSOCKOPT, unix.EOPNOTSUPP, []cond{is(1, unix.SOL_SOCKET), is(2, unix.SO_ERROR, unix.SO_TYPE)}},
		// Never writable and executable at once or in turn.
		{unix.SYS_MMAP, unix.EACCES, []cond{bits(2, unix.PROT_WRITE|unix.PROT_EXEC, unix.PROT_NONE, unix.PROT_WRITE, unix.PROT_EXEC)}},
		{unix.SYS_MPROTECT, unix.EACCES, []cond{bits(2, unix.PROT_EXEC, 0)}},
		// Itself only.
		{unix.SYS_KILL, unix.EPERM, []cond{is(0, self)}},
		{unix.SYS_TGKILL, unix.EPERM, []cond{is(0, self)}},
		{unix.SYS_PRLIMIT64, unix.EPERM, []cond{is(0, 0)}},
		{unix.SYS_SCHED_SETAFFINITY, unix.EPERM, []cond{is(0, 0)}},
		// Flags of descriptors; not F_SETOWN, which sends signals to others.
		{unix.SYS_FCNTL, unix.EINVAL, []cond{is(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL)}},
		// Not PR_SET_NAME: every user of the host reads a thread's name, and engines
		// don't mind being refused theirs.
		{unix.SYS_PRCTL, unix.EINVAL, []cond{is(0, unix.PR_SET_THP_DISABLE)}},
		{unix.SYS_IOCTL, unix.ENOTTY, []cond{is(1, unix.TCGETS, fionbio)}},
	}
}
