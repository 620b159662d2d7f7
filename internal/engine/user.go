package engine

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

// ownUser is the user that a package's installation makes for the engine.
const ownUser = "redoubt-engine"

// The range that systemd gives out to DynamicUser= (systemd.exec(5)): no user
// database has entries there, so a uid of it owns no file and no process.
const (
	firstDynamicUID = 61184
	lastDynamicUID  = 65519
)

// An identity is whom the engine runs as; -1 keeps our own.
type identity struct{ uid, gid int }

// lent says whether uid is one that an earlier run of ours may have drawn.
func (id identity) lent(uid int) bool {
	return id.uid >= firstDynamicUID && uid >= firstDynamicUID && uid <= lastDynamicUID
}

// chooseIdentity picks the engine's user. As root it is never root: with the
// same uid a taken engine could signal and trace us.
func chooseIdentity(name string) (identity, error) {
	if os.Geteuid() != 0 {
		if name != "" {
			if own, err := user.Current(); err != nil || (own.Username != name && own.Uid != name) {
				return identity{}, unable("only root can run the engine as user %q: start as root, or leave engine.user out", name)
			}
		}
		return identity{-1, -1}, nil
	}
	if name != "" {
		return identityOf(name)
	}
	id, err := identityOf(ownUser)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) || errors.Is(err, fs.ErrNotExist) { // a container may have no /etc/passwd at all
		return freeIdentity()
	}
	return id, err
}

// identityOf looks a user up by name or number.
func identityOf(name string) (identity, error) {
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		if byID, idErr := user.LookupId(name); idErr == nil {
			u, err = byID, nil
		}
	}
	if err != nil {
		return identity{}, unable("the engine's user %q: %w (create it, or leave engine.user out)", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return identity{}, fmt.Errorf("engine: user %q: uid %q is no number", name, u.Uid)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return identity{}, fmt.Errorf("engine: user %q: gid %q is no number", name, u.Gid)
	}
	if uid == 0 || gid == 0 {
		return identity{}, fmt.Errorf("engine: the engine must not run as root: set engine.user to a user of its own, or leave it out")
	}
	return identity{uid, gid}, nil
}

// FreeUID is a uid that nobody uses now.
func FreeUID() (int, error) {
	id, err := freeIdentity()
	return id.uid, err
}

// freeIdentity draws a uid of systemd's dynamic range that nobody uses now.
func freeIdentity() (identity, error) {
	const tries = 64
	for range tries {
		uid := firstDynamicUID + rand.IntN(lastDynamicUID-firstDynamicUID+1)
		used, err := uidInUse(uid)
		if err != nil {
			return identity{}, fmt.Errorf("engine: look for a free uid: %w", err)
		}
		if !used {
			return identity{uid, uid}, nil
		}
	}
	return identity{}, unable("no free uid between %d and %d found: create the user %s", firstDynamicUID, lastDynamicUID, ownUser)
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
