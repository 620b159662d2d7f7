package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// archAllowed holds the older forms, which libc and the engines still use here.
var archAllowed = []int{
	unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_UNLINK,
	unix.SYS_DUP2, unix.SYS_PIPE, unix.SYS_TIME,
	unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_SELECT,
	unix.SYS_ARCH_PRCTL, // the thread pointer
}

var archConditional = []rule{
	{unix.SYS_OPEN, unix.EACCES, []cond{bits(1, writing, 0)}},
}

var archForbidden = []int{
	unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_CREAT, unix.SYS_RENAME, unix.SYS_MKDIR, unix.SYS_RMDIR,
	unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_CHMOD,
}

// What a part of ours takes of the older forms: the thread pointer, and what the dynamic
// linker of a build with cgo calls.
var partArchAllowed = []int{unix.SYS_ARCH_PRCTL, unix.SYS_ACCESS, unix.SYS_STAT, unix.SYS_READLINK}

var partArchConditional = []rule{
	{unix.SYS_OPEN, unix.EACCES, []cond{bits(1, writing, 0)}},
}
