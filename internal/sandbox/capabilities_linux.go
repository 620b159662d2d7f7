//go:build amd64 || arm64

package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// holds reports whether this thread has a capability in its effective set.
func holds(capability int) (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false, err
	}
	return sets[capability/32].Effective&(1<<(capability%32)) != 0, nil
}

// dropBoundingSet takes from root, too, what exec would give back to it: a uid 0
// without it is an ordinary user that owns root's files. Without CAP_SETPCAP it
// can't be dropped, and no_new_privs alone keeps capabilities away.
func dropBoundingSet() error {
	may, err := holds(unix.CAP_SETPCAP)
	if err != nil || !may {
		return err
	}
	for capability := uintptr(0); ; capability++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // past the last one that this kernel knows
		}
		if err != nil {
			return fmt.Errorf("capability %d: %w", capability, err)
		}
	}
}

// dropCapabilities empties the effective, permitted, inheritable and ambient
// sets of this thread.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
