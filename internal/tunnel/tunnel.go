// Package tunnel is the TLS between application hosts and cache hosts: what is
// spoken, who is believed, and how to get there. It is the only place that
// builds a tls.Config.
//
// A gateway calls Listen, LoadCredentials and Credentials.ServerConfig, and asks
// Peer who came. A sidecar calls LoadCredentials once and Dialer.Dial for each
// connection.
//
// It guarantees, on every connection at both ends:
//   - TLS 1.3, nothing older (SP 800-52 rev. 2 §3.1), with the key exchange
//     X25519MLKEM768 where both ends have it, else X25519 or P-256;
//   - a certificate at both ends, and that the peer is checked as the comment of
//     peerCheck lists, in that order;
//   - that no connection is a resumption, so that none skips the check and
//     revoking a host takes hold with its next connection at the latest;
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

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// Protocols by ALPN (RFC 7301). The gateway switches on what was agreed;
// enrolment and renewal will be further names. A client that offers none, such
// as an application's own Redis library, means Relay; one that offers only
// names unknown here is refused by crypto/tls.
const Relay = "redoubt/1"

// baseConfig is what both ends have in common.
func (c *Credentials) baseConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// crypto/tls prefers in this order by itself, and takes the list as a set.
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:                  []string{Relay},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
}

// ServerConfig is a gateway's: peers are application hosts of its deployment.
func (c *Credentials) ServerConfig() *tls.Config {
	cfg := c.baseConfig()
	cfg.Certificates = []tls.Certificate{c.pair}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = c.roots
	cfg.VerifyConnection = c.acceptApp
	return cfg
}

// ClientConfig is an application host's: the peer is exactly that gateway.
func (c *Credentials) ClientConfig(gateway identity.ID) *tls.Config {
	cfg := c.baseConfig()
	// Not Certificates: from these crypto/tls picks by the CAs that the server
	// names, and sends none when it finds none fitting; the server would then
	// complain of a missing certificate instead of a foreign one.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c.pair, nil }
	// crypto/tls can verify a server against a host name only, and a gateway has
	// an identity instead. So its own check is off, and acceptGateway makes the
	// whole of it, chain included; VerifyConnection is called in every handshake,
	// and one that returns an error ends it. The proof that the server holds its
	// key (CertificateVerify) is not part of what this switches off.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = c.acceptGateway(gateway)
	return cfg
}
