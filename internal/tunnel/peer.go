package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Who is there? The questions, in this order, for both ends:
//
//  1. Is there a certificate, and does its chain end in our CA, now, for this
//     use (serverAuth of a gateway, clientAuth of an application host)?
//  2. Does it carry exactly one URI?
//  3. Is that URI an identity, whole and byte for byte?
//  4. Has it the role?
//  5. Is it of our deployment?
//  6. Only for a gateway: is it the one that was dialled?
//
// The first "no" ends the handshake.

// acceptApp is the gateway's check; crypto/tls has verified the chain by then
// (RequireAndVerifyClientCert).
func (c *Credentials) acceptApp(cs tls.ConnectionState) error {
	if len(cs.VerifiedChains) == 0 {
		return errors.New("the client's certificate was not verified")
	}
	_, err := c.peerOf(cs, identity.App)
	return err
}

// acceptGateway is the application host's check, from the chain on.
func (c *Credentials) acceptGateway(want identity.ID) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if err := c.verifyChain(cs.PeerCertificates, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		got, err := c.peerOf(cs, identity.Gateway)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the server is %s, not %s", got, want)
		}
		if cs.NegotiatedProtocol != Relay {
			return fmt.Errorf("the server does not speak %s", Relay)
		}
		return nil
	}
}

// verifyChain does for a server what crypto/tls does for a client.
func (c *Credentials) verifyChain(certs []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(certs) == 0 {
		return errors.New("the peer sent no certificate")
	}
	options := x509.VerifyOptions{
		Roots:         c.roots,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{usage},
	}
	for _, cert := range certs[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := certs[0].Verify(options)
	return err
}

// peerOf asks questions 2 to 5.
func (c *Credentials) peerOf(cs tls.ConnectionState, role identity.Role) (identity.ID, error) {
	id, err := identityOf(cs.PeerCertificates[0])
	if err != nil {
		return identity.ID{}, err
	}
	if id.Role() != role {
		return identity.ID{}, fmt.Errorf("the peer is %s, its role must be %q", id, role)
	}
	if id.Deployment() != c.id.Deployment() {
		return identity.ID{}, fmt.Errorf("the peer is %s, its deployment must be %q", id, c.id.Deployment())
	}
	return id, nil
}

// Peer is who stands at the other end of a connection whose handshake is done.
func Peer(cs tls.ConnectionState) (identity.ID, error) {
	if !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 {
		return identity.ID{}, errors.New("nobody has proved an identity on this connection")
	}
	return identityOf(cs.PeerCertificates[0])
}

// identityOf reads the one URI of a host's certificate.
func identityOf(cert *x509.Certificate) (identity.ID, error) {
	if cert.IsCA { // SPIFFE X509-SVID §5.2: a CA is nobody's identity
		return identity.ID{}, errors.New("the certificate is a CA's, not a host's")
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
