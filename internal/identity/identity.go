// Package identity is who a host is: a SPIFFE ID as a value that can't be
// invalid.
//
// A certificate of a Redoubt deployment carries exactly one URI,
//
//	spiffe://DEPLOYMENT/gateway/NAME   a cache host
//	spiffe://DEPLOYMENT/app/NAME       an application host
//
// and everything that asks "who is there?" compares whole IDs with ==. An ID
// comes from New or Parse only; the zero value is nobody and equals no other.
// pki writes IDs into certificates, tunnel reads them back, gateway counts and
// logs by them, config checks names with ValidDeployment and ValidName.
//
// The grammar is narrower than SPIFFE's (SPIFFE-ID §2): both parts are names as
// in DNS, in lower case. So two IDs that look alike are alike, a trust domain
// can stand in an X.509 name constraint (RFC 5280 §4.2.1.10 wants a host name),
// and each part fits X.509's 64 characters (RFC 5280 appendix A.1).
//
// Parse accepts what String prints and nothing else: no escapes, no port, no
// query, no other case, so that there is one spelling of each ID. The tests try
// every byte value at every kind of position, and a fuzz target holds the
// round trip.
package identity

import (
	"fmt"
	"net/url"
	"strings"
)

// Role is what a host is for.
type Role string

// The roles. A gateway serves, an app asks; neither may act as the other.
const (
	Gateway Role = "gateway"
	App     Role = "app"
)

const scheme = "spiffe"

// maxName bounds both parts: a DNS label's length, just under X.509's 64.
const maxName = 63

// ID is one host of one deployment. It is comparable.
type ID struct {
	deployment string
	role       Role
	name       string
}

// New makes the ID of a host.
func New(deployment string, role Role, name string) (ID, error) {
	if err := ValidDeployment(deployment); err != nil {
		return ID{}, err
	}
	if role != Gateway && role != App {
		return ID{}, fmt.Errorf("role %q is neither %q nor %q", role, Gateway, App)
	}
	if err := ValidName(name); err != nil {
		return ID{}, err
	}
	return ID{deployment, role, name}, nil
}

// Parse reads what String prints.
func Parse(uri string) (ID, error) {
	rest, ok := strings.CutPrefix(uri, scheme+"://")
	if !ok {
		return ID{}, fmt.Errorf("identity %q does not begin with %s://", clip(uri), scheme)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return ID{}, fmt.Errorf("identity %q is not of the form %s://DEPLOYMENT/ROLE/NAME", clip(uri), scheme)
	}
	id, err := New(parts[0], Role(parts[1]), parts[2])
	if err != nil {
		return ID{}, fmt.Errorf("identity %q: %w", clip(uri), err)
	}
	return id, nil
}

// ValidDeployment says what is wrong with a deployment's name, or nil.
func ValidDeployment(s string) error {
	if err := validDNS("deployment", s); err != nil {
		return err
	}
	// A host whose last label is a number is read as an IPv4 address (WHATWG URL
	// §3.5), and an address can't be held against a name constraint.
	if last := s[strings.LastIndexByte(s, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("deployment %q must not end in a number: it would read as an IP address", s)
	}
	return nil
}

// ValidName says what is wrong with a host's name, or nil.
func ValidName(s string) error { return validDNS("name", s) }

// validDNS holds s against the preferred syntax of RFC 1034 §3.5 (labels may
// begin with a digit: RFC 1123 §2.1), in lower case.
func validDNS(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if len(s) > maxName {
		return fmt.Errorf("%s %q is longer than %d characters", what, clip(s), maxName)
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%s %q: each part between dots must begin and end with a letter or digit", what, s)
		}
		for i := range len(label) {
			if c := label[i]; !isLetterDigit(c) && c != '-' {
				return fmt.Errorf("%s %q: only a-z, 0-9, '-' and '.' may stand in it (lower case)", what, s)
			}
		}
	}
	return nil
}

func isLetterDigit(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// clip keeps what a stranger sent from filling an error or a log.
func clip(s string) string {
	const most = 2 * maxName
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Deployment is the SPIFFE trust domain.
func (id ID) Deployment() string { return id.deployment }

// Role is what the host is for.
func (id ID) Role() Role { return id.role }

// Name is the host's name within its deployment and role.
func (id ID) Name() string { return id.name }

// IsZero tells nobody from somebody.
func (id ID) IsZero() bool { return id == ID{} }

// String is the whole URI; nobody is "".
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return scheme + "://" + id.deployment + "/" + string(id.role) + "/" + id.name
}

// URL is the URI as x509.Certificate wants it; nobody is nil.
func (id ID) URL() *url.URL {
	if id.IsZero() {
		return nil
	}
	return &url.URL{Scheme: scheme, Host: id.deployment, Path: "/" + string(id.role) + "/" + id.name}
}

// MarshalText makes an ID readable in JSON, logs in JSON included, which see no
// unexported fields and no String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }
