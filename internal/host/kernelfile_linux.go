package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// kernelFile reads a file below /proc or /sys. That one isn't there says something of the
// kernel only where the kernel's file system is, which a chroot or a container may lack;
// and what a program answers in the kernel's place (lxcfs, by FUSE) says nothing of it.
func kernelFile(path string) (text []byte, known bool, err error) {
	for at := path; ; at = filepath.Dir(at) {
		var on unix.Statfs_t
		err := unix.Statfs(at, &on)
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil:
			return nil, false, fmt.Errorf("%s: %w", at, err)
		case on.Type == unix.FUSE_SUPER_MAGIC:
			return nil, false, fmt.Errorf("%s is answered by a program (FUSE), and not by the kernel", at)
		case at == path:
			text, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) { // it has gone since
				return nil, false, nil
			}
			return text, err == nil, err
		case on.Type == unix.PROC_SUPER_MAGIC || on.Type == unix.SYSFS_MAGIC:
			return nil, false, nil
		default:
			return nil, false, fmt.Errorf("%s isn't there, and neither is the kernel's file system that would have it", path)
		}
	}
}
