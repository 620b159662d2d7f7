// Package statedir is the directory of a deployment on one machine: where its
// files lie, how they are written, and who may hold it.
//
// "redoubt up" opens one with Open, which creates it (0700) and takes its lock,
// so that two processes never run on the same state. The commands that make or
// read single secrets use WriteFile, ReadSecret and NewPassword directly; package
// secret visits a deployment that runs with Visit.
//
// It guarantees that a file is either the old one or the new one, whole, also
// when power fails (write, fsync, rename, fsync of the directory), and that a
// secret which others can read is not used. It never prints a secret.
//
// Its tests kill a writer at each step, and try every mode of a secret's file.
package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Dir is an opened deployment directory. Its layout is the methods below; the
// CA's key lies apart from what gateway and sidecar read (certificates section
// of docs/architecture.md).
type Dir struct {
	path string
	lock *os.File
}

// ErrInUse says that another process holds the directory.
var ErrInUse = errors.New("already in use by another redoubt process")

// Default is where "redoubt up" keeps its state when nobody says: the user's
// state directory (XDG Base Directory Specification, $XDG_STATE_HOME).
func Default() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "redoubt"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the state: %w (set --dir)", err)
	}
	return filepath.Join(home, ".local", "state", "redoubt"), nil
}

// Open creates the directory if it isn't there and locks it until Close.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w (choose another --dir)", err)
	}
	if err := ownedAndPrivate(path); err != nil {
		return nil, err
	}
	lock, err := Lock(filepath.Join(path, "lock"), 0)
	if errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("state directory %s: %w (stop it, or choose another --dir)", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return &Dir{path: path, lock: lock}, nil
}

// Visit is for commands that change a deployment which may be running: where
// another process holds the directory they get it all the same, and are told.
// It must be there already.
func Visit(path string) (d *Dir, running bool, err error) {
	unlocked, err := At(path)
	if err != nil {
		return nil, false, err
	}
	d, err = Open(path)
	if errors.Is(err, ErrInUse) { // Open has looked at its owner and mode by then
		return unlocked, true, nil
	}
	return d, false, err
}

// At is for who only looks: root at another user's deployment, for instance. It takes
// no lock and asks nothing of the directory but that it is there.
func At(path string) (*Dir, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("state directory: %w (redoubt up makes it)", err)
	}
	path, err := filepath.Abs(path)
	return &Dir{path: path}, err
}

// ownedAndPrivate refuses a directory in which somebody else could exchange
// our files.
func ownedAndPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("state directory: %s is not a directory", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("state directory: %s belongs to uid %d, not to us (uid %d): choose another --dir", path, st.Uid, os.Geteuid())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("state directory: %s is open to other users (mode %04o): run chmod 700 %s, or choose another --dir", path, info.Mode().Perm(), path)
	}
	return nil
}

// Close gives the directory back.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Path is the directory's own absolute path.
func (d *Dir) Path() string { return d.path }

// CA holds ca.crt and ca.key: read when a certificate is issued, by nothing
// that listens.
func (d *Dir) CA() string { return filepath.Join(d.path, "ca") }

// Gateway holds the gateway's certificate, its key and the digest of the
// application's password.
func (d *Dir) Gateway() string { return filepath.Join(d.path, "gateway") }

// Sidecar holds the application host's certificate and key.
func (d *Dir) Sidecar() string { return filepath.Join(d.path, "sidecar") }

// AdminSocket is where, in the directory, the process that holds it answers
// "redoubt status".
const AdminSocket = "admin.sock"

// AppEnv is what the application is given: REDIS_URL with its password.
func (d *Dir) AppEnv() string { return filepath.Join(d.path, "app.env") }

// Digests holds the digests of the passwords that are good: what the gateway
// believes.
func (d *Dir) Digests() string { return filepath.Join(d.Gateway(), "password.sha256") }

// Password holds the application's password between runs.
func (d *Dir) Password() string { return filepath.Join(d.path, "app.password") }
