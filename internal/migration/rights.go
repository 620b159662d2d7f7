package migration

import (
	"encoding/hex"
	"slices"
	"strings"
	"sync"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// rights is what a user's line amounts to.
type rights struct {
	on, nopass, keys, channels bool

	may     map[string]bool // commands, by name
	beyond  []string        // words that no policy can say
	strange []string        // commands that no engine we know has
}

// runnable are the commands of the table that can be called by themselves.
var runnable = sync.OnceValue(func() []*command.Command {
	return slices.DeleteFunc(command.All(), (*command.Command).Container)
})

// matching are the commands that a rule's word names, subcommands for their
// parent: "@read", "config", "config|get".
func matching(name string) (list []string) {
	for _, c := range runnable() {
		parent, _, _ := strings.Cut(c.Name, "|")
		if name == "@all" || c.Name == name || parent == name || slices.Contains(c.Categories, name) {
			list = append(list, c.Name)
		}
	}
	return list
}

// unchecked are what the engine lets everybody run, whatever the rules
// (server.h, CMD_NO_AUTH).
const unchecked = "auth hello quit reset"

// closed are the commands that the user could not run.
func (have *rights) closed() (list []string) {
	for _, name := range matching("@all") {
		if !have.may[name] && !slices.Contains(strings.Fields(unchecked), name) {
			list = append(list, name)
		}
	}
	return list
}

// apply reads a word as the engine does (acl.c, ACLSetUser), from the left.
func (have *rights) apply(word string, c *credential) {
	lower := strings.ToLower(word)
	switch {
	case word == "":
	case lower == "on" || lower == "off":
		have.on = lower == "on"
	case lower == "nopass":
		have.nopass = true
		*c = credential{}
	case lower == "resetpass":
		have.nopass = false
		*c = credential{}
	case lower == "reset":
		*have, *c = rights{}, credential{}
	case word[:1] == ">":
		have.nopass = false
		c.app = word[1:]
		c.digests = append(c.digests, passwords.Of([]byte(word[1:])))
	case word[:1] == "#":
		if d, err := parseDigest(word[1:]); err == nil {
			have.nopass = false
			c.digests = append(c.digests, d)
		} else {
			have.beyond = append(have.beyond, "(a digest that is none)")
		}
	case word[:1] == "<" || word[:1] == "!":
		c.remove(word)
	case lower == "~*" || lower == "allkeys" || lower == "resetkeys":
		have.keys = lower != "resetkeys"
	case lower == "&*" || lower == "allchannels" || lower == "resetchannels":
		have.channels = lower != "resetchannels"
	case lower == "sanitize-payload" || lower == "skip-sanitize-payload" || lower == "clearselectors":
	case lower == "allcommands":
		have.rule('+', "@all")
	case lower == "nocommands":
		have.rule('-', "@all")
	case word[:1] == "+" || word[:1] == "-":
		have.rule(word[0], lower[1:])
	case strings.ContainsRune("~&%(", rune(word[0])): // patterns of keys or channels, a selector
		have.beyond = append(have.beyond, word)
	default: // perhaps a password whose > was forgotten
		have.beyond = append(have.beyond, "(a word that no ACL has)")
	}
}

// rule lets the user run commands, or not (acl.c, ACLSetSelector).
func (have *rights) rule(sign byte, name string) {
	names := matching(name)
	if len(names) == 0 {
		// +select|0 opens a command for one first argument. It is not counted: the
		// rest was closed.
		if parent, _, found := strings.Cut(name, "|"); !found || sign == '-' || len(matching(parent)) == 0 {
			have.strange = append(have.strange, clip(name))
		}
	}
	if have.may == nil {
		have.may = make(map[string]bool)
	}
	for _, n := range names {
		have.may[n] = sign == '+'
	}
}

func parseDigest(text string) (d passwords.Digest, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(d) {
		err = hex.ErrLength
	}
	copy(d[:], b)
	return d, err
}

// remove takes a password away again.
func (c *credential) remove(word string) {
	gone, err := parseDigest(word[1:])
	if word[0] == '<' {
		gone, err = passwords.Of([]byte(word[1:])), nil
	}
	if err != nil {
		return
	}
	c.digests = slices.DeleteFunc(c.digests, func(d passwords.Digest) bool { return d == gone })
	if passwords.Of([]byte(c.app)) == gone {
		c.app = ""
	}
}
