package host

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DiskOf says what a path lies on. A file system that spreads over devices, or lies
// over another (btrfs, overlay), has none of its own: Name is "" then.
func DiskOf(path string) (Disk, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return Disk{}, fmt.Errorf("%s: %w", path, err)
	}
	if fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC {
		return Disk{Device: "memory", Name: "memory", Encrypted: true}, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Disk{}, fmt.Errorf("%s: %w", path, err)
	}
	d := Disk{Device: fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))}
	at := filepath.Join("/sys/dev/block", d.Device)
	if _, err := os.Stat(at); err != nil {
		return d, nil
	}
	d.Name, d.Encrypted = d.Device, encryptedBlock(at, 0)
	if real, err := filepath.EvalSymlinks(at); err == nil {
		d.Name = filepath.Base(real)
	}
	return d, nil
}
