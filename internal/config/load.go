package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxFile bounds a configuration file: what is larger is another file.
const maxFile = 1 << 20

// LoadGateway reads and checks gateway.yaml.
func LoadGateway(path string) (*Gateway, error) {
	c := new(Gateway)
	return c, load(path, c)
}

// LoadSidecar reads and checks sidecar.yaml.
func LoadSidecar(path string) (*Sidecar, error) {
	c := new(Sidecar)
	return c, load(path, c)
}

// schema is a role's configuration, with the rules that its tags can't say.
type schema interface {
	check() []problem
	// resolve makes paths absolute; dir is where the file lies.
	resolve(dir string) []problem
}

func load(path string, into schema) error {
	data, err := statedir.ReadGiven(path, maxFile, "configuration file")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configuration: %w (docs/configuration.md has every key; --config names another file)", err)
	}
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return parse(path, data, into)
}

// parse fills into from data; path is where it came from, for the errors.
func parse(path string, data []byte, into schema) error {
	var doc, more yaml.Node
	docs := yaml.NewDecoder(bytes.NewReader(data))
	if err := docs.Decode(&doc); err != nil && err != io.EOF {
		return syntaxError(path, err)
	}
	if err := docs.Decode(&more); err != io.EOF {
		return fmt.Errorf("%s: holds more than one document", path)
	}
	d := decoder{lines: map[string]int{}}
	root := reflect.ValueOf(into).Elem()
	setDefaults(root)
	if len(doc.Content) > 0 { // not an empty file
		d.decodeStruct(doc.Content[0], "", root)
	}
	if len(d.problems) == 0 {
		d.problems = append(checkBounds(root), into.check()...)
		d.problems = append(d.problems, into.resolve(filepath.Dir(path))...)
	}
	return d.report(path)
}

// Where is the file and line of a key (engine.uses), or of the nearest one that it belongs
// to, for what others find wrong with a file that was loaded.
func Where(path, key string) string {
	data, err := statedir.ReadGiven(path, maxFile, "configuration file")
	var doc yaml.Node
	if err != nil || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) == 0 {
		return path
	}
	at, line := doc.Content[0], 0
	for name := range strings.SplitSeq(key, ".") {
		var next *yaml.Node
		for i := 0; at.Kind == yaml.MappingNode && i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == name {
				line, next = at.Content[i].Line, at.Content[i+1]
			}
		}
		if next == nil {
			break
		}
		at = next
	}
	if line == 0 {
		return path
	}
	return fmt.Sprintf("%s:%d", path, line)
}

// syntaxLine finds the place in the library's message, which may go on to
// quote the file; only the place and the fixed words before a quote are kept.
var syntaxLine = regexp.MustCompile("^yaml: (?:line ([0-9]+): )?([^`'\"]*)")

func syntaxError(path string, err error) error {
	m := syntaxLine.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("%s: not YAML", path)
	}
	if m[1] != "" {
		path += ":" + m[1]
	}
	return fmt.Errorf("%s: not YAML: %s", path, m[2])
}

func (d *decoder) report(path string) error {
	var errs []error
	for _, p := range d.problems {
		// A key that is missing has no line: the nearest one that it belongs to has.
		for at := p.path; p.line == 0 && at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
			p.line = d.lines[at]
		}
		where := path
		if p.line != 0 {
			where = fmt.Sprintf("%s:%d", path, p.line)
		}
		errs = append(errs, fmt.Errorf("%s: %s %s", where, p.path, p.text))
	}
	return errors.Join(errs...)
}
