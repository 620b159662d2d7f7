package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"github.com/redoubt-cache/redoubt/internal/sandbox"
)

// ownUser is the user that a package's installation makes for the engine.
const ownUser = "redoubt-engine"

// An identity is whom the engine runs as; -1 keeps our own.
type identity struct{ uid, gid int }

// lent says whether uid is one that an earlier run of ours may have drawn.
func (id identity) lent(uid int) bool {
	return sandbox.Dynamic(id.uid) && sandbox.Dynamic(uid)
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
		uid, err := sandbox.FreeUID()
		if err != nil {
			return identity{}, unable("%w", err)
		}
		return identity{uid, uid}, nil
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
