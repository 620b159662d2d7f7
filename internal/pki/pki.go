// Package pki makes a deployment's certificates: a private CA, and one
// certificate and key for each host. It has no network.
//
// "redoubt pki" and "redoubt up" call it. The way of a deployment: NewCA and
// Save once; LoadCA, Issue and Leaf.Save for each host; Read and Describe to
// look at what is there. The directory with the CA's key is for issuing only;
// what a gateway or sidecar reads is the directory that Leaf.Save writes, and
// the CA's key is never in it.
//
// It guarantees that a certificate carries exactly one URI, the host's identity
// of this CA's deployment; that a gateway's serves only and an application
// host's asks only (extended key usage); that keys are born in files of mode
// 0600, and a CA key that others can read is refused; that a file is whole or
// absent, and a CA is never overwritten.
//
// It never reuses a key, and never puts a key or a part of one in an error.
//
// Everything is ECDSA P-256: small, quick to verify, and allowed in every FIPS
// mode (FIPS 186-5 §6; SP 800-57 part 1 rev. 5 table 2: 128 bits of strength).
//
// The tests verify what is issued with crypto/x509 and, as an implementation
// that isn't ours, with openssl; fuzz targets feed files of arbitrary bytes.
package pki

import "time"

// Lifetimes. The inequality behind them: a leaf must be renewed well before it
// ends, and the CA must outlive every leaf that it signs (Issue clips).
const (
	// CALife: replacing a private CA means touching every host, so it is rare;
	// NIST allows such a key's public part longer (SP 800-57 part 1 rev. 5
	// §5.3.6 item 2).
	CALife = 10 * 365 * 24 * time.Hour
	// LeafLife is the default for hosts. While there is no renewal by itself,
	// people renew, and 90 days is what teams manage by calendar (Let's Encrypt's
	// old figure); with renewal it becomes 7 days.
	LeafLife = 90 * 24 * time.Hour
	// MaxLeafLife bounds what can be asked for: a key that may have been copied
	// must not be good for ever (CA/Browser Forum BR §6.3.2 in 2025: 398 days).
	MaxLeafLife = 398 * 24 * time.Hour
	// ClockSkew is how far a certificate reaches back, so that a host whose clock
	// is a little behind the CA's takes it at once. Kerberos tolerates as much
	// (RFC 4120 §8.2).
	ClockSkew = 5 * time.Minute
)

// Names of the files in a directory of Save.
const (
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
	leafFile   = "tls.pem"
)
