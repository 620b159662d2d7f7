package statedir

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// maxSecret bounds what is read as a secret: a wrong path (a device, a log)
// must not fill memory. A password has 43 bytes, a key file some 250.
const maxSecret = 64 << 10

// TempPrefix marks files that are being written; what a crash leaves of them
// is removed by the next writer of the same name.
const TempPrefix = ".redoubt-new-"

// WriteFile replaces the file at path with data, or leaves it as it was. The
// file gets mode before it holds a byte. The directory must exist.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return write(path, data, mode, func(*os.File) error { return nil })
}

// RewriteFile is WriteFile, but a file that is there keeps its mode and its
// owner: who could read the old one (an application) can read the new one.
func RewriteFile(path string, data []byte, mode os.FileMode) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return WriteFile(path, data, mode)
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: name the file itself", path)
	}
	return write(path, data, info.Mode().Perm(), ownedAs(info))
}

// WriteFileForOwner is WriteFile, but the file belongs to whoever the directory
// belongs to: root gives a process of another user what is to be its own.
func WriteFileForOwner(path string, data []byte, mode os.FileMode) error {
	return write(path, data, mode, func(f *os.File) error { return LeaveToOwner(filepath.Dir(path), f.Chown) })
}

// WriteNewFile is WriteFileForOwner, but fails with fs.ErrExist where a file is already:
// of all who write one at once, one succeeds.
func WriteNewFile(path string, data []byte, mode os.FileMode) error {
	own := path + "." + rand.Text()[:8] // nobody else's
	if err := WriteFileForOwner(own, data, mode); err != nil {
		return err
	}
	defer os.Remove(own)
	if err := os.Link(own, path); err != nil { // atomic, and with its content
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(path))
}

// LeaveToOwner has root leave what it makes in another user's directory to that user:
// chown is its Chown method.
func LeaveToOwner(dir string, chown func(uid, gid int) error) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		return chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

// ownedAs gives a file the owner and group of another one, unless they are ours.
func ownedAs(info os.FileInfo) func(*os.File) error {
	return func(f *os.File) error {
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
			return nil
		}
		return f.Chown(int(st.Uid), int(st.Gid))
	}
}

// write is WriteFile; own gives the new file its owner before it has a byte.
func write(path string, data []byte, mode os.FileMode, own func(*os.File) error) (err error) {
	dir, base := filepath.Split(path)
	temp := filepath.Join(dir, TempPrefix+base)
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := errors.Join(own(f), fill(f, data, mode), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func fill(f *os.File, data []byte, mode os.FileMode) error {
	if err := f.Chmod(mode); err != nil { // the umask may have taken bits away
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// SyncDir makes what was renamed or removed in dir durable (fsync(2), "NOTES").
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadSecret reads a file that only its owner can read. One that others can
// read is refused, since it has to be taken as known to them.
func ReadSecret(path string) ([]byte, error) {
	f, info, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by other users (mode %04o): run chmod 600 %s, and replace the secret if others may have seen it", path, info.Mode().Perm(), path)
	}
	return readAtMost(f, maxSecret, "secret of ours")
}

// ReadFile reads a file of at most so many bytes: a wrong path (a device, a
// log) must not fill memory, nor what is no file be waited for. what names, in
// the error, what it should have been.
func ReadFile(path string, most int64, what string) ([]byte, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, most, what)
}

// ReadGiven is ReadFile for what a person names on the command line, which may
// be a pipe (/dev/stdin, a shell's <(…)). One into which nobody writes is empty.
func ReadGiven(path string, most int64, what string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, most, what)
}

// ReadTrusted reads a file whose content we act on, so that nobody but root and
// we ourselves may be able to write it. Bounds as ReadFile.
func ReadTrusted(path string, most int64, what string) ([]byte, error) {
	f, info, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to uid %d, who could write it: run chown root %s", path, st.Uid, path)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s can be written by other users (mode %04o): run chmod 644 %s", path, info.Mode().Perm(), path)
	}
	return readAtMost(f, most, what)
}

func readAtMost(f *os.File, most int64, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes: not a %s", f.Name(), most, what)
	}
	return data, nil
}

// ReadPassword reads a password file: one line, with or without its end.
func ReadPassword(path string) (string, error) {
	data, err := ReadSecret(path)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n\x00") {
		return "", fmt.Errorf("%s must hold one line with the password", path)
	}
	return password, nil
}

// NewPassword makes a password of 256 random bits in characters that need no
// escaping in a URL (RFC 4648 §5).
func NewPassword() string {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24: the program ends instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
