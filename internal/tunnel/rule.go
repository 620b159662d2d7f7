package tunnel

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Rule says whom certificates of another maker belong to, which don't carry an
// identity of ours. It looks at one kind of alternative name:
//
//	dns:*.web.clinic.example            the host that stands for the star
//	uri:spiffe://corp.example/ns/*/web  likewise
//	dns:cache-1.clinic.example          one host, whose name is given
//
// A star stands for what can be a host's name (identity.ValidName) without dots;
// there is one at most. Where there are rules, they are all that counts: an
// identity of ours in a certificate says nothing then.
type Rule struct {
	kind          string // "dns" or "uri"
	before, after string // the star; without one, before is all
	star          bool
	deployment    string
	role          identity.Role
	name          string // without a star
}

// ParseRule reads a rule. name is required where the pattern has no star, and
// must be "" where it has one.
func ParseRule(deployment string, role identity.Role, pattern, name string) (Rule, error) {
	kind, text, ok := strings.Cut(pattern, ":")
	if !ok || kind != "dns" && kind != "uri" || text == "" {
		return Rule{}, fmt.Errorf("%q is neither dns:NAME nor uri:URI", pattern)
	}
	r := Rule{kind: kind, before: text, deployment: deployment, role: role, name: name}
	r.before, r.after, r.star = strings.Cut(text, "*")
	example := name
	switch {
	case strings.Contains(r.after, "*"):
		return Rule{}, fmt.Errorf("%q has more than one star", pattern)
	case r.star && name != "":
		return Rule{}, fmt.Errorf("%q has a star, which stands for the name: %q can't be the name too", pattern, name)
	case r.star:
		example = "x"
	case name == "":
		return Rule{}, fmt.Errorf("%q has no star that stands for the name: a name is needed", pattern)
	}
	if _, err := identity.New(deployment, role, example); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// match is whom an alternative name belongs to.
func (r Rule) match(name string) (identity.ID, bool) {
	host := r.name
	if r.star {
		rest, ok := strings.CutPrefix(name, r.before)
		if !ok {
			return identity.ID{}, false
		}
		if host, ok = strings.CutSuffix(rest, r.after); !ok || strings.Contains(host, ".") {
			return identity.ID{}, false
		}
	} else if name != r.before {
		return identity.ID{}, false
	}
	id, err := identity.New(r.deployment, r.role, host)
	return id, err == nil
}

// identify tells whose a certificate is.
func (s *snapshot) identify(cert *x509.Certificate) (identity.ID, error) {
	if len(s.rules) == 0 {
		return identityOf(cert)
	}
	if cert.IsCA {
		return identity.ID{}, errCA
	}
	uris, err := rawURIs(cert)
	if err != nil {
		return identity.ID{}, err
	}
	var found identity.ID
	for _, rule := range s.rules {
		names := uris
		if rule.kind == "dns" {
			names = cert.DNSNames
		}
		for _, name := range names {
			id, ok := rule.match(name)
			if !ok || id == found {
				continue
			}
			if !found.IsZero() {
				return identity.ID{}, fmt.Errorf("the certificate is that of %s and of %s, by the rules for certificates (tls.identities)", found, id)
			}
			found = id
		}
	}
	if found.IsZero() {
		return identity.ID{}, fmt.Errorf("the certificate has no name that a rule for certificates knows (tls.identities); it has: %s", namesOf(cert.DNSNames, uris))
	}
	return found, nil
}

var errCA = errors.New("the certificate is a CA's, not a host's") // SPIFFE X509-SVID §5.2

// namesOf is for the log; a certificate can hold a novel.
func namesOf(lists ...[]string) string {
	const most = 200
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	text := fmt.Sprintf("%q", all)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
