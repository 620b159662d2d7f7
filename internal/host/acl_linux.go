package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// AccessList says whether a file gives rights to single users or groups (acl(5)), which
// its mode shows as the group's.
func AccessList(path string) (bool, error) {
	n, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return n > 0, nil
}
