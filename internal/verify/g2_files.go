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
	Title:      "Keys and passwords in files are readable by their owner alone, and nobody else can change what we go by",
	Why:        "A key that another user of the host can read is everybody's. Whoever can write the configuration, the digests of passwords, or a directory on the way to them, decides who gets in.",
	Mend:       "chmod 600 a secret, chmod go-w another file or a directory, and chown it to root or the user of the role. Replace the secret if others may have seen it (redoubt secret rotate, redoubt join).",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.308(a)(5)(ii)(D)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 AC-6"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		var secrets, trusted []string
		if t.Cache != nil {
			secrets, trusted = append(secrets, t.Cache.Secrets...), append(trusted, t.Cache.Trusted...)
		}
		if t.App != nil {
			secrets, trusted = append(secrets, t.App.Secrets...), append(trusted, t.App.Trusted...)
		}
		for _, group := range []struct {
			paths     []string
			forbidden fs.FileMode
		}{{secrets, 0o077}, {trusted, 0o022}} {
			for _, path := range group.paths {
				info, err := os.Stat(path)
				if errors.Is(err, fs.ErrPermission) {
					return n.Skip("%s can't be looked at by this user (sudo redoubt verify)", path)
				}
				if err != nil {
					return n.Fail("%v", err)
				}
				n.Saw("%s %s uid %d", info.Mode(), path, ownerOf(info))
				if err := ownersAlone(path, info, group.forbidden); err != nil {
					return n.Fail("%v", err)
				}
			}
		}
		return n.Pass("files with a secret: %d, others that we go by: %d", len(secrets), len(trusted))
	},
}

// ownersAlone says why others have a right to a file that is forbidden to them, or
// could exchange it in a directory on the way.
func ownersAlone(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	owner := ownerOf(info)
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&forbidden != 0:
		return fmt.Errorf("other users have rights to %s that they mustn't have (mode %04o)", path, info.Mode().Perm())
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
