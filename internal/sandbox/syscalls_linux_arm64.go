package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// arm64 came late and has none of the older forms: no open, stat, pipe, dup2,
// epoll_wait, fork.
var (
	archAllowed     []int
	archConditional []rule
	archForbidden   []int

	partArchAllowed     []int
	partArchConditional []rule
)
