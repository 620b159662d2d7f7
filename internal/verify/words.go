package verify

import (
	"regexp"
	"slices"
	"strings"
)

// What processes are started with is text of anybody's: NAME=value, --name value,
// -Dname=value, a connection string in either, a URL. A secret in it is told by its
// name, or by what it looks like.

// secretNames are what a secret's name has in it, without the separators of words.
var secretNames = []string{
	"password", "passwd", "passphrase", "requirepass", "masterauth", "authpass", "secret", "credential",
	"apikey", "accesskey", "privatekey", "signingkey", "encryptionkey", "masterkey", "authorization",
}

// secretEnds are words that make a name a secret's where it ends in them: elsewhere
// they mean something else (TOKEN_TTL, PWD, AUTH_MODE, KEY_PREFIX).
var secretEnds = []string{"token", "tokens", "auth", "pass", "pwd", "pw"}

// aboutSecrets are last words of names that say something of a secret, or where it is.
var aboutSecrets = []string{
	"file", "files", "path", "dir", "directory", "name", "id", "ttl", "timeout", "age", "days", "length", "size", "min", "max",
	"type", "mode", "policy", "enabled", "required", "sock", "socket", "url", "uri", "host", "port", "user", "username", "digests", "provider", "version",
}

// noSecretNames sound like one: make tells its children, in MAKEFLAGS, which descriptors
// or fifo its jobs are counted with.
var noSecretNames = []string{"jobserver-auth"}

// noSecrets are values that are none, whatever the name.
var noSecrets = []string{"true", "false", "yes", "no", "on", "off", "none", "null", "nil", "required", "optional", "enabled", "disabled", "prompt"}

var (
	// A password in a URL (RFC 3986 §3.2.1), and a private key.
	secretShape = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:]*:([^/@\s][^@\s]*)@|-----BEGIN [A-Z ]*PRIVATE KEY-----`)

	// What a separator has before it, and after.
	nameBefore = regexp.MustCompile(`([A-Za-z0-9_.-]+)["']?\s*$`)
	valueAfter = regexp.MustCompile(`^\s*["']?([^\s"';,&]+)`)
	wordOfName = regexp.MustCompile(`[A-Z]?[a-z0-9]+|[A-Z0-9]+`)
)

// secretIn finds a secret in the words that a process was started with: arguments,
// where a name may stand in one and its value in the next, or variables. It returns
// the secret's name, never a value.
func secretIn(words []string, arguments bool) (name string, found bool) {
	for i, word := range words {
		if name, found := secretInWord(word); found {
			return name, true
		}
		if arguments && i+1 < len(words) {
			// redis-server takes a directive as --requirepass and its value.
			if option := strings.TrimLeft(word, "-"); option != word && isSecret(option, words[i+1]) {
				return option, true
			}
		}
	}
	return "", false
}

func secretInWord(word string) (name string, found bool) {
	if m := secretShape.FindStringSubmatch(word); m != nil && strings.Trim(m[1], "*") != "" {
		return "a URL with a password", true
	} else if m != nil && m[1] == "" {
		return "a private key", true
	}
	for i, c := range word {
		if c != '=' && c != ':' {
			continue
		}
		before, after := nameBefore.FindStringSubmatch(word[:i]), valueAfter.FindStringSubmatch(word[i+1:])
		if before != nil && after != nil && isSecret(before[1], after[1]) {
			return before[1], true
		}
	}
	// A whole command line in a variable, as sudo's.
	for fields := strings.Fields(word); len(fields) > 1; fields = fields[1:] {
		if option := strings.TrimLeft(fields[0], "-"); option != fields[0] && isSecret(option, fields[1]) {
			return option, true
		}
	}
	return "", false
}

// isSecret says whether a name is a secret's, and the value can be one.
func isSecret(name, value string) bool {
	for _, start := range []string{"/", "./", "../", "~", "-", "$", "%", "@", "file:", "fd:", "*"} { // a path, an option, a placeholder
		if strings.HasPrefix(value, start) {
			return false
		}
	}
	if value == "" || slices.Contains(noSecrets, strings.ToLower(value)) || slices.Contains(noSecretNames, strings.TrimLeft(name, "-")) {
		return false
	}
	words := wordOfName.FindAllString(name, -1)
	for i := range words {
		words[i] = strings.ToLower(words[i])
	}
	if len(words) == 0 {
		return false
	}
	last := words[len(words)-1]
	if slices.Contains(aboutSecrets, last) {
		return false
	}
	// PWD alone is the working directory, and auth alone a method.
	if len(words) > 1 && slices.Contains(secretEnds, last) || last == "token" {
		return true
	}
	joined := strings.Join(words, "")
	return slices.ContainsFunc(secretNames, func(s string) bool { return strings.Contains(joined, s) })
}
