package migration

import (
	"cmp"
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
	var own *setting // whom the application logs in as
	var others []setting
	for i, s := range list {
		if len(s.args) == 0 {
			return s.errorf("user has no name")
		}
		for _, other := range list[:i] {
			if other.args[0] == s.args[0] {
				return s.errorf("the user %s stands at %s:%d already", clip(s.args[0]), other.file, other.line)
			}
		}
		if s.args[0] == r.user() {
			own = &list[i]
		} else {
			others = append(others, s)
		}
	}
	pass, set, err := r.one("requirepass")
	if err != nil {
		return err
	}
	switch {
	case own == nil && r.options.User != "":
		return fmt.Errorf("--user %s: %s and its aclfile have no such user", r.options.User, r.file)
	case own != nil:
		r.ownUser(*own, others)
		if r.user() != defaultUser && !slices.ContainsFunc(others, isDefault) && (!set || pass.args[0] == "" || hasFile) {
			r.unsaid("user", Tightened, "", "The user default was on, as it is unless a line says otherwise: who reached Redis needed no password. Only "+r.user()+"'s password opens now.").Weak = true
		}
		switch { // CONFIG REWRITE writes both, the user's with the digest
		case set && slices.Contains(r.password.digests, passwords.Of([]byte(pass.args[0]))):
			r.password.app = pass.args[0]
			r.find(pass, Kept, "engine.password_digests", keptPassword)
		case set && r.user() != defaultUser && !hasFile && !slices.ContainsFunc(others, isDefault) && pass.args[0] != "":
			r.find(pass, Refused, "", "It is the password of who logs in without a name, as the user default, with all rights: it ends, and only "+r.user()+"'s stays good. Go on if no application uses it.")
		case set:
			r.find(pass, Dropped, "", "The default user's own line replaces it.")
		}
	case set && pass.args[0] != "" && !hasFile:
		r.password = credential{app: pass.args[0], digests: []passwords.Digest{passwords.Of([]byte(pass.args[0]))}}
		r.find(pass, Kept, "engine.password_digests", keptPassword)
	case set && hasFile:
		r.find(pass, Dropped, "", "With an aclfile Redis ignores it.")
	}
	for _, s := range others {
		r.otherUser(s)
	}
	r.passwordStrength()
	return nil
}

const defaultUser = "default"

func isDefault(s setting) bool { return s.args[0] == defaultUser }

// user is whom the application that goes over logs in as.
func (r *reader) user() string { return cmp.Or(r.options.User, defaultUser) }

// passwordStrength is what the old password is worth.
func (r *reader) passwordStrength() {
	const made = " One is made, and stands in app.env. Applications must be given it."
	switch n := len(r.password.app); {
	case r.locked: // a person decides first
	case len(r.password.digests) == 0:
		r.unsaid("requirepass", Tightened, "engine.password_digests", "There was no password."+made).Weak = true
	case n > 0 && n < weakPassword:
		r.unsaid("requirepass", Tightened, "", fmt.Sprintf("The password is shorter than %d characters, so its digest can be guessed by who sees it: replace it after the cut-over (redoubt secret rotate, no outage).", weakPassword)).Weak = true
	}
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

// isOn says whether anybody can log in as a user.
func isOn(s setting) bool {
	var have rights
	for _, word := range s.args[1:] {
		have.apply(word, &credential{})
	}
	return have.on
}

// otherUser has a password of its own, for rights of its own.
func (r *reader) otherUser(s setting) {
	f := r.find(s, Refused, "", "Users with a password and rights of their own are out of scope: all applications of a deployment have the same rights. Give this one's application a deployment of its own (import again, with --user), or the common password.")
	if !isOn(s) {
		f.Verdict, f.Why = Dropped, "It is off."
	} else if isDefault(s) {
		f.Why = "Who logs in without a name is the user default: that ends, and only " + r.user() + "'s password stays good. Go on if no application does."
	}
	f.Was = s.args[0]
}

// ownUser reads the line of the application's user as the engine does, from the
// left, beginning from nothing (acl.c, ACLLoadConfiguredUsers).
func (r *reader) ownUser(s setting, others []setting) {
	var have rights
	for _, word := range s.args[1:] {
		have.apply(word, &r.password)
	}
	f := r.find(s, Kept, "engine.password_digests", "Its passwords stay good.")
	f.Was = s.args[0]
	switch {
	case !have.on:
		r.locked = true
		f.Verdict, f.Becomes, f.Why = Refused, "", "The user "+s.args[0]+" is off: nobody logs in as it. "+r.namesOf(others)
	case len(have.beyond) > 0 || !have.keys:
		if !have.keys {
			have.beyond = append(have.beyond, "(not ~*)")
		}
		f.Verdict, f.Becomes = Refused, ""
		f.Why = "Its rights are narrower than a policy can say: every application may read and write every key. Too narrow: " + strings.Join(have.beyond, " ")
	case r.user() != defaultUser:
		f.Verdict, f.Why = Changed, "Its passwords stay good, and its name goes: applications log in with the password alone, as app.env has it (redis://:password@…). Take the name out of their settings at the cut-over."
	}
	if have.nopass {
		r.password = credential{}
	}
	if !have.on {
		return // its rights are nobody's
	}
	for _, name := range have.strange {
		r.find(s, Refused, "", noSuchCommand).Was = name
	}
	closed := have.closed()
	if d, set := r.conf.last("acl-pubsub-default"); !have.channels && !(set && strings.EqualFold(d.value(), "allchannels")) {
		if slices.Contains(r.policy.Uses, engine.PubSub) {
			r.find(s, Changed, "", "It grants no channels, and what the cache is for ([pubsub]) opens all.").Was = "(no &*)"
		} else {
			r.deny("pubsub")
			r.find(s, Changed, "engine.deny: [pubsub]", "The line grants no channels, and Redis 7 lets it use none; Redis 6 let it use all. Pub/sub is closed; if it is used, --uses pubsub beside what else the cache is for.").Was = "(no &*)"
		}
	}
	r.closings = append(r.closings, closing{setting: s, names: closed})
}

// namesOf says how to go on with a user that is on.
func (r *reader) namesOf(others []setting) string {
	var names []string
	for _, s := range others {
		if isOn(s) {
			names = append(names, "--user "+s.args[0])
		}
	}
	if len(names) == 0 {
		return "No user of these files is on."
	}
	return "Applications log in by name: import for the one that goes over (" + strings.Join(names, ", or ") + ")."
}
