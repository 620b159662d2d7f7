package migration

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A setting is a line of redis.conf: a directive and its arguments, which may be
// secrets.
type setting struct {
	place
	name string // in lower case, as Redis compares it
	args []string
}

// value is the arguments as one; "" for none and for a pair of quotes.
func (s setting) value() string { return strings.Join(s.args, " ") }

// redisConf is all that a redis.conf says, in the order in which Redis reads it.
type redisConf struct {
	settings []setting
	empty    []setting // includes with a pattern that fits nothing
}

// readRedis reads redis.conf as Redis does (config.c, loadServerConfigFromString):
// a line is a directive, # begins a comment where a line begins, quotes as in
// redis-cli. An include is read where it stands, and its pattern in the order of
// the names.
func readRedis(path string) (*redisConf, error) {
	conf, files := &redisConf{}, &library{}
	var read func(path string) error
	read = func(path string) error {
		return files.lines(path, func(at place, text string) error {
			s, err := parseRedisLine(at, text)
			if err != nil || s.name == "" {
				return err
			}
			if slices.ContainsFunc(s.args, func(a string) bool { return a != "" && placeholder.FindString(a) == a }) {
				return at.errorf("%s has a placeholder in place of a value, and Redis knows no variables: import the file as it is on the host, filled in", s.name)
			}
			if len(conf.settings) >= maxSettings {
				return at.errorf("the configuration has more than %d settings", maxSettings)
			}
			if s.name != "include" {
				conf.settings = append(conf.settings, s)
				return nil
			}
			if len(s.args) != 1 {
				return at.errorf("include takes one file")
			}
			return conf.include(s, read)
		})
	}
	return conf, read(path)
}

// parseRedisLine is nothing for a blank line or a comment. Its errors don't repeat
// the line, which may hold a secret.
func parseRedisLine(at place, text string) (setting, error) {
	text = strings.Trim(text, " \t\r\n")
	if text == "" || text[0] == '#' {
		return setting{}, nil
	}
	words, err := resp.Words(text)
	if err != nil {
		return setting{}, at.errorf("the quotes on this line don't match")
	}
	if len(words) == 0 {
		return setting{}, nil
	}
	return setting{place: at, name: strings.ToLower(clip(words[0])), args: words[1:]}, nil
}

func (c *redisConf) include(s setting, read func(string) error) error {
	path := under(s.file, s.args[0])
	if !strings.ContainsAny(path, "*?[") {
		if err := read(path); err != nil {
			return s.errorf("include: %w", err)
		}
		return nil
	}
	found, err := filepath.Glob(path)
	if err != nil {
		return s.errorf("include: %w", err)
	}
	if len(found) == 0 { // Redis goes on without
		c.empty = append(c.empty, s)
	}
	slices.Sort(found)
	for _, path := range found {
		if err := read(path); err != nil {
			return s.errorf("include: %w", err)
		}
	}
	return nil
}

// last is the setting that counts, of a directive that is set as a whole.
func (c *redisConf) last(names ...string) (s setting, set bool) {
	for _, have := range c.settings {
		if slices.Contains(names, have.name) {
			s, set = have, true
		}
	}
	return s, set
}

// all is every setting of a directive that adds up.
func (c *redisConf) all(name string) (list []setting) {
	for _, have := range c.settings {
		if have.name == name {
			list = append(list, have)
		}
	}
	return list
}
