//go:build amd64 || arm64

package sandbox

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file turns the tables of syscalls_linux.go into the kernel's filter
// language (seccomp(2), Documentation/userspace-api/seccomp_filter.rst).
//
// A filter is run for each system call, with its number and six arguments in a
// struct seccomp_data. It is a flat list of comparisons here, each ending in a
// verdict. Calls whose verdict needs no argument cost nothing: the kernel
// (5.11 and later) works it out once and keeps a bitmap.

// rule decides about one system call: allowed when every condition holds,
// else refused with errno.
type rule struct {
	nr    int
	errno unix.Errno
	when  []cond
}

// cond holds when half an argument, masked, is one of the values. Filters
// compare 32 bits at a time; the kernel takes int arguments from the low half.
type cond struct {
	arg  int
	high bool
	mask uint32
	in   []uint32
}

const allBits = ^uint32(0)

// is holds when the argument, an int to the kernel, is one of the values.
func is(arg int, values ...uint32) cond { return cond{arg: arg, mask: allBits, in: values} }

// bits holds when the masked argument is one of the values.
func bits(arg int, mask uint32, values ...uint32) cond {
	return cond{arg: arg, mask: mask, in: values}
}

// whole holds when all 64 bits of the argument are the value.
func whole(arg int, value uint64) []cond {
	return []cond{
		is(arg, uint32(value)),
		{arg: arg, high: true, mask: allBits, in: []uint32{uint32(value >> 32)}},
	}
}

// Offsets in struct seccomp_data {int nr; u32 arch; u64 ip; u64 args[6]}.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
)

// x32Bit marks amd64 calls of the x32 ABI: same architecture, other numbers.
// No call of arm64 is that high.
const x32Bit = 0x40000000

func statement(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }

func load(offset uint32) unix.SockFilter {
	return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset)
}

func verdict(action uint32) unix.SockFilter { return statement(unix.BPF_RET|unix.BPF_K, action) }

func refuse(errno unix.Errno) unix.SockFilter {
	return verdict(unix.SECCOMP_RET_ERRNO | uint32(errno))
}

// jump compares the accumulator with k and skips so many instructions.
func jump(test uint16, k uint32, ifTrue, ifFalse int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jt: uint8(ifTrue), Jf: uint8(ifFalse)}
}

// compile falls through when the condition holds and returns errno when not.
func (c cond) compile(errno unix.Errno) []unix.SockFilter {
	offset := uint32(offsetArgs + 8*c.arg)
	if c.high {
		offset += 4 // both architectures are little-endian
	}
	code := []unix.SockFilter{load(offset)}
	if c.mask != allBits {
		code = append(code, statement(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, c.mask))
	}
	for i, value := range c.in {
		code = append(code, jump(unix.BPF_JEQ, value, len(c.in)-i, 0)) // over the other values and the refusal
	}
	return append(code, refuse(errno))
}

// compile is skipped by other system calls, and ends every way in a verdict.
func (r rule) compile() []unix.SockFilter {
	var body []unix.SockFilter
	for _, c := range r.when {
		body = append(body, c.compile(r.errno)...)
	}
	body = append(body, verdict(unix.SECCOMP_RET_ALLOW))
	return slices.Concat([]unix.SockFilter{jump(unix.BPF_JEQ, uint32(r.nr), 0, len(body))}, body)
}

// tables are what a filter is made of. A call stands in one of them at most.
type tables struct {
	allowed     []int
	conditional []rule
	forbidden   []int
	unknown     unix.Errno // of a call that stands in none of them
}

// ofEngine is the engine's policy.
func ofEngine(pid int, key execKey) tables {
	return tables{
		allowed:     slices.Concat(allowed, archAllowed),
		conditional: slices.Concat(conditional(pid, key), archConditional),
		forbidden:   slices.Concat(forbidden, archForbidden),
		// Unknown here is unknown to the kernel: libc then takes an older way.
		unknown: unix.ENOSYS,
	}
}

// filter is the whole program.
func filter(t tables) []unix.SockFilter {
	code := []unix.SockFilter{
		// Numbers mean other calls in another ABI of the same processor.
		load(offsetArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		verdict(unix.SECCOMP_RET_KILL_PROCESS),
		load(offsetNr),
		jump(unix.BPF_JGE, x32Bit, 0, 1),
		verdict(unix.SECCOMP_RET_KILL_PROCESS),
	}
	for _, nr := range t.allowed {
		code = append(code, rule{nr: nr}.compile()...)
	}
	for _, r := range t.conditional {
		code = append(code, r.compile()...)
	}
	for _, nr := range t.forbidden {
		code = append(code, jump(unix.BPF_JEQ, uint32(nr), 0, 1), refuse(unix.EPERM))
	}
	return append(code, refuse(t.unknown))
}

// installFilter binds the calling thread. There is no way to take it off.
func installFilter(code []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	return errnoOrNil(errno)
}
