package host

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"regexp"
	"slices"
)

// Private keys as text: RFC 7468 §10 and §11, OpenSSH's, OpenPGP's (RFC 9580 §6.2),
// PuTTY's. The first line stands alone, however far it is indented, or the key follows
// it, as in JSON.
var keyText = regexp.MustCompile(`(?m)^\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----\s*$|` +
	`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr])*(?:(?:Proc-Type|DEK-Info|Version|Comment):[^\n]*\n\s*)*[A-Za-z0-9+/]{16}|` +
	`^PuTTY-User-Key-File-[0-9]+:`)

// A place is where secrets stand in a text. Few texts have any of its words, which are
// in all that the pattern matches and are far cheaper to look for.
type place struct {
	words   []string // in lower case
	pattern *regexp.Regexp
}

// in are the first matches in a text, which is given in lower case besides.
func (p place) in(text, lower []byte, most int) [][][]byte {
	if !slices.ContainsFunc(p.words, func(word string) bool { return bytes.Contains(lower, []byte(word)) }) {
		return nil
	}
	return p.pattern.FindAllSubmatch(text, most)
}

var engines = []string{"redis", "valkey"}

// passwordText are a Redis password's places: the words of redis.conf, users.acl and
// sentinel.conf, a URL, and the names that programs and people give such a variable. A
// comment is none.
var passwordText = []place{
	{[]string{"requirepass", "masterauth", "primaryauth", "key-file-pass", "sentinel-pass", "auth-pass"},
		regexp.MustCompile(`(?im)^[ \t]*(?:requirepass|masterauth|primaryauth|tls-(?:client-)?key-file-pass|sentinel[ \t]+(?:sentinel-pass|auth-pass[ \t]+\S+))[ \t]+(\S+)`)},
	{[]string{"user"}, regexp.MustCompile(`(?im)^[ \t]*user[ \t]+\S+[ \t].*>(\S+)`)},
	{engines, regexp.MustCompile(`(?im)^[^#;\n]*\b(?:redis|rediss|valkey|valkeys)(?:[+-][a-z]+)?://[^\s/@"':]*:([^\s/@"']+)@`)},
	{engines, regexp.MustCompile(`(?im)^[^#;\n]*\b(?:redis|rediss|valkey|valkeys)(?:[+-][a-z]+)?://[^\s"']*[?&]password=([^\s&"']+)`)},
	{engines, regexp.MustCompile(`(?im)^[ \t]*(?:export[ \t]+)?["']?[\w.-]*(?:redis|valkey)[\w.-]*(?:pass|passwd|password|auth)["']?[ \t]*[=:][ \t]*["']?([^\s"']+)`)},
}

// noPassword is what stands where a password would, and is none: that there is none, or
// where it will come from.
var noPassword = regexp.MustCompile(`(?i)^(?:""|''|true|false|yes|no|on|off|none|null|nil|~|\$.*|<.*|\{\{.*|\{%.*|%[sv(].*|\*+|x+|/.*|#.*)$`)

// stunnelNames is where a stunnel says which file its PSK keys are in.
var stunnelNames = place{[]string{"psksecrets"}, regexp.MustCompile(`(?im)^[ \t]*PSKsecrets[ \t]*=[ \t]*(\S+)`)}

func stunnelKeyLists(text []byte) (paths []string) {
	lower := bytes.ToLower(text)
	defer clear(lower)
	for _, m := range stunnelNames.in(text, lower, 16) {
		paths = append(paths, string(m[1]))
	}
	return paths
}

func holdsSecret(text []byte) bool {
	if bytes.Contains(text, []byte("PRIVATE KEY")) || bytes.HasPrefix(text, []byte("PuTTY")) {
		if keyText.Match(text) {
			return true
		}
	}
	if keyInDER(text) {
		return true
	}
	if bytes.IndexByte(text[:min(len(text), 4096)], 0) >= 0 {
		return false // no text
	}
	lower := bytes.ToLower(text)
	defer clear(lower)
	for _, p := range passwordText {
		for _, m := range p.in(text, lower, 64) {
			if !noPassword.Match(m[1]) {
				return true
			}
		}
	}
	return isKeyList(text)
}

// digestNames begin lines of the same form in lists of checksums.
var digestNames = regexp.MustCompile(`(?i)^(?:md5|sha[0-9-]+|blake[0-9a-z]+)$`)

// isKeyList says whether a file is what a stunnel has PSK keys in (stunnel(8),
// PSKsecrets): lines of IDENTITY:KEY, the key in hexadecimal, of 16 bytes or more.
func isKeyList(text []byte) bool {
	keys := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == ';' {
			continue
		}
		name, key, _ := bytes.Cut(line, []byte(":"))
		if _, err := hex.DecodeString(string(key)); err != nil || len(key) < 32 || digestNames.Match(name) {
			return false
		}
		keys++
	}
	return keys > 0
}

// DER's names of what encrypts a private key (RFC 8018 PBES1 and PBES2, RFC 7292
// appendix C), and of PKCS #12's bags that hold one (RFC 7292 §4.2).
var (
	encryptions = [][]int{{1, 2, 840, 113549, 1, 5}, {1, 2, 840, 113549, 1, 12, 1}}
	keyBags     = [][]byte{
		{0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01},
		{0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x02},
	}
)

// keyInDER says whether a file is a private key in DER: PKCS #8, encrypted or not, PKCS
// #1, SEC 1, or a PKCS #12 that holds more than certificates.
func keyInDER(text []byte) bool {
	if len(text) < 32 || text[0] != 0x30 {
		return false
	}
	var whole asn1.RawValue
	if _, err := asn1.Unmarshal(text, &whole); err != nil && text[1] != 0x80 { // BER has no length there
		return false
	}
	if _, err := x509.ParsePKCS8PrivateKey(whole.FullBytes); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(whole.FullBytes); err == nil {
		return true
	}
	if _, err := x509.ParseECPrivateKey(whole.FullBytes); err == nil {
		return true
	}
	var encrypted struct {
		Algorithm struct {
			Name       asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Data []byte
	}
	if _, err := asn1.Unmarshal(whole.FullBytes, &encrypted); err == nil {
		return slices.ContainsFunc(encryptions, func(of []int) bool {
			name := encrypted.Algorithm.Name
			return len(name) > len(of) && name[:len(of)].Equal(of)
		})
	}
	return slices.ContainsFunc(keyBags, func(bag []byte) bool { return bytes.Contains(text, bag) })
}
