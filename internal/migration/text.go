package migration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Bounds of what is read. A redis.conf has 110 KB, nearly all of it comments.
const (
	maxText     = 4 << 20
	maxFiles    = 256  // of one configuration, with what it includes
	maxIncludes = 16   // deep
	maxSettings = 5000 // of one redis.conf; it knows 250
	maxOptions  = 1000 // of one stunnel configuration, sections among them; stunnel knows 90
)

// clip keeps a name that is none from filling a plan.
func clip(name string) string {
	const most = 64
	if len(name) > most {
		return name[:most] + "…"
	}
	return name
}

// A place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{p.file, p.line}, args...)...)
}

// library reads the files of one configuration, within bounds.
type library struct {
	read int      // files so far
	open []string // those that include each other at the moment
}

// lines calls do for each line of the file, without its end.
func (l *library) lines(path string, do func(at place, text string) error) error {
	real, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for _, o := range l.open {
		if o == real {
			return fmt.Errorf("%s includes itself", path)
		}
	}
	if len(l.open) >= maxIncludes {
		return fmt.Errorf("%s: files include each other more than %d deep", path, maxIncludes)
	}
	if l.read++; l.read > maxFiles {
		return fmt.Errorf("%s: the configuration has more than %d files", path, maxFiles)
	}
	l.open = append(l.open, real)
	defer func() { l.open = l.open[:len(l.open)-1] }()
	data, err := readText(path)
	if err != nil {
		return err
	}
	if bytes.IndexByte(data, 0) >= 0 { // Redis would end there and pass over the rest
		return fmt.Errorf("%s is not a text: it has a NUL byte", path)
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // stunnel's own sample begins with one
	for number := 1; text != ""; number++ {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		if err := do(place{path, number}, line); err != nil {
			return err
		}
	}
	return nil
}

// readText waits for no pipe and reads no device.
func readText(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there: copy it here, at this path", path)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return statedir.ReadGiven(path, maxText, "configuration file")
}

// under makes a path that a file names absolute, as seen from that file.
func under(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
