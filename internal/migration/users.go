package migration

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// weakPassword is the length below which a password can't have 128 bits
// (RFC 4648 §5 has 6 bits a character).
const weakPassword = 22

const keptPassword = "Applications keep their password: its digest goes to password.sha256, itself to app.env."

// users finds whose password is good, and with which rights.
func (r *reader) users() error {
	list := r.conf.all("user")
	file, hasFile, err := r.one("aclfile")
	if err != nil {
		return err
	}
	if hasFile && file.args[0] == "" {
		hasFile = false
		r.find(file, Dropped, "", "It names no file.")
	}
	if hasFile {
		r.find(file, Kept, "", "Its users are read as if they stood here.")
		more, err := readUsers(under(file.file, file.args[0]))
		if err != nil {
			return file.errorf("aclfile: %w", err)
		}
		list = append(list, more...)
	}
	var own *setting // of the default user
	for i, s := range list {
		if len(s.args) == 0 {
			return s.errorf("user has no name")
		}
		switch {
		case s.args[0] != "default":
			r.namedUser(s)
		case own != nil:
			return s.errorf("the user default stands twice")
		default:
			own = &list[i]
		}
	}
	pass, set, err := r.one("requirepass")
	if err != nil {
		return err
	}
	switch {
	case own != nil:
		r.defaultUser(*own)
		switch { // CONFIG REWRITE writes both, the user's with the digest
		case set && slices.Contains(r.password.digests, passwords.Of([]byte(pass.args[0]))):
			r.password.app = pass.args[0]
			r.find(pass, Kept, "engine.password_digests", keptPassword)
		case set:
			r.find(pass, Dropped, "", "The default user's own line replaces it.")
		}
	case set && pass.args[0] != "" && !hasFile:
		r.password = credential{app: pass.args[0], digests: []passwords.Digest{passwords.Of([]byte(pass.args[0]))}}
		r.find(pass, Kept, "engine.password_digests", keptPassword)
	case set && hasFile:
		r.find(pass, Dropped, "", "With an aclfile Redis ignores it.")
	}
	if len(r.password.digests) == 0 {
		r.unsaid("requirepass", Tightened, "engine.password_digests", "There was no password: one is made, and stands in app.env. Applications must be given it.").Weak = true
	}
	if n := len(r.password.app); n > 0 && n < weakPassword {
		r.unsaid("requirepass", Tightened, "", fmt.Sprintf("The password is shorter than %d characters, so its digest can be guessed by who sees it: replace it after the cut-over (redoubt secret rotate, no outage).", weakPassword)).Weak = true
	}
	return nil
}

// readUsers reads an aclfile: a user a line, whose words are apart by spaces and
// know no quotes (acl.c, ACLLoadFromFile).
func readUsers(path string) (list []setting, err error) {
	err = new(library).lines(path, func(at place, text string) error {
		words := strings.FieldsFunc(strings.Trim(text, " \t\r\n"), func(r rune) bool { return r == ' ' })
		if len(words) == 0 {
			return nil
		}
		if words[0] != "user" {
			return at.errorf("is no line of an aclfile: it must begin with user")
		}
		list = append(list, setting{place: at, name: words[0], args: words[1:]})
		return nil
	})
	return list, err
}

// namedUser has a password of its own, for rights of its own.
func (r *reader) namedUser(s setting) {
	on := false
	for _, word := range s.args[1:] {
		switch strings.ToLower(word) {
		case "on":
			on = true
		case "off", "reset":
			on = false
		}
	}
	f := r.find(s, Refused, "", "Users with a password and rights of their own are out of scope: all applications of a deployment have the same rights. Give this one's application a deployment of its own, or the common password.")
	if !on {
		f.Verdict, f.Why = Dropped, "It is off."
	}
	f.Was = s.args[0]
}

// rights is what a default user's line amounts to.
type rights struct {
	on, nopass, keys, channels, all bool
	closed                          []string // commands and @categories
	beyond                          []string // words that no policy can say
}

// defaultUser reads the line as the engine does, from the left, beginning from
// nothing (acl.c, ACLLoadConfiguredUsers).
func (r *reader) defaultUser(s setting) {
	var have rights
	for _, word := range s.args[1:] {
		have.apply(word, &r.password)
	}
	f := r.find(s, Kept, "engine.password_digests", "The default user: its passwords stay good.")
	f.Was = "default"
	switch {
	case !have.on:
		f.Verdict, f.Becomes, f.Why = Refused, "", "The default user is off: applications log in by name, which is out of scope."
	case len(have.beyond) > 0 || !have.all || !have.keys:
		f.Verdict, f.Becomes = Refused, ""
		f.Why = "Its rights are narrower than a policy can say: every application may read and write every key. Too narrow: " + strings.Join(append(have.beyond, have.lacks()...), " ")
	}
	if have.nopass {
		r.password = credential{}
	}
	if !have.channels && !slices.Contains(r.policy.Uses, engine.PubSub) {
		r.deny("pubsub")
		r.closing(s, "(no &*)", Changed, "engine.deny: [pubsub]", "The line grants no channels, and Redis 7 lets it use none; Redis 6 let it use all. Pub/sub is closed; if it is used, --uses pubsub beside what else the cache is for.")
	}
	for _, name := range have.closed {
		r.close(s, name)
	}
}

func (have *rights) lacks() (words []string) {
	if !have.all {
		words = append(words, "(not +@all)")
	}
	if !have.keys {
		words = append(words, "(not ~*)")
	}
	return words
}

func (have *rights) apply(word string, c *credential) {
	lower := strings.ToLower(word)
	switch {
	case word == "":
		have.beyond = append(have.beyond, "(an empty word)")
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
	case lower == "~*" || lower == "allkeys":
		have.keys = true
	case lower == "resetkeys":
		have.keys = false
	case lower == "&*" || lower == "allchannels":
		have.channels = true
	case lower == "resetchannels":
		have.channels = false
	case lower == "+@all" || lower == "allcommands":
		have.all, have.closed = true, nil
	case lower == "-@all" || lower == "nocommands":
		have.all, have.closed = false, nil
	case lower == "sanitize-payload" || lower == "skip-sanitize-payload" || lower == "clearselectors":
	case word[:1] == "-":
		have.closed = append(have.closed, lower[1:])
	case word[:1] == "+":
		have.closed = slices.DeleteFunc(have.closed, func(c string) bool { return c == lower[1:] })
	case strings.ContainsRune("~&%(", rune(word[0])): // patterns of keys or channels, a selector
		have.beyond = append(have.beyond, word)
	default: // perhaps a password whose > was forgotten
		have.beyond = append(have.beyond, "(a word that no ACL has)")
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
