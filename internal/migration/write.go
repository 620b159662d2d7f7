package migration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-cache/redoubt/internal/secret"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

const appEnvPath = "app.env"

func (p *Plan) digestsPath() string { return p.Name + "/password.sha256" }

// hasAppEnv says whether the password is known, or made, rather than its digest
// only.
func (p *Plan) hasAppEnv() bool { return p.password.app != "" || len(p.password.digests) == 0 }

// A Written is a file that is there now.
type Written struct {
	Path string
	New  bool // else it was there, and the same
}

// Write makes the plan's files in a directory. It looks at all that is there
// before it changes anything: what is the same stays, what differs is an error,
// and nothing is overwritten. Where it is cut, it can be run again.
func (p *Plan) Write(dir string) (done []Written, err error) {
	if p.Blocked() {
		return nil, errors.New("nothing is written while something is refused or unknown")
	}
	files := secret.Files{Digests: filepath.Join(dir, p.digestsPath()), Address: p.sidecar, Private: true}
	if p.hasAppEnv() {
		files.AppEnv = filepath.Join(dir, appEnvPath)
	}
	missing := make(map[string]bool)
	for _, f := range p.Files {
		path := filepath.Join(dir, f.Path)
		if missing[f.Path], err = absent(path, f.Text); err != nil {
			return nil, err
		}
	}
	new, err := files.Adopt(p.password.app, p.password.digests)
	if err != nil {
		return nil, err
	}
	for _, path := range p.Secrets {
		done = append(done, Written{filepath.Join(dir, path), new})
	}
	for _, f := range p.Files {
		path := filepath.Join(dir, f.Path)
		if missing[f.Path] {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return nil, err
			}
			if err := statedir.WriteFile(path, []byte(f.Text), 0o644); err != nil {
				return nil, err
			}
		}
		done = append(done, Written{path, missing[f.Path]})
	}
	return done, nil
}

// absent says whether a file is to be made; another one there is an error.
func absent(path, text string) (bool, error) {
	have, err := readText(path)
	switch _, statErr := os.Lstat(path); {
	case errors.Is(statErr, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case !bytes.Equal(have, []byte(text)):
		return false, fmt.Errorf("%s is there already, and is another: move it away, or choose another --out", path)
	}
	return false, nil
}
