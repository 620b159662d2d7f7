package tunnel

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Handed is a host's identity that another program hands over, such as the
// agent of a SPIFFE deployment, or a process of ours that reads the files. Without Lists
// revocation is that program's business: it lets short lives end.
type Handed struct {
	Chain []*x509.Certificate // the host's certificate, then what stands between it and a root
	Key   crypto.Signer
	Roots []*x509.Certificate // every root that is believed
	Lists []byte              // of what the roots revoked, PEM; nil: none
}

// HandedCredentials are credentials without files. Replace exchanges them; Watch
// warns of their end. The rules are LoadCredentials'.
func HandedCredentials(h Handed, rules ...Rule) (*Credentials, error) {
	s, err := h.snapshot(rules)
	if err != nil {
		return nil, fmt.Errorf("tunnel credentials: %w", err)
	}
	c := &Credentials{rules: rules, id: s.id, changed: make(chan struct{})}
	c.state.Store(s)
	return c, nil
}

// Replace puts another identity of the same host in force. When that could not
// work the error says why, and all stays as it is.
func (c *Credentials) Replace(h Handed) error {
	s, err := h.snapshot(c.rules)
	if err == nil && s.id != c.id {
		err = fmt.Errorf("the certificate is of %s, and this is %s (restart to become another)", s.id, c.id)
	}
	if err != nil {
		return fmt.Errorf("tunnel credentials: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Store(s)
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// snapshot verifies what was handed over as load does what lies in files.
func (h Handed) snapshot(rules []Rule) (*snapshot, error) {
	if len(h.Chain) == 0 || h.Key == nil || len(h.Roots) == 0 {
		return nil, errors.New("certificate, key or CA is missing")
	}
	leaf := h.Chain[0]
	if public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(h.Key.Public()) {
		return nil, errors.New("the key is not the key of the certificate")
	}
	s := &snapshot{rules: rules, pair: tls.Certificate{PrivateKey: h.Key, Leaf: leaf}, roots: h.Roots, pool: poolOf(h.Roots)}
	for _, cert := range h.Chain {
		s.pair.Certificate = append(s.pair.Certificate, cert.Raw)
	}
	for _, root := range h.Roots {
		if !root.IsCA || !root.BasicConstraintsValid {
			return nil, fmt.Errorf("the certificate of %q among the CAs is not a CA's", root.Subject)
		}
	}
	var err error
	if s.id, err = s.identify(leaf); err != nil {
		return nil, err
	}
	if len(h.Lists) > 0 {
		if s.revoked, err = parseRevocations(h.Lists, h.Roots); err != nil {
			return nil, err
		}
		s.lists = h.Lists
	}
	if err := s.usable(time.Now()); err != nil {
		return nil, err
	}
	if err := s.verifySelf(); err != nil {
		return nil, fmt.Errorf("the certificate does not stand under the CAs: %w", err)
	}
	return s, nil
}
