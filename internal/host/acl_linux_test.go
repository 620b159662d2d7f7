package host

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAnAccessListIsSeen, which gives one user the right to read: the mode stays 0640.
func TestAnAccessListIsSeen(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "redoubt-acl-") // tmpfs has them everywhere
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "shadow")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if has, err := AccessList(path); has || err != nil {
		t.Fatalf("without one: %v %v", has, err)
	}
	// Version 2, then tag, rights and id of each entry (linux/posix_acl_xattr.h).
	const nobody = 0xffffffff
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, rights uint16
		id          uint32
	}{{0x01, 6, nobody}, {0x02, 4, 4711}, {0x04, 4, nobody}, {0x10, 4, nobody}, {0x20, 0, nobody}} {
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.rights)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", list, 0); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if has, err2 := AccessList(path); !has || err != nil || err2 != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, mode %04o, %v %v", has, info.Mode().Perm(), err, err2)
	}
}
