package host

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Bounds of the search for secrets: how much of a file is read, a directory's depth
// below the one that is searched, how many files are read.
const (
	strewnSize  = 256 << 10
	strewnDepth = 8
	strewnFiles = 20000
)

// A private key (RFC 7468 §10 and §11, and OpenSSH's), or a password in Redis's own
// words (redis.conf), of which a comment is none.
var secret = regexp.MustCompile(`(?m)^-----BEGIN [A-Z ]*PRIVATE KEY-----\s*$|^\s*(requirepass|masterauth|user\s+\S+\s.*>)\s*\S`)

// Strewn finds files below a directory that every user of the host can read, and that
// hold a private key or a Redis password. looked is how many it read; all is false where
// there were more.
func Strewn(dir string) (found []string, looked int, all bool, err error) {
	all = true
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // gone, or not ours to see: then not everybody's either
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		if entry.IsDir() {
			if info.Mode().Perm()&0o001 == 0 || depth(dir, path) > strewnDepth {
				return fs.SkipDir // nobody else gets in there
			}
			return nil
		}
		if !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 {
			return nil
		}
		if looked == strewnFiles {
			all = false
			return fs.SkipAll
		}
		looked++
		if holdsSecret(path) {
			found = append(found, path)
		}
		return nil
	})
	return found, looked, all, err
}

func holdsSecret(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, strewnSize))
	defer clear(text)
	return err == nil && secret.Match(text)
}

func depth(dir, path string) (n int) {
	for ; path != dir && path != "/" && path != "."; path = filepath.Dir(path) {
		n++
	}
	return n
}
