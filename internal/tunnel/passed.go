package tunnel

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Conn is a connection of the tunnel whose TLS has been ended, here or by another process
// of ours.
type Conn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
}

// passed are Credentials on their way to another process of ours, which has no files. It
// holds the private key: it is kept in memory, and in no file that has a name.
type passed struct {
	Chain [][]byte     `json:"chain"` // DER
	Key   []byte       `json:"key"`   // PKCS #8
	Roots [][]byte     `json:"roots"` // DER
	Lists []byte       `json:"lists,omitempty"`
	Rules []passedRule `json:"rules,omitempty"`
}

type passedRule struct {
	Deployment string        `json:"deployment"`
	Role       identity.Role `json:"role"`
	Pattern    string        `json:"pattern"`
	Name       string        `json:"name,omitempty"`
}

func (r Rule) passed() passedRule {
	p := passedRule{r.deployment, r.role, r.kind + ":" + r.before, r.name}
	if r.star {
		p.Pattern += "*" + r.after
	}
	return p
}

// Pass writes what is in force now for PassedCredentials and TakeOver.
func (c *Credentials) Pass() ([]byte, error) {
	s := c.state.Load()
	key, err := x509.MarshalPKCS8PrivateKey(s.pair.PrivateKey)
	if err != nil {
		return nil, errors.New("tunnel credentials: the private key is of a kind that can't be handed to another process: an ECDSA P-256, Ed25519 or RSA key is needed")
	}
	p := passed{Chain: s.pair.Certificate, Key: key, Lists: s.lists}
	for _, root := range s.roots {
		p.Roots = append(p.Roots, root.Raw)
	}
	for _, rule := range s.rules {
		p.Rules = append(p.Rules, rule.passed())
	}
	return json.Marshal(p)
}

// PassedCredentials are those that Pass wrote in another process.
func PassedCredentials(text []byte) (*Credentials, error) {
	h, rules, err := parsePassed(text)
	if err != nil {
		return nil, err
	}
	return HandedCredentials(h, rules...)
}

// TakeOver puts newer ones of the same host in force.
func (c *Credentials) TakeOver(text []byte) error {
	h, _, err := parsePassed(text)
	if err != nil {
		return err
	}
	return c.Replace(h)
}

// parsePassed says nothing of what it read in an error: the key is in it.
func parsePassed(text []byte) (h Handed, rules []Rule, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var p passed
	if dec.Decode(&p) != nil {
		return h, nil, errPassed
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return h, nil, errPassed
	}
	if h.Chain, err = parseAll(p.Chain); err != nil {
		return h, nil, fmt.Errorf("tunnel credentials: the certificate that was handed over: %w", err)
	}
	if h.Roots, err = parseAll(p.Roots); err != nil {
		return h, nil, fmt.Errorf("tunnel credentials: the CAs that were handed over: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(p.Key)
	if err != nil {
		return h, nil, errPassed
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return h, nil, errPassed
	}
	h.Key, h.Lists = signer, p.Lists
	for _, r := range p.Rules {
		rule, err := ParseRule(r.Deployment, r.Role, r.Pattern, r.Name)
		if err != nil {
			return h, nil, err
		}
		rules = append(rules, rule)
	}
	return h, rules, nil
}

func parseAll(raw [][]byte) (certs []*x509.Certificate, err error) {
	for _, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

var errPassed = errors.New("tunnel credentials: what was handed over is not of this form")
