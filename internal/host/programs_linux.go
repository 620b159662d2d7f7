package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where programs are attached to (the kernel's include/uapi/linux/bpf.h).
const (
	attachedSKLookup   = 36 // to a network namespace, Linux 5.9
	attachedTCXIngress = 46 // to an interface, Linux 6.6
)

// linkedPrograms are those of this network namespace that are attached by a link of
// their own. It needs CAP_NET_ADMIN.
func linkedPrograms() (list []string, err error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range interfaces {
		n, err := programsAt(uint32(i.Index), attachedTCXIngress)
		if err != nil {
			return nil, fmt.Errorf("programs on %s: %w", i.Name, err)
		}
		if n > 0 {
			list = append(list, fmt.Sprintf("%s: tcx, ingress: %d programs", i.Name, n))
		}
	}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	n, err := programsAt(uint32(own.Fd()), attachedSKLookup)
	if err != nil {
		return nil, fmt.Errorf("programs of the network namespace: %w", err)
	}
	if n > 0 {
		list = append(list, fmt.Sprintf("sk_lookup: %d programs", n))
	}
	return list, nil
}

// programsAt counts the programs at a place of attachment (bpf(2), BPF_PROG_QUERY); a
// kernel that doesn't know the place has none there.
func programsAt(target, kind uint32) (n uint32, err error) {
	query := struct {
		target, kind, flags, attachedFlags uint32
		ids                                uint64
		count, _                           uint32
		_, _, _, _                         uint64
	}{target: target, kind: kind}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_QUERY, uintptr(unsafe.Pointer(&query)), unsafe.Sizeof(query))
	switch {
	case errno == 0:
		return query.count, nil
	case errors.Is(errno, unix.EINVAL), errors.Is(errno, unix.ENOENT), errors.Is(errno, unix.ENOSYS):
		return 0, nil
	case errors.Is(errno, unix.ENODEV): // the interface has gone
		return 0, nil
	}
	return 0, errno
}
