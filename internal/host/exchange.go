package host

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// RootsAlone says why somebody else than root could change a file, or exchange it; nil:
// nobody could.
func RootsAlone(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if by := ownerOf(info); by != 0 {
		return fmt.Errorf("%s belongs to uid %d", path, by)
	}
	if info.Mode().Perm()&0o022 != 0 && !(info.IsDir() && info.Mode()&fs.ModeSticky != 0) {
		return fmt.Errorf("others can write to %s (mode %04o)", path, info.Mode().Perm())
	}
	return Exchangeable(path, 0)
}

// maxLinks is how many links the kernel follows in a path (path_resolution(7)).
const maxLinks = 40

// Exchangeable says who else could exchange what is read at a path: where it lies,
// where each link on the way lies, or where the file lies that they lead to. nil: nobody
// but root and the owner.
func Exchangeable(path string, owner int) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for range maxLinks {
		if err := unchangeable(path, owner); err != nil {
			return err
		}
		next, linked, err := follow(path)
		if err != nil || !linked {
			return err
		}
		path = next
	}
	return fmt.Errorf("%s: too many links", path)
}

// follow resolves the first link in a path, if there is one.
func follow(path string) (next string, linked bool, err error) {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		info, err := os.Lstat(path[:i])
		if err != nil {
			return "", false, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		to, err := os.Readlink(path[:i])
		if err != nil {
			return "", false, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path[:i]), to)
		}
		return filepath.Join(to, path[i:]), true, nil
	}
	return path, false, nil
}

// unchangeable says who else could exchange a file, in a directory above it.
func unchangeable(path string, owner int) error {
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
