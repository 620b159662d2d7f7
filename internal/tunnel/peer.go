package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Who is there? The questions, in this order, for both ends:
//
//  1. Is there a certificate, and does its chain end in our CA, now, for this
//     use (serverAuth of a gateway, clientAuth of an application host)? And has
//     no key in it less strength than 112 bits?
//  2. Does it carry exactly one URI?
//  3. Is that URI an identity, whole and byte for byte? (Where there are rules
//     for certificates of another maker: do they name exactly one host?)
//  4. Has it the role?
//  5. Is it of our deployment?
//  6. Is no certificate of its chain revoked?
//  7. Only for a gateway: is it the one that was dialled?
//
// The first "no" ends the handshake.

// acceptApp is the gateway's check of whom it relays for; crypto/tls has
// verified the chain by then (RequireAndVerifyClientCert).
func (s *snapshot) acceptApp(cs tls.ConnectionState) error {
	if len(cs.VerifiedChains) == 0 {
		return errors.New("the client's certificate was not verified")
	}
	_, err := s.peerOf(cs.PeerCertificates[0], cs.VerifiedChains, identity.App)
	return err
}

// acceptHost is the gateway's check of who renews: a host of either role. What
// a gateway's certificate is good for is to serve (serverAuth), so crypto/tls
// would refuse it as a client's, and the chain is verified here.
func (s *snapshot) acceptHost(cs tls.ConnectionState) error {
	_, err := s.verifyPeer(cs)
	return err
}

// acceptGateway is the application host's check, from the chain on.
func (s *snapshot) acceptGateway(want identity.ID, protocol string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		chains, err := s.verifyChain(cs.PeerCertificates, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		got, err := s.peerOf(cs.PeerCertificates[0], chains, identity.Gateway)
		if err != nil {
			return err
		}
		if got.ID != want {
			return fmt.Errorf("the server is %s, not %s", got.ID, want)
		}
		if cs.NegotiatedProtocol != protocol {
			return fmt.Errorf("the server does not speak %s", protocol)
		}
		return nil
	}
}

// verifyPeer asks questions 1 to 6 of a peer of whatever role.
func (s *snapshot) verifyPeer(cs tls.ConnectionState) (Peer, error) {
	if len(cs.PeerCertificates) == 0 {
		return Peer{}, errors.New("nobody has proved an identity on this connection")
	}
	cert := cs.PeerCertificates[0]
	id, err := s.identify(cert)
	if err != nil {
		return Peer{}, err
	}
	chains, err := s.verifyChain(cs.PeerCertificates, usageOf(id.Role()))
	if err != nil {
		return Peer{}, err
	}
	return s.peerOf(cert, chains, id.Role())
}

// verifyChain does for a peer what crypto/tls does for a client.
func (s *snapshot) verifyChain(certs []*x509.Certificate, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	if len(certs) == 0 {
		return nil, errors.New("the peer sent no certificate")
	}
	return certs[0].Verify(x509.VerifyOptions{
		Roots:         s.pool,
		Intermediates: poolOf(certs[1:]),
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
}

// usageOf is what a role's certificate is good for.
func usageOf(role identity.Role) x509.ExtKeyUsage {
	if role == identity.Gateway {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// peerOf asks questions 2 to 6 of a certificate whose chains are verified.
func (s *snapshot) peerOf(cert *x509.Certificate, chains [][]*x509.Certificate, role identity.Role) (Peer, error) {
	if err := strong(chains); err != nil {
		return Peer{}, err
	}
	id, err := s.identify(cert)
	if err != nil {
		return Peer{}, err
	}
	if id.Role() != role {
		return Peer{}, fmt.Errorf("the peer is %s, its role must be %q", id, role)
	}
	if id.Deployment() != s.id.Deployment() {
		return Peer{}, fmt.Errorf("the peer is %s, its deployment must be %q", id, s.id.Deployment())
	}
	p := Peer{ID: id, NotAfter: cert.NotAfter}
	for _, chain := range chains { // one, unless roots are cross-signed
		p.chain = linksOf(chain)
		if err = s.believes(p); err == nil {
			return p, nil
		}
	}
	return Peer{}, err
}

// Peer is who stands at the other end of a connection, by which certificate.
type Peer struct {
	ID       identity.ID
	NotAfter time.Time // of its certificate
	chain    []link    // from the host's certificate up
}

// Peer tells who it is once the handshake is done.
func (c *Credentials) Peer(cs tls.ConnectionState) (Peer, error) {
	if !cs.HandshakeComplete {
		return Peer{}, errors.New("nobody has proved an identity on this connection")
	}
	return c.state.Load().verifyPeer(cs)
}

// Believes asks about a peer whose connection is up what may have changed since
// its handshake: whether a certificate of its chain has been revoked, or its CA
// is believed no longer. That its certificate has ended is not asked.
func (c *Credentials) Believes(p Peer) error { return c.state.Load().believes(p) }

// Revoked says whether the peer of a connection that is up has been revoked, and
// nothing else: a gateway may have another certificate by now, under another CA.
func (c *Credentials) Revoked(cs tls.ConnectionState) error {
	s := c.state.Load()
	if len(cs.PeerCertificates) == 0 {
		return nil
	}
	cert, at := cs.PeerCertificates[0], time.Now()
	if at.After(cert.NotAfter) {
		at = cert.NotAfter
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: s.pool, Intermediates: poolOf(cs.PeerCertificates[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil || len(chains) == 0 {
		return nil // of a CA that is believed no longer: no list speaks of it
	}
	for _, l := range linksOf(chains[0]) {
		if s.revoked.has(l) {
			return fmt.Errorf("the gateway's certificate is revoked (serial %x)", l.serial)
		}
	}
	return nil
}

func (s *snapshot) believes(p Peer) error {
	if len(p.chain) == 0 {
		return errors.New("nobody has proved an identity on this connection")
	}
	for _, l := range p.chain {
		if s.revoked.has(l) {
			return fmt.Errorf("the certificate of %s is revoked (serial %x)", p.ID, l.serial)
		}
	}
	top := p.chain[len(p.chain)-1].issuer
	if !slices.ContainsFunc(s.roots, func(root *x509.Certificate) bool { return keyOf(root) == top }) {
		return fmt.Errorf("the CA of %s is believed no longer", p.ID)
	}
	return nil
}

// identityOf reads the one URI of a host's certificate.
func identityOf(cert *x509.Certificate) (identity.ID, error) {
	if cert.IsCA { // SPIFFE X509-SVID §5.2: a CA is nobody's identity
		return identity.ID{}, errCA
	}
	uris, err := rawURIs(cert)
	if err != nil {
		return identity.ID{}, err
	}
	if len(uris) != 1 {
		return identity.ID{}, fmt.Errorf("the certificate has %d URIs, it must have exactly one", len(uris))
	}
	return identity.Parse(uris[0])
}

// rawURIs are the certificate's URI names as they stand there. Not cert.URIs:
// url.URL forgets an empty fragment and the case of the scheme, and so makes
// two spellings equal that aren't.
func rawURIs(cert *x509.Certificate) ([]string, error) {
	const uriTag = 6 // GeneralName uniformResourceIdentifier [6], RFC 5280 §4.2.1.6
	var uris []string
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) { // id-ce-subjectAltName
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) != 0 {
			return nil, errors.New("the certificate's alternative names can't be read")
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == uriTag {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}
