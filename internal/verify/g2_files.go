package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var secretsAreTheirOwners = Check{
	ID: "RD-208", Goal: evidence.Access, From: OnBoth, Cheap: true,
	Title:      "Every key and password in a file is readable by its owner alone, and its directories are nobody else's to change",
	Why:        "A key that another user of the host can read is everybody's; one in a directory that others can write to can be exchanged.",
	Mend:       "chmod 600 the file, and chown it to root or the user of the role; chmod go-w the directory. Replace the secret if others may have seen it (redoubt secret rotate, redoubt join).",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.308(a)(5)(ii)(D)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 AC-6"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		var paths []string
		if t.Cache != nil {
			paths = append(paths, t.Cache.Secrets...)
		}
		if t.App != nil {
			paths = append(paths, t.App.Secrets...)
		}
		if len(paths) == 0 {
			return n.Skip("the configuration names no file with a secret")
		}
		seen := 0
		for _, path := range paths {
			info, err := os.Lstat(path)
			if errors.Is(err, fs.ErrPermission) {
				return n.Skip("%s can't be looked at by this user (sudo redoubt verify)", path)
			}
			if err != nil {
				return n.Fail("%v", err)
			}
			n.Saw("%s %s uid %d", info.Mode(), path, ownerOf(info))
			if err := private(path, info); err != nil {
				return n.Fail("%v", err)
			}
			seen++
		}
		return n.Pass("files with a secret: %d, each its owner's alone", seen)
	},
}

// private says why a secret's file, or a directory on the way to it, is not.
func private(path string, info fs.FileInfo) error {
	owner := ownerOf(info)
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s can be read or written by other users (mode %04o)", path, info.Mode().Perm())
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		at, err := os.Stat(dir)
		if err != nil {
			return err
		}
		// In a sticky directory, such as /tmp, others can't exchange what isn't theirs.
		if at.Mode().Perm()&0o022 != 0 && at.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("others can write in %s (mode %04o), and so exchange %s", dir, at.Mode().Perm(), path)
		}
		if by := ownerOf(at); by != 0 && by != owner {
			return fmt.Errorf("%s belongs to uid %d, who could exchange %s", dir, by, path)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
