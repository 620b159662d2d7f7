// Package tunnel is the TLS between application hosts and cache hosts: what is
// spoken, who is believed, and how to get there. It is the only place that
// builds a tls.Config.
//
// A gateway calls Listen, LoadCredentials and Credentials.ServerConfig, and asks
// Credentials.Peer who came. A sidecar calls LoadCredentials once and Dialer.Dial
// for each connection, to the gateway that it uses then. Both run Credentials.Watch beside, which takes in what
// changes in the files: a renewed certificate, another CA, a longer list of
// revoked certificates. No connection ends for it by itself; a gateway asks
// Credentials.Believes about those that are up whenever Changed says so.
//
// It guarantees, on every connection at both ends:
//   - TLS 1.3, nothing older (SP 800-52 rev. 2 §3.1), with the key exchange
//     X25519MLKEM768 where both ends have it, else X25519 or P-256;
//   - a certificate at both ends, and that the peer is checked as the head
//     of peer.go lists, in that order;
//   - that no connection is a resumption, so that none skips the check;
//   - that files which could not work, or that know less of what is revoked than
//     those before, are never taken in: what was in force stays, and a process
//     that starts with such files refuses them (newest.go);
//   - full records, so that bulk is not cut small (DynamicRecordSizingDisabled).
//
// It never uses tls.Config.VerifyPeerCertificate (not called on resumption),
// never writes session keys (KeyLogWriter), never compares host names: a
// gateway is known by its identity, at whatever address it answers.
//
// In TLS 1.3 a client's handshake ends before the server has looked at the
// client's certificate (RFC 8446 §2): Dial succeeding means that the gateway is
// the right one, not that it lets us in. A refusal comes with the first Read,
// and Refusal puts it in words.
//
// The tests run every pair of right and wrong peers through real handshakes,
// with openssl s_client as an attacker that isn't ours; fuzz targets load files
// of arbitrary bytes.
package tunnel

import (
	"crypto/tls"
	"slices"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Protocols by ALPN (RFC 7301). A gateway serves Relay, and the others where it
// is told to; it switches on what was agreed. A client that offers none, such as
// an application's own Redis library, means Relay; one that offers only names
// unknown here is refused by crypto/tls.
const (
	Relay = "redoubt/1"
	// Enroll is for hosts without a certificate: see package enroll.
	Enroll = "redoubt-enroll/2"
	// Renew is for hosts of either role that have one.
	Renew = "redoubt-renew/2"
	// Several is offered beside Relay by a host that has several gateways, and never
	// agreed on: it tells a gateway that this host may go on to another cache.
	Several = "redoubt-several/1"
)

// baseConfig is what both ends have in common.
func baseConfig(protocol string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// crypto/tls prefers in this order by itself, and takes the list as a set.
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:                  []string{protocol},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
}

// ServerConfig is a gateway's: peers are application hosts of its deployment
// and, where further protocols are served, hosts that enrol or renew. Each
// handshake takes the certificate and the CAs as they are then, and has one
// protocol to agree on: who offers Enroll can't end up anywhere else.
func (c *Credentials) ServerConfig(further ...string) *tls.Config {
	cfg := baseConfig(Relay)
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		protocol := Relay
		for _, offered := range hello.SupportedProtos {
			if slices.Contains(further, offered) {
				protocol = offered
				break
			}
		}
		return c.state.Load().serverConfig(protocol), nil
	}
	return cfg
}

// OnSeveral has a ServerConfig ask about each host that has several gateways, and refuse
// it if the answer is yes (docs/decisions/0142): there is no protocol for it, which it is
// told by an alert.
func OnSeveral(cfg *tls.Config, refuse func() bool) {
	serve := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, Several) && refuse() {
			return baseConfig("none"), nil
		}
		return serve(hello)
	}
}

func (s *snapshot) serverConfig(protocol string) *tls.Config {
	cfg := baseConfig(protocol)
	cfg.Certificates = []tls.Certificate{s.pair}
	switch protocol {
	case Enroll: // who has no certificate can't show one: a token is asked for instead
		cfg.Certificates = []tls.Certificate{s.withRoots()}
	case Renew:
		cfg.ClientAuth = tls.RequireAnyClientCert // and acceptHost verifies it
		cfg.ClientCAs = s.pool
		cfg.VerifyConnection = s.acceptHost
	default:
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		cfg.ClientCAs = s.pool
		cfg.VerifyConnection = s.acceptApp
	}
	return cfg
}

// withRoots is the certificate with the CAs behind it, which whoever has only a
// fingerprint of one needs to see.
func (s *snapshot) withRoots() tls.Certificate {
	pair := s.pair
	pair.Certificate = slices.Clone(pair.Certificate)
	for _, root := range s.roots {
		pair.Certificate = append(pair.Certificate, root.Raw)
	}
	return pair
}

// ClientConfig is an application host's: the peer is exactly that gateway.
func (c *Credentials) ClientConfig(gateway identity.ID) *tls.Config {
	return c.state.Load().clientConfig(gateway, Relay)
}

// clientConfig offers a protocol, and further ones that nobody need agree on.
func (s *snapshot) clientConfig(gateway identity.ID, protocol string, further ...string) *tls.Config {
	cfg := baseConfig(protocol)
	cfg.NextProtos = append(cfg.NextProtos, further...)
	// Not Certificates: from these crypto/tls picks by the CAs that the server
	// names, and sends none when it finds none fitting; the server would then
	// complain of a missing certificate instead of a foreign one.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &s.pair, nil }
	// crypto/tls can verify a server against a host name only, and a gateway has
	// an identity instead. So its own check is off, and acceptGateway makes the
	// whole of it, chain included; VerifyConnection is called in every handshake,
	// and one that returns an error ends it. The proof that the server holds its
	// key (CertificateVerify) is not part of what this switches off.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = s.acceptGateway(gateway, protocol)
	return cfg
}
