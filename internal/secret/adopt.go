package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Adopt makes the files of passwords that were good before Redoubt: pw is what
// the application has ("": not known, and AppEnv is not made), digests is all that
// are good. Without any, a password is made. Files that are there stay, and must
// say the same: where Adopt was cut, it can be run again.
func (f Files) Adopt(pw string, digests []passwords.Digest) (made bool, err error) {
	if len(digests) == 0 {
		if pw, err = f.given(); errors.Is(err, fs.ErrNotExist) {
			pw = statedir.NewPassword()
		} else if err != nil {
			return false, err
		}
		digests = []passwords.Digest{passwords.Of([]byte(pw))}
	}
	var set passwords.Set
	for _, d := range digests {
		if _, has := set.Has(d); !has {
			set = set.With(d)
		}
	}
	if err := set.Check(); err != nil {
		return false, err
	}
	noEnv, err := f.lacksEnv(pw)
	if err != nil {
		return false, err
	}
	noDigests, err := f.lacksDigests(set)
	if err != nil {
		return false, err
	}
	if noEnv {
		if err := os.MkdirAll(filepath.Dir(f.AppEnv), 0o700); err != nil {
			return false, err
		}
		if err := statedir.WriteFile(f.AppEnv, appEnv(escape(pw), f.Address), 0o600); err != nil {
			return false, err
		}
	}
	if noDigests {
		if err := os.MkdirAll(filepath.Dir(f.Digests), 0o700); err != nil {
			return false, err
		}
		if err := f.write(set); err != nil {
			return false, err
		}
	}
	return noEnv || noDigests, nil
}

func (f Files) lacksEnv(pw string) (bool, error) {
	if f.AppEnv == "" {
		return false, nil
	}
	have, err := f.given()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err == nil && have != pw {
		err = fmt.Errorf("%s is there already, with another password: move it away, or choose another --out", f.AppEnv)
	}
	return false, err
}

func (f Files) lacksDigests(want passwords.Set) (bool, error) {
	have, err := Read(f.Digests)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err == nil && string(have.Format()) != string(want.Format()) {
		err = fmt.Errorf("%s is there already, with other passwords: move it away, or choose another --out", f.Digests)
	}
	return false, err
}

// escape makes any password fit for a URL (RFC 3986 §2.1), and for a shell that
// reads app.env: url.UserPassword leaves $ and ; as they are.
func escape(pw string) string {
	var b strings.Builder
	for i := range len(pw) {
		c := pw[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
