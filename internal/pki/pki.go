// Package pki makes a deployment's certificates: a private CA in a directory,
// one certificate for each host, and the lists of what was revoked. It has no
// network.
//
// "redoubt pki" and "redoubt up" call it, and a gateway that enrols and renews
// hosts. The way of a deployment: Create once; Open, and then Issue (the key is
// made here) or Sign (the key was made on its host, NewRequest); Leaf.Save there;
// Revoke when a host is lost; StartRotation, SwitchRoot and FinishRotation when
// the root is to be replaced; Hosts, Read and Describe to look at what is there.
//
// A CA's directory is for the CA only; what a gateway or sidecar reads is the
// directory that Leaf.Save writes, and no CA's key is ever in it.
//
//	ca.crt       every root that hosts shall believe, PEM      0644
//	ca.key       their keys, encrypted if a passphrase is set  0600
//	issued       the ledger: who has what (ledger.go)          0600
//	archive/     what the ledger has forgotten (archive.go)    0700
//	log/         what administrators did (package trail)       0700
//	revoked.crl  a list for each root, RFC 5280 §5, PEM        0644
//	lock         held while any of these is read or changed
//
// It guarantees:
//   - A certificate carries exactly one URI, the host's identity of this CA's
//     deployment. A gateway's serves only, an application host's asks only
//     (extended key usage). Of a CSR nothing is taken but the public key.
//   - No certificate leaves that the ledger doesn't know, and it knows it on the
//     disk, not only in memory: what can't be written isn't issued.
//   - Several processes may use one directory at once. Each reads again what
//     another changed, and nothing that one did is lost.
//   - Each change is made by the renaming of one file. When the machine stops
//     between that and what follows from it (a new CRL, a key that is no longer
//     needed), the next change catches up.
//   - Keys are born in files of mode 0600, and a key that others can read is
//     refused. A ledger or CRL that this CA didn't write is refused.
//
// It never reuses a host's key, and never puts a key, a passphrase or a part of
// one in an error.
//
// Keys are ECDSA P-256 unless asked otherwise: small, quick to verify, and
// allowed in every FIPS mode (FIPS 186-5 §6; SP 800-57 part 1 rev. 5 table 2:
// 128 bits of strength).
//
// The tests verify what is issued with crypto/x509 and, as an implementation
// that isn't ours, with openssl; cut every change after each of its writes; run
// processes against each other and kill them; and feed files of arbitrary bytes.
package pki

import "time"

// Lifetimes. The inequality behind them: a leaf must be renewed well before it
// ends, and the CA must outlive every leaf that it signs (Issue clips).
const (
	// CALife: replacing a private CA means touching every host, so it is rare;
	// NIST allows such a key's public part longer (SP 800-57 part 1 rev. 5
	// §5.3.6 item 2).
	CALife = 10 * 365 * 24 * time.Hour
	// LeafLife is the default for hosts, which renew by themselves when a third of
	// it is left (package enroll): short enough that a key that was copied is soon
	// worthless, long enough that a CA may be away over a weekend.
	LeafLife = 7 * 24 * time.Hour
	// MaxLeafLife bounds what can be asked for: a key that may have been copied
	// must not be good for ever (CA/Browser Forum BR §6.3.2 in 2025: 398 days).
	MaxLeafLife = 398 * 24 * time.Hour
	// ClockSkew is how far a certificate reaches back, so that a host whose clock
	// is a little behind the CA's takes it at once. Kerberos tolerates as much
	// (RFC 4120 §8.2).
	ClockSkew = 5 * time.Minute
	// memory is how long the ledger and the CRLs keep a certificate beyond its
	// end: a clock that jumps ahead by less, and back, makes the CA forget nothing
	// that lives. Then it goes to the archive. RFC 5280 §3.3 wants a revoked one listed beyond its end too.
	memory = 30 * 24 * time.Hour
)

// ProbePrefix begins the names of the hosts that redoubt verify invents and revokes.
const ProbePrefix = "redoubt-verify-"

// Names of the files in a CA's directory and in a host's.
const (
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
	ledgerFile = "issued"
	crlFile    = "revoked.crl"
	lockFile   = "lock"
	leafFile   = "tls.pem"
)
