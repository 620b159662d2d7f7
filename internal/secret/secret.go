// Package secret is the files of the application's password, and how one
// password follows another.
//
// Two files belong to it: the digests file, which the gateway believes (package
// password is its form), and app.env, from which the application takes the
// password as REDIS_URL; a deployment of "redoubt up" keeps a third, the
// password alone. The commands under "redoubt secret" and package up call
// Create, Rotate, Retire and List; a running gateway follows its digests file
// with Follow.
//
// What it guarantees:
//   - Each file is the old one or the new one, whole (statedir.WriteFile). A
//     rotation that is cut anywhere leaves the application with a password that
//     the gateway takes and that has no end; to run it again is all that is to do.
//   - Nobody loses a password by a damaged file: a digests file that is gone,
//     half-written, or open to others is refused, and the last good one stays.
//   - No password is ever printed or in an error.
//
// Its tests cut a rotation behind each write and kill it at any moment, and give
// a follower everything that is not a digests file.
package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxDigests bounds the digests file: passwords.Most lines are far below.
const maxDigests = 4 << 10

// Files is where a deployment keeps what belongs to its password.
type Files struct {
	Digests  string // what the gateway believes
	AppEnv   string // what the application is given
	Password string // the password alone; "": it is not kept
	Address  string // HOST:PORT of the sidecar, for an AppEnv that is yet to be made
	Private  bool   // Digests is for its owner only, as all of its directory
}

// Create makes the first password. Files that are there are never replaced.
func (f Files) Create() error {
	for _, path := range []string{f.AppEnv, f.Digests} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is already there: a password in use is not overwritten (redoubt secret rotate replaces one; or choose another --out)", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(f.AppEnv), 0o700); err != nil {
		return err
	}
	fresh := statedir.NewPassword()
	if err := statedir.WriteFile(f.AppEnv, appEnv(fresh, f.Address), 0o600); err != nil {
		return err
	}
	return f.write(passwords.Set{}.With(passwords.Of([]byte(fresh))))
}

// Read is the digests file's set.
func Read(digests string) (passwords.Set, error) {
	data, err := statedir.ReadTrusted(digests, maxDigests, "digests file")
	if err != nil {
		return nil, err
	}
	set, err := passwords.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", digests, err)
	}
	return set, nil
}

func (f Files) write(set passwords.Set) error {
	if err := set.Check(); err != nil {
		return fmt.Errorf("%s: %w", f.Digests, err)
	}
	mode := os.FileMode(0o644) // public, as digests are
	if f.Private {
		mode = 0o600
	}
	return statedir.RewriteFile(f.Digests, set.Format(), mode)
}

// Enter sees to it that the digests file has the password that the deployment
// keeps: makes it, where there is none yet.
func (f Files) Enter(pw string) error {
	digest := passwords.Of([]byte(pw))
	set, err := Read(f.Digests)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if until, has := set.Has(digest); has && until.IsZero() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Digests), 0o700); err != nil {
		return err
	}
	return f.write(set.Without(digest).With(digest))
}

// A Listed is a password as it is shown to people.
type Listed struct {
	Name  string     `json:"name"` // the beginning of its digest
	Until *time.Time `json:"until,omitempty"`
	Ended bool       `json:"ended"`
}

// List is the passwords of the digests file.
func (f Files) List(now time.Time) ([]Listed, error) {
	set, err := Read(f.Digests)
	if err != nil {
		return nil, err
	}
	var list []Listed
	for _, e := range set {
		l := Listed{Name: e.Digest.Name()}
		if !e.Until.IsZero() {
			l.Until, l.Ended = &e.Until, !now.Before(e.Until)
		}
		list = append(list, l)
	}
	return list, nil
}
