// Package passwords is what the cache host knows of the application's password:
// its digest, and until when it is good.
//
// Passwords have 256 random bits (statedir.NewPassword), so that knowing a
// digest helps nobody. A Digest can't be invalid. A Set is the digests file:
// one line for each password that is good, the one being replaced with its end,
//
//	9f86d081884c7d65… until 2026-11-26T03:00:00Z
//	2c26b46b68ffc68f…
//
// and Parse refuses all else, a line that is cut short among it. The methods of a
// Set give the next one; nothing here reads a file or a clock.
//
// The engine has a user for each password, named by Digest.User, so that those
// who came with a password that has ended can be told from the others
// (docs/decisions/0060). It makes these users, the sidecar names them.
package passwords

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Digest is the SHA-256 of a password.
type Digest [sha256.Size]byte

// Of is a password's digest.
func Of(password []byte) Digest { return sha256.Sum256(password) }

// String is the digest as files and the engine's ACL have it.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Name is enough of the digest for a person to tell passwords apart.
func (d Digest) Name() string { return hex.EncodeToString(d[:6]) }

// User is the engine's user of this password: the default user's twin.
func (d Digest) User() string { return "default-" + hex.EncodeToString(d[:8]) }

// parseDigest's errors never repeat the text: it might be a password.
func parseDigest(text string) (d Digest, err error) {
	if len(text) != hex.EncodedLen(len(d)) || strings.Trim(text, "0123456789abcdef") != "" {
		return d, errors.New("is not a SHA-256 digest: 64 hexadecimal digits in lower case are needed")
	}
	_, err = hex.Decode(d[:], []byte(text))
	return d, err
}

// An Entry is a password that is good.
type Entry struct {
	Digest Digest
	Until  time.Time // zero: without end
}

// A Set is the passwords that are good. A valid one has at least one without an
// end, so that time alone never leaves the application without any.
type Set []Entry

// Most is how many passwords a set may have; a rotation needs two.
const Most = 8

// Check says what is wrong with a set.
func (s Set) Check() error {
	if len(s) > Most {
		return fmt.Errorf("has %d passwords, more than %d: end some (redoubt secret retire)", len(s), Most)
	}
	lasting := false
	for i, e := range s {
		lasting = lasting || e.Until.IsZero()
		if slices.ContainsFunc(s[:i], func(o Entry) bool { return o.Digest == e.Digest }) {
			return fmt.Errorf("names the password %s twice", e.Digest.Name())
		}
	}
	if len(s) > 0 && !lasting {
		return errors.New("has no password without an end: the application would be left without any")
	}
	return nil
}

const until = " until "

// Parse reads a digests file. Its last line must have its end: what is
// half-written is never believed.
func Parse(data []byte) (Set, error) {
	var s Set
	text := string(data)
	for number := 1; text != ""; number++ {
		line, rest, whole := strings.Cut(text, "\n")
		text = rest
		line = strings.TrimRight(line, " \t\r")
		if line == "" {
			continue
		}
		if !whole {
			return nil, fmt.Errorf("line %d has no line end: it may be half-written (if it is not, add one)", number)
		}
		entry, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d %w", number, err)
		}
		s = append(s, entry)
	}
	if len(s) == 0 {
		return nil, errors.New("is empty (redoubt secret new makes one)")
	}
	return s, s.Check()
}

func parseLine(line string) (e Entry, err error) {
	digest, end, ends := strings.Cut(line, until)
	if e.Digest, err = parseDigest(digest); err != nil || !ends {
		return e, err
	}
	at, err := time.Parse(time.RFC3339, end)
	if e.Until = at.UTC(); err != nil || e.Until.IsZero() {
		return e, errors.New("has an end that is no time of the form 2026-11-26T03:00:00Z (RFC 3339)")
	}
	return e, nil
}

// Format is the file that Parse reads.
func (s Set) Format() []byte {
	var b strings.Builder
	for _, e := range s {
		b.WriteString(e.Digest.String())
		if !e.Until.IsZero() {
			b.WriteString(until + e.Until.UTC().Format(time.RFC3339))
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// Good is the digests that are good at a moment.
func (s Set) Good(now time.Time) []Digest {
	var good []Digest
	for _, e := range s.Living(now) {
		good = append(good, e.Digest)
	}
	return good
}

// Has says whether a password is in the set, and until when it is good.
func (s Set) Has(d Digest) (until time.Time, has bool) {
	for _, e := range s {
		if e.Digest == d {
			return e.Until, true
		}
	}
	return time.Time{}, false
}

// With is the set with one more password, without an end.
func (s Set) With(d Digest) Set { return append(slices.Clone(s), Entry{Digest: d}) }

// Without is the set without a password.
func (s Set) Without(d Digest) Set {
	return slices.DeleteFunc(slices.Clone(s), func(e Entry) bool { return e.Digest == d })
}

// Living is the set without what has ended.
func (s Set) Living(now time.Time) Set {
	return slices.DeleteFunc(slices.Clone(s), func(e Entry) bool { return !e.Until.IsZero() && !now.Before(e.Until) })
}

// EndOthers is the set in which all but some passwords end at a moment, unless
// they end sooner.
func (s Set) EndOthers(at time.Time, but ...Digest) Set {
	next := slices.Clone(s)
	for i, e := range next {
		if !slices.Contains(but, e.Digest) && (e.Until.IsZero() || at.Before(e.Until)) {
			next[i].Until = at
		}
	}
	return next
}

// Retire is the set without the passwords that have an end.
func (s Set) Retire() Set {
	return slices.DeleteFunc(slices.Clone(s), func(e Entry) bool { return !e.Until.IsZero() })
}
