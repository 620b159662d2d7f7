package migration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An option is a line of a stunnel configuration: key = value.
type option struct {
	place
	name  string // as it stands there
	value string
}

func (o option) is(name string) bool { return strings.EqualFold(o.name, name) }

// A service is a section.
type service struct {
	place           // of its [name]
	name    string  // "" is stunnel's inetd mode: no section at all
	options options // those before the first section, which are its defaults, then its own
	own     int     // how many of them are defaults
}

type options []option

// last is the option that counts.
func (list options) last(name string) (o option, set bool) {
	for _, have := range list {
		if have.is(name) {
			o, set = have, true
		}
	}
	return o, set
}

// yes says whether an option is switched on.
func (list options) yes(name string) bool {
	o, _ := list.last(name)
	return strings.EqualFold(o.value, "yes")
}

// all is every value of an option that adds up.
func (list options) all(name string) (found options) {
	for _, have := range list {
		if have.is(name) {
			found = append(found, have)
		}
	}
	return found
}

// stunnelConf is all that a stunnel configuration says.
type stunnelConf struct {
	global   options // before the first section
	services []service
}

// readStunnel reads a configuration as stunnel does (options.c, options_file): lines of key = value, comments behind ; or # where a line begins,
// sections in brackets. Options before the first section are global, or what
// sections begin from. A directory that is included is read where it stands, file
// by file.
func readStunnel(path string) (*stunnelConf, error) {
	conf, files, count := &stunnelConf{}, &library{}, 0
	var read func(path string) error
	read = func(path string) error {
		return files.lines(path, func(at place, text string) error {
			o, section, err := parseStunnelLine(at, text)
			if section != "" || o.name != "" {
				count++
			}
			switch {
			case err != nil:
				return err
			case count > maxOptions:
				return at.errorf("the configuration has more than %d options", maxOptions)
			case section != "":
				conf.services = append(conf.services, service{place: at, name: section, options: slices.Clone(conf.global), own: len(conf.global)})
			case o.is("include"):
				if err := eachIn(under(o.file, o.value), read); err != nil {
					return o.errorf("include: %w", err)
				}
			case o.name == "":
			case o.check(len(conf.services) > 0) != nil:
				return o.check(len(conf.services) > 0)
			case len(conf.services) == 0:
				conf.global = append(conf.global, o)
			default:
				s := &conf.services[len(conf.services)-1]
				s.options = append(s.options, o)
			}
			return nil
		})
	}
	if err := read(path); err != nil {
		return nil, err
	}
	if len(conf.services) == 0 {
		return nil, fmt.Errorf("%s has no section ([name]): stunnel then serves inetd, and no Redis", path)
	}
	return conf, nil
}

// parseStunnelLine is an option, a section, or neither. Its errors don't repeat
// the line.
func parseStunnelLine(at place, text string) (o option, section string, err error) {
	text = strings.Trim(text, " \t\r\v\f")
	switch {
	case text == "" || text[0] == ';' || text[0] == '#':
		return o, "", nil
	case text[0] == '[' && (text[len(text)-1] == ']' || !strings.Contains(text, "=")):
		name, closed := strings.CutSuffix(text[1:], "]")
		if name = strings.TrimSpace(name); !closed || name == "" {
			return o, "", at.errorf("is no section: [name] is needed")
		}
		return o, clip(name), nil
	}
	name, value, ok := strings.Cut(text, "=")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return o, "", at.errorf("is neither an option (key = value) nor a section ([name])")
	}
	return option{at, clip(name), strings.TrimSpace(value)}, "", nil
}

// eachIn reads the files of a directory in the order of their names.
func eachIn(dir string, read func(string) error) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeType != 0 || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := read(path); err != nil {
			return err
		}
	}
	return nil
}
