package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// Bounds of the search for secrets: the size of a file that is read, a directory's depth
// below the one that is searched, how many files are read. What is beyond one was not
// looked at, and is told.
const (
	strewnSize  = 16 << 20
	strewnDepth = 16
	strewnFiles = 20000
)

// Strewn finds files below a directory that every user of the host can read, and that
// hold a private key or a Redis password, by what is in them. looked is how many it
// read; left names what it did not, and why: an empty list says that it saw all.
func Strewn(dir string) (found []string, looked int, left []string, err error) {
	keyLists := map[string]bool{} // that a stunnel names
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil { // gone, or not ours to see: then not everybody's either
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if entry.IsDir() {
			switch {
			case info.Mode().Perm()&0o001 == 0:
				return fs.SkipDir // nobody else gets in there
			case depth(dir, path) > strewnDepth:
				left = append(left, path+" lies too deep")
				return fs.SkipDir
			}
			return nil
		}
		if !everybodys(info) {
			return nil
		}
		if looked == strewnFiles {
			left = append(left, path+" and what comes after it: there are too many files")
			return fs.SkipAll
		}
		looked++
		text, err := readItself(path)
		defer clear(text)
		switch {
		case err != nil:
			left = append(left, err.Error())
		case holdsSecret(text):
			found = append(found, path)
		}
		for _, path := range stunnelKeyLists(text) {
			keyLists[path] = true
		}
		return nil
	})
	for path := range keyLists {
		if info, err := os.Stat(path); err == nil && everybodys(info) && !slices.Contains(found, path) {
			found = append(found, path)
		}
	}
	slices.Sort(found)
	return found, looked, left, err
}

// everybodys says whether a file can be read by every user of the host.
func everybodys(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0
}

// HoldsSecret says whether a file has a private key or a Redis password in it.
func HoldsSecret(path string) (bool, error) {
	text, err := regular.Read(path, strewnSize)
	defer clear(text)
	return err == nil && holdsSecret(text), err
}

func readItself(path string) ([]byte, error) {
	f, _, err := regular.OpenItself(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return regular.ReadAll(f, strewnSize)
}

func depth(dir, path string) (n int) {
	for ; path != dir && path != "/" && path != "."; path = filepath.Dir(path) {
		n++
	}
	return n
}
