package lockdown

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// saved is what was at a path.
type saved struct {
	Part Part        `json:"part"`
	Path string      `json:"path"`
	Kind kind        `json:"kind"`
	Text []byte      `json:"text,omitempty"`
	Link string      `json:"link,omitempty"`
	Mode fs.FileMode `json:"mode,omitempty"`
	UID  int         `json:"uid,omitempty"`
	GID  int         `json:"gid,omitempty"`
	// Dirs are those above it that weren't there, the outermost first.
	Dirs []string `json:"dirs,omitempty"`
}

type kind string

const (
	absent  kind = "absent"
	regular kind = "file"
	symlink kind = "link"
)

// longest is the size of a file that is kept to be put back; ours have a few KB.
const longest = 1 << 20

// save reads what is at a path.
func save(part Part, path string) (saved, error) {
	s := saved{Part: part, Path: path, Kind: absent}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		s.Dirs = append([]string{dir}, s.Dirs...)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, err
	case info.Mode()&fs.ModeSymlink != 0:
		s.Kind = symlink
		s.Link, err = os.Readlink(path)
		return s, err
	case !info.Mode().IsRegular():
		return s, fmt.Errorf("%s is neither a file nor a link: look what it is, and take it away", path)
	}
	s.Kind, s.Mode = regular, info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.UID, s.GID = int(st.Uid), int(st.Gid)
	}
	s.Text, err = statedir.ReadFile(path, longest, "a host's configuration")
	return s, err
}

// restore makes the path what it was, and takes away directories that it needed.
func (s saved) restore() error {
	switch s.Kind {
	case regular:
		if err := put(file{path: s.Path, text: string(s.Text), mode: s.Mode}); err != nil {
			return err
		}
		return os.Chown(s.Path, s.UID, s.GID)
	case symlink:
		return put(file{path: s.Path, link: s.Link})
	}
	for _, path := range []string{s.Path, temporary(s.Path)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i := len(s.Dirs) - 1; i >= 0; i-- {
		if os.Remove(s.Dirs[i]) != nil {
			break // it holds something else by now, or has gone
		}
	}
	return nil
}

// is says whether the path is as the file is to be.
func (s saved) is(f file) bool {
	if f.link != "" {
		return s.Kind == symlink && s.Link == f.link
	}
	return s.Kind == regular && string(s.Text) == f.text && s.Mode == f.mode && s.UID == 0
}

// put makes the path what the file says, in one step.
func put(f file) error {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if f.link == "" {
		return statedir.WriteFile(f.path, []byte(f.text), f.mode)
	}
	temp := temporary(f.path)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(f.link, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, f.path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return statedir.SyncDir(dir)
}

// temporary is what one that was killed may have left beside a path, as statedir
// names it.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), statedir.TempPrefix+filepath.Base(path))
}
