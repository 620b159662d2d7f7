//go:build linux

package sandbox

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEachSystemCallHasOneRule: in a list of comparisons the first wins, so a
// second one would be a lie to its reader.
func TestEachSystemCallHasOneRule(t *testing.T) {
	for name, policy := range policies(1, execKey{}) {
		numbers := slices.Concat(policy.allowed, policy.forbidden)
		for _, r := range policy.conditional {
			numbers = append(numbers, r.nr)
		}
		slices.Sort(numbers)
		for i := 1; i < len(numbers); i++ {
			if numbers[i] == numbers[i-1] {
				t.Errorf("%s: system call %d stands in the tables twice", name, numbers[i])
			}
		}
	}
}

// policies are all that there are.
func policies(pid int, key execKey) map[string]tables {
	return map[string]tables{"engine": ofEngine(pid, key), "part": ofPart(pid, key, false), "part that writes": ofPart(pid, key, true)}
}

// TestFilterEndsEveryWayInAVerdict follows each jump: forwards, inside the
// program, and a return at its end. The kernel checks the same, but says EINVAL.
func TestFilterEndsEveryWayInAVerdict(t *testing.T) {
	for name, policy := range policies(1, newExecKey()) {
		code := filter(policy)
		if len(code) > 4096 { // BPF_MAXINSNS
			t.Errorf("%s: %d instructions, the kernel takes 4096", name, len(code))
		}
		for i, ins := range code {
			if ins.Code&7 == unix.BPF_JMP && i+1+int(max(ins.Jt, ins.Jf)) >= len(code) {
				t.Errorf("%s: instruction %d jumps out of the program", name, i)
			}
		}
		if last := code[len(code)-1]; last != refuse(policy.unknown) {
			t.Errorf("%s: the program ends in %+v, want the default refusal", name, last)
		}
	}
}

// run is the part of the kernel's interpreter that the filter uses: the
// verdict for one system call.
func run(code []unix.SockFilter, arch uint32, nr int, args ...uint64) uint32 {
	data := [16]uint32{offsetNr / 4: uint32(nr), offsetArch / 4: arch}
	for i, arg := range args {
		data[offsetArgs/4+2*i], data[offsetArgs/4+2*i+1] = uint32(arg), uint32(arg>>32)
	}
	var accumulator uint32
	for pc := 0; ; pc++ {
		ins := code[pc]
		var holds bool
		switch ins.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			accumulator = data[ins.K/4]
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			accumulator &= ins.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return ins.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			holds = accumulator == ins.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			holds = accumulator >= ins.K
		default:
			panic("an instruction the filter does not use")
		}
		if holds {
			pc += int(ins.Jt)
		} else {
			pc += int(ins.Jf)
		}
	}
}

const (
	allow = unix.SECCOMP_RET_ALLOW
	kill  = unix.SECCOMP_RET_KILL_PROCESS
	eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
)

// TestExecNeedsTheWholeKey: the probe shows that a wrong key is refused; this
// shows that no half of it is enough.
func TestExecNeedsTheWholeKey(t *testing.T) {
	key := newExecKey()
	for name, policy := range policies(1, key) {
		code := filter(policy)
		if got := run(code, auditArch, unix.SYS_EXECVE, 1, 2, 3, key[0], key[1], key[2]); got != allow {
			t.Errorf("%s with the key: verdict %#x, want to be allowed", name, got)
		}
		for i := range key {
			for bit := range 64 {
				wrong := key
				wrong[i] ^= 1 << bit
				if got := run(code, auditArch, unix.SYS_EXECVE, 1, 2, 3, wrong[0], wrong[1], wrong[2]); got != eperm {
					t.Errorf("%s, word %d, bit %d wrong: verdict %#x, want EPERM", name, i, bit, got)
				}
			}
		}
	}
	if other := newExecKey(); other == key {
		t.Error("two shims have the same key")
	}
}

func TestForeignArchitectureAndX32AreKilled(t *testing.T) {
	code := filter(ofEngine(1, execKey{}))
	for _, arch := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_AARCH64} {
		want := uint32(kill)
		if arch == auditArch {
			want = allow
		}
		if got := run(code, arch, unix.SYS_READ); got != want {
			t.Errorf("architecture %#x: verdict %#x, want %#x", arch, got, want)
		}
	}
	if got := run(code, auditArch, x32Bit|unix.SYS_READ); got != kill {
		t.Errorf("x32: verdict %#x, want to be killed", got)
	}
}

// TestOfSocketOptionsOnlyAFewAreOpen: an allow-list, whatever a kernel will bring.
func TestOfSocketOptionsOnlyAFewAreOpen(t *testing.T) {
	code := filter(ofEngine(1, execKey{}))
	for nr, want := range map[int][]uint64{
		unix.SYS_SETSOCKOPT: {unix.SO_REUSEADDR, unix.SO_KEEPALIVE, unix.SO_RCVTIMEO, unix.SO_SNDTIMEO},
		unix.SYS_GETSOCKOPT: {unix.SO_TYPE, unix.SO_ERROR},
	} {
		for level := range uint64(300) {
			for name := range uint64(200) {
				open := level == unix.SOL_SOCKET && slices.Contains(want, name)
				if got := run(code, auditArch, nr, 3, level, name); (got == allow) != open {
					t.Fatalf("call %d, level %d, option %d: verdict %#x, want open %v", nr, level, name, got, open)
				}
			}
		}
	}
}

// TestNoHighBitsSlipThrough: where the kernel takes a pointer, all 64 bits
// count; where it takes an int, it drops the high half and so does the filter.
func TestNoHighBitsSlipThrough(t *testing.T) {
	const high = 1 << 40
	code := filter(ofEngine(4711, execKey{}))
	for _, c := range []struct {
		what string
		nr   int
		args []uint64
		ok   bool
	}{
		{"send to nobody", unix.SYS_SENDTO, []uint64{5, 1, 1, 0, 0, 0}, true},
		{"send to an address above 4 GiB", unix.SYS_SENDTO, []uint64{5, 1, 1, 0, high, 16}, false},
		{"a signal to itself", unix.SYS_KILL, []uint64{4711, 9}, true},
		{"a signal to all", unix.SYS_KILL, []uint64{1<<64 - 1, 9}, false},
		{"a signal to its group", unix.SYS_KILL, []uint64{0, 9}, false},
		{"open for reading", unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY | unix.O_CLOEXEC}, true},
		{"open with both access bits", unix.SYS_OPENAT, []uint64{0, 0, unix.O_ACCMODE}, false},
		{"a thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, true},
		{"a thread in a new network", unix.SYS_CLONE, []uint64{unix.CLONE_THREAD | unix.CLONE_NEWNET}, false},
		{"a stream socket, non-blocking", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC}, true},
		{"a sequenced packet socket", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, false},
		{"keep a connection alive", unix.SYS_SETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_KEEPALIVE}, true},
		{"an option of another level", unix.SYS_SETSOCKOPT, []uint64{5, unix.SOL_UDP, unix.SO_KEEPALIVE}, false},
		{"a filter on a socket", unix.SYS_SETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}, false},
		{"a filter on a socket, with high bits", unix.SYS_SETSOCKOPT, []uint64{5, high | unix.SOL_SOCKET, high | unix.SO_ATTACH_FILTER}, false},
		{"a socket's error", unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_ERROR}, true},
		{"a socket's filter", unix.SYS_GETSOCKOPT, []uint64{5, unix.SOL_SOCKET, unix.SO_GET_FILTER}, false},
		{"readable code", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, true},
		{"writable code", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_WRITE | unix.PROT_EXEC}, false},
	} {
		if got := run(code, auditArch, c.nr, c.args...); (got == allow) != c.ok {
			t.Errorf("%s: verdict %#x, want allowed %v", c.what, got, c.ok)
		}
	}
}
