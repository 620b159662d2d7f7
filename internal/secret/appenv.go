package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxEnv bounds app.env, in which others may keep more than we write.
const maxEnv = 64 << 10

const urlName = "REDIS_URL="

// appEnv is the application's file. The password has no character that needs
// escaping.
func appEnv(pw, address string) []byte {
	return []byte(urlName + "redis://:" + pw + "@" + address + "\n")
}

// env is the application's file with a new password: all else in it stays, the
// file's other lines and the URL's other parts.
func (f Files) env(pw string) ([]byte, error) {
	old, err := statedir.ReadFile(f.AppEnv, maxEnv, "file of an application's environment")
	if errors.Is(err, fs.ErrNotExist) {
		return appEnv(pw, f.Address), nil
	}
	if err != nil {
		return nil, err
	}
	at, err := f.find(old)
	if err != nil {
		return nil, err
	}
	at.url.User = url.UserPassword(at.url.User.Username(), pw)
	return bytes.Join([][]byte{old[:at.from], []byte(at.url.String()), old[at.to:]}, nil), nil
}

// Sidecar is where app.env has the application find its cache, HOST:PORT.
func (f Files) Sidecar() (string, error) {
	data, err := statedir.ReadFile(f.AppEnv, maxEnv, "file of an application's environment")
	if err != nil {
		return "", err
	}
	at, err := f.find(data)
	if err != nil {
		return "", err
	}
	return at.url.Host, nil
}

// given is the password that the application's file has.
func (f Files) given() (string, error) {
	data, err := statedir.ReadFile(f.AppEnv, maxEnv, "file of an application's environment")
	if err != nil {
		return "", err
	}
	at, err := f.find(data)
	if err != nil {
		return "", err
	}
	pw, _ := at.url.User.Password()
	return pw, nil
}

// found is the URL in an application's file, and where it stands.
type found struct {
	url      *url.URL
	from, to int
}

// find looks for the one URL. Its errors don't repeat it, for its password.
func (f Files) find(env []byte) (found, error) {
	var all []found
	from := 0
	for line := range strings.Lines(string(env)) {
		if text, ours := strings.CutPrefix(line, urlName); ours {
			text = strings.TrimRight(text, " \t\r\n")
			if u, err := url.Parse(text); err == nil && u.Host != "" && u.User != nil {
				begin := from + len(urlName)
				all = append(all, found{u, begin, begin + len(text)})
			}
		}
		from += len(line)
	}
	if len(all) != 1 {
		return found{}, fmt.Errorf("%s must have one line %sredis://:PASSWORD@HOST:PORT, it has %d (name the application's file with --out)", f.AppEnv, urlName, len(all))
	}
	return all[0], nil
}
