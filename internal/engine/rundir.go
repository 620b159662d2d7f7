package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longestSocketPath is what fits into sockaddr_un, with its final NUL: unix(7).
const longestSocketPath = 107

// A runDir is the engine's working directory. It belongs to the engine's user,
// nobody else may enter it, and the socket is all it ever holds.
type runDir struct {
	path string
	made bool // by us, so removed by us
}

func (d runDir) socket() string { return filepath.Join(d.path, socketName) }

// prepareRunDir makes the directory at path, or one of its own if path is
// empty, and hands it to the engine's user.
func prepareRunDir(path string, id identity) (runDir, error) {
	d := runDir{path: path}
	var err error
	if path == "" {
		d.path, err = os.MkdirTemp(runParent(), "redoubt-")
		d.made = true
	} else {
		d.path, err = filepath.Abs(path)
		if err == nil {
			err = os.Mkdir(d.path, 0o700)
			d.made = err == nil
			if errors.Is(err, fs.ErrExist) {
				err = nil
			}
		}
	}
	if err == nil {
		err = d.claim(id)
	}
	if err != nil {
		if d.made {
			os.Remove(d.path)
		}
		return runDir{}, fmt.Errorf("engine: run directory: %w", err)
	}
	return d, nil
}

// runParent is where a run directory of our own is made: in memory, where the
// system has such a place. A unit's is the only one that it may write to
// (systemd.exec(5), RuntimeDirectory=); there may be several.
func runParent() string {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return dir
	}
	return "/tmp"
}

// claim takes the directory over: nobody else's, nothing in it but a socket
// that a killed engine left, mode and owner as they must be. What it looked at
// is what it changes: the directory is held open meanwhile.
func (d runDir) claim(id identity) error {
	if len(d.socket()) > longestSocketPath {
		return fmt.Errorf("%s is too long for a unix socket: its path has %d bytes, at most %d fit; choose a shorter directory",
			d.path, len(d.socket()), longestSocketPath)
	}
	dir, err := os.OpenFile(d.path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() && owner != id.uid && !id.lent(owner) {
		return fmt.Errorf("%s belongs to user %d: it must be ours; remove it or choose another", d.path, owner)
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() != socketName || entry.Type() != fs.ModeSocket {
			return fmt.Errorf("%s is not empty: the engine's directory holds its socket alone; choose an empty one", d.path)
		}
	}
	if err := d.clearSocket(); err != nil {
		return err
	}
	if err := dir.Chmod(runDirMode()); err != nil {
		return err
	}
	if id.uid >= 0 {
		return dir.Chown(id.uid, id.gid)
	}
	return nil
}

// dyingTime is how long an engine that was killed with its parent may take to
// let go of its socket: the kernel frees its memory first.
const dyingTime = 3 * time.Second

// runDirMode lets the engine's group in as well where we couldn't enter otherwise:
// as root that was left few of its powers, and is in that group (our unit).
func runDirMode() fs.FileMode {
	const dacOverride = 1 // capabilities(7)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err == nil && os.Geteuid() == 0 && effective&(1<<dacOverride) == 0 {
				return 0o770
			}
		}
	}
	return 0o700
}

// clearSocket removes the socket that a killed engine left behind; one that
// somebody goes on listening on is another's.
func (d runDir) clearSocket() error {
	if d.listens() {
		return fmt.Errorf("another engine listens on %s: stop it first, or choose another run directory", d.socket())
	}
	if err := os.Remove(d.socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// listens says whether somebody takes a connection and keeps it: the kernel ends
// those that a dying engine took.
func (d runDir) listens() bool {
	conn, err := net.Dial("unix", d.socket())
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(dyingTime))
	n, err := conn.Read(make([]byte, 1))
	return n > 0 || errors.Is(err, os.ErrDeadlineExceeded)
}

// strangers counts what lies in the directory beside the socket: nothing, ever.
func (d runDir) strangers() int {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return 0 // gone, and all with it
	}
	n := 0
	for _, entry := range entries {
		if entry.Name() != socketName {
			n++
		}
	}
	return n
}

// remove ends the directory's life. It was empty when we took it, so whatever
// is in it is the engine's, may be patient data, and goes.
func (d runDir) remove() error {
	entries, err := os.ReadDir(d.path)
	faults := []error{err}
	for _, entry := range entries {
		faults = append(faults, os.RemoveAll(filepath.Join(d.path, entry.Name())))
	}
	if d.made {
		faults = append(faults, os.Remove(d.path))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("engine: run directory: %w", err)
	}
	return nil
}
