package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var secretsAreTheirOwners = Check{
	ID: "RD-208", Goal: evidence.Access, From: OnBoth, Cheap: true,
	Title:      "Keys and passwords in files are readable by their owner alone, and nobody else can change what we go by",
	Why:        "A key that another user of the host can read is everybody's. Whoever can write the configuration, the digests of passwords, or a directory on the way to them, decides who gets in.",
	Mend:       "chmod 600 a secret, chmod go-w another file or a directory, and chown it to root or the user of the role. Replace the secret if others may have seen it (redoubt secret rotate, redoubt join).",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 AC-6"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		var secrets, trusted []string
		if t.Cache != nil {
			secrets, trusted = append(secrets, t.Cache.Secrets...), append(trusted, t.Cache.Trusted...)
		}
		if t.App != nil {
			secrets, trusted = append(secrets, t.App.Secrets...), append(trusted, t.App.Trusted...)
		}
		others := len(trusted)
		owners, err := t.owners()
		if err != nil {
			return n.Skip("which users the roles run as is not known: %v", err)
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
		for _, path := range trusted {
			if err := noSecretForOthers(path); err != nil {
				return n.Fail("%v", err)
			}
		}
		// The password's file may be the application's own user's; what gateway and
		// sidecar go by is nobody's but theirs.
		for _, h := range t.hosts() {
			trusted = append(trusted, named(h.files.Certificate, h.files.Key)...)
		}
		for _, path := range trusted {
			info, err := os.Stat(path)
			if err != nil {
				return n.Fail("%v", err)
			}
			if owner := ownerOf(info); owners != nil && !slices.Contains(owners, owner) {
				return n.Fail("%s belongs to uid %d, who is neither root nor the user of the role", path, owner)
			}
		}
		return n.Pass("files with a secret: %d, others that we go by: %d", len(secrets), others)
	},
}

var noSecretLiesOpen = Check{
	ID: "RD-214", Goal: evidence.Access, From: OnBoth, OfHost: true,
	Title:      "No private key and no Redis password lies in /etc for everybody to read",
	Why:        "A key or password of an earlier set-up, of a tunnel or of a Redis that was locked down by hand, often still opens something.",
	Mend:       "Remove what is left of the earlier set-up, or chmod 600 it; and replace the secret, since every user of the host could read it.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 AC-6"},
	Needs:      []Need{needRoot},
	Run: func(_ context.Context, _ *Target, n *Notes) Finding {
		found, looked, left, err := host.Strewn("/etc")
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("/etc: %d files that everybody can read, of which %d hold a secret", looked, len(found))
		for _, path := range found {
			n.Saw("%s holds a secret, and everybody can read it", path)
		}
		for _, what := range left {
			n.Saw("not looked at: %s", what)
		}
		switch {
		case len(found) > 0:
			return n.Fail("%s holds one", found[0])
		case len(left) > 0:
			return n.Skip("not all of /etc was looked at: %s", left[0])
		}
		return n.Pass("none of %d files that everybody can read has one", looked)
	},
}

// noSecretForOthers says why a file that everybody may read mustn't be read: a
// certificate's may hold its key too, whatever the configuration calls the key's.
func noSecretForOthers(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o044 == 0 {
		return err
	}
	secret, err := host.HoldsSecret(path)
	if err == nil && secret {
		err = fmt.Errorf("%s holds a secret, and other users can read it (mode %04o)", path, info.Mode().Perm())
	}
	return err
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
	return host.Exchangeable(path, owner)
}

// owners are root and the users that the roles run as; nil where none runs, so that
// nobody knows.
func (t *Target) owners() (uids []int, err error) {
	for _, p := range t.roles() {
		status, err := p.status()
		if err != nil {
			return nil, err
		}
		real, _, _ := strings.Cut(status["Uid"], "\t") // proc(5): real, effective, saved, file system
		uid, err := strconv.Atoi(real)
		if err != nil {
			return nil, fmt.Errorf("%s: Uid: %w", p.path("status"), err)
		}
		uids = append(uids, 0, uid)
	}
	return uids, nil
}

// named leaves out what has no name.
func named(paths ...string) []string {
	return slices.DeleteFunc(paths, func(p string) bool { return p == "" })
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func groupOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Gid)
	}
	return -1
}
