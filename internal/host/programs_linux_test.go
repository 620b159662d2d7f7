package host

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestProgramsWithALinkOfTheirOwnAreSeen, which ip and tc don't list. It attaches real
// ones, in a network namespace of its own, and needs root.
func TestProgramsWithALinkOfTheirOwnAreSeen(t *testing.T) {
	if err := lab.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		seen := func() []string {
			list, err := PacketPrograms(t.Context())
			if err != nil {
				t.Error(err)
			}
			return list
		}
		if list := seen(); len(list) > 0 {
			t.Errorf("in a new network namespace: %q", list)
		}
		lo, err := net.InterfaceByName("lo")
		if err != nil {
			return err
		}
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer own.Close()
		for _, p := range []struct {
			of, at, target uint32
			returns        int32
			want           string
		}{
			{unix.BPF_PROG_TYPE_SCHED_CLS, attachedTCXIngress, uint32(lo.Index), -1, "lo: tcx, ingress: 1 programs"},
			{unix.BPF_PROG_TYPE_SK_LOOKUP, attachedSKLookup, uint32(own.Fd()), 1, "sk_lookup: 1 programs"},
		} {
			link, err := attach(p.of, p.at, p.target, p.returns)
			if err != nil {
				t.Errorf("%s: %v", p.want, err)
				continue
			}
			if list := seen(); !slices.Equal(list, []string{p.want}) {
				t.Errorf("%q, want %q", list, p.want)
			}
			unix.Close(link)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// attach loads a program that returns a number, and attaches it by a link.
func attach(of, at, target uint32, returns int32) (link int, err error) {
	program := []struct {
		op, registers uint8
		offset        int16
		value         int32
	}{{op: unix.BPF_ALU64 | unix.BPF_MOV, value: returns}, {op: unix.BPF_JMP | unix.BPF_EXIT}}
	license := []byte("GPL\x00")
	load := struct {
		kind, count       uint32
		program, license  uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
		name              [16]byte
		iface, attachedTo uint32
	}{
		kind: of, count: uint32(len(program)), attachedTo: at,
		program: uint64(uintptr(unsafe.Pointer(&program[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, errno := uintptr(0), unix.EAGAIN
	for errno == unix.EAGAIN { // a signal interrupts the kernel's verifier, and Go's scheduler sends some
		fd, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	}
	runtime.KeepAlive(program)
	runtime.KeepAlive(license)
	if errno != 0 {
		return 0, fmt.Errorf("load: %w", errno)
	}
	defer unix.Close(int(fd))
	create := struct{ program, target, kind, flags uint32 }{uint32(fd), target, at, 0}
	made, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_LINK_CREATE, uintptr(unsafe.Pointer(&create)), unsafe.Sizeof(create))
	if errno != 0 {
		return 0, fmt.Errorf("attach: %w", errno)
	}
	return int(made), nil
}
