package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The range that systemd gives out to DynamicUser= (systemd.exec(5)): no user
// database has entries there, so a uid of it owns no file and no process.
const (
	firstDynamicUID = 61184
	lastDynamicUID  = 65519
)

// Dynamic says whether FreeUID may have drawn a uid.
func Dynamic(uid int) bool { return uid >= firstDynamicUID && uid <= lastDynamicUID }

// UserOf is whom a part of ours runs as: the user that a package's installation made for
// it; where there is none, one that nobody is. Only root can become another one: else
// both are -1, and the part keeps the caller's user.
func UserOf(name string) (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return -1, -1, nil
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist) { // a container may have no /etc/passwd at all
		uid, err = FreeUID()
		return uid, uid, err
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user %s: %w", name, err)
	}
	uid, err = strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err, err2); err != nil {
		return 0, 0, fmt.Errorf("user %s: %w", name, err)
	}
	if uid == 0 || gid == 0 {
		return 0, 0, fmt.Errorf("user %s is root, or in root's group: it must be one of its own (remove it, and systemd-sysusers makes it anew)", name)
	}
	return uid, gid, nil
}

// FreeUID draws a uid of systemd's dynamic range that nobody uses now.
func FreeUID() (int, error) {
	const tries = 64
	for range tries {
		uid := firstDynamicUID + rand.IntN(lastDynamicUID-firstDynamicUID+1)
		used, err := uidInUse(uid)
		if err != nil {
			return 0, fmt.Errorf("look for a free uid: %w", err)
		}
		if !used {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("no free uid between %d and %d found: create the users redoubt-engine and redoubt-front (systemd-sysusers)", firstDynamicUID, lastDynamicUID)
}

// uidInUse asks the user database, systemd's record of the dynamic users it
// has given out, and the processes there are.
func uidInUse(uid int) (bool, error) {
	number := strconv.Itoa(uid)
	if _, err := user.LookupId(number); err == nil {
		return true, nil
	}
	if _, err := os.Lstat(filepath.Join("/run/systemd/dynamic-uid", number)); err == nil {
		return true, nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		// Not the directory's owner: of a process that isn't dumpable that is root.
		status, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "status"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return false, err
		}
		_, uids, _ := strings.Cut(string(status), "\nUid:")
		uids, _, _ = strings.Cut(uids, "\n")
		if slices.Contains(strings.Fields(uids), number) { // real, effective, saved, of the file system
			return true, nil
		}
	}
	return false, nil
}
