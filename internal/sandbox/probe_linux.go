//go:build amd64 || arm64

package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Probe asks the kernel what a program started now by this process would get.
// It changes nothing. What can't be found out counts as missing.
func Probe() Report {
	abi, err := landlockABI()
	if err != nil {
		abi = 0
	}
	_, mdweErr := unix.PrctlRetInt(unix.PR_GET_MDWE, 0, 0, 0, 0)
	return Report{
		Landlock:   abi,
		Seccomp:    canFilter(),
		MDWE:       mdweErr == nil,
		Namespaces: canIsolate(),
	}
}

func canFilter() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

func canIsolate() bool {
	may, err := holds(unix.CAP_SYS_ADMIN)
	if err != nil || !may {
		return false
	}
	for _, kind := range []string{"net", "ipc", "uts"} {
		if unix.Access("/proc/self/ns/"+kind, unix.F_OK) != nil {
			return false // left out of this kernel
		}
	}
	return true
}
