package migration

import "strings"

// The options of stunnel 5 (stunnel -help, stunnel(8)), and what becomes of each.
// Those of which more is to be said are in stunnel.go as well.

const (
	ownCertificates = "Each host gets a key and a certificate of its own from the deployment's private CA, good for 7 days, renewed by itself, out within a second when it is revoked."
	onlyTLS13       = "TLS 1.3 only, key exchange X25519MLKEM768 where both ends have it."
	noPSK           = "A secret that hosts share tells nobody which host is there, and stays until somebody changes it on all of them. " + ownCertificates
	ownDaemon       = "Gateway and sidecar run under systemd, as a user without rights."
	notTunnelled    = "It is done before or instead of TLS, and there is no such thing in the tunnel."
	ownTimes        = "The tunnel watches its connections itself."
	noTickets       = "Sessions are not resumed: each connection proves itself anew, so that a revoked host is out at once."
)

var stunnelOptions = []directive{
	{names: "accept connect client", verdict: Kept},
	{names: "cert key", verdict: Tightened, why: ownCertificates},
	{names: "CAfile CApath CAengine CAstore", verdict: Tightened, why: "What a host believes is the deployment's own CA, which nobody else uses, and within it the role and name in the certificate."},
	{names: "CRLfile CRLpath OCSP OCSPaia OCSPflag OCSPnonce OCSPrequire", verdict: Tightened, why: "A revoked host is cut within a second, at every gateway, without a list that somebody carries (redoubt pki revoke)."},
	{names: "verify verifyChain verifyPeer requireCert checkHost checkEmail checkIP", verdict: Kept, why: "Both ends are verified always: chain, deployment, role and name."},
	{names: "sslVersion sslVersionMin sslVersionMax", verdict: Kept, why: onlyTLS13},
	{names: "ciphers", verdict: Dropped, why: "It chooses among ciphers of TLS 1.2 and older. " + onlyTLS13},
	{names: "ciphersuites curve curves ECDH", verdict: Dropped, why: onlyTLS13},
	{names: "options", verdict: Dropped, why: "OpenSSL's options for older versions. " + onlyTLS13},
	{names: "securityLevel", verdict: Dropped, why: "Keys of less than 112 bits of strength are refused at both ends. " + onlyTLS13},
	{names: "renegotiation compression session sessionCacheSize sessionCacheTimeout sessionResume sessiond", verdict: Tightened, why: noTickets},
	{names: "ticketKeySecret ticketMacSecret", verdict: Tightened, secret: true, why: noTickets},
	{names: "PSKidentity PSKsecrets", verdict: Tightened, weak: true, why: noPSK},

	{names: "exec execArgs pty", verdict: Refused, why: "The service starts a program; a cache is not one."},
	{names: "protocol protocolAuthentication protocolDomain protocolHeader protocolHost protocolUsername", verdict: Refused, why: notTunnelled + " If hosts reach each other only through a proxy, Redoubt can't get through it."},
	{names: "protocolPassword", verdict: Refused, secret: true, why: notTunnelled},
	{names: "sni redirect", verdict: Refused, why: notTunnelled + " Connections that share the port with other services need a port of their own."},
	{names: "transparent", verdict: Refused, harmless: "none|no", why: "The packet filter sends connections of other addresses through stunnel, or Redis saw the applications' own. The sidecar has an address of its own, which applications must be given; the gateway knows each host by its certificate."},
	{names: "ident", verdict: Dropped, why: "The sidecar can ask the kernel who connects (allow_uids in sidecar.yaml)."},
	{names: "libwrap", verdict: Dropped, harmless: "no", why: "/etc/hosts.allow and hosts.deny are not read: name application hosts with --app, from which the gateway's admit and the packet filter are made."},
	{names: "failover delay local", verdict: Dropped, why: "A sidecar uses one gateway at a time, goes on to the next by itself, and connects again by itself."},
	{names: "TIMEOUTbusy TIMEOUTclose TIMEOUTconnect TIMEOUTidle TIMEOUTocsp socket reset retry", verdict: Dropped, why: ownTimes},
	{names: "logId debug log output syslog status", verdict: Dropped, why: "A line for each connection that is opened, refused or closed, with the host's identity, on standard error: the journal keeps it."},
	{names: "chroot setuid setgid pid foreground service stack taskbar iconActive iconError iconIdle", verdict: Dropped, why: ownDaemon},
	{names: "EGD RNDbytes RNDfile RNDoverwrite", verdict: Dropped, why: "Randomness comes from the kernel."},
	{names: "fips", verdict: Dropped, why: "A build in FIPS 140-3 mode exists: make build-fips (docs/fips.md)."},
	{names: "engine engineId engineNum engineDefault provider", verdict: Refused, why: "The key may lie in hardware; Redoubt's host keys are files of mode 0600 that live for 7 days. Go on if that is enough."},
	{names: "engineCtrl providerParameter config setEnv", verdict: Refused, secret: true, why: "It sets up OpenSSL, which Redoubt doesn't use. Go on if nothing else depends on it."},
}

// lookupOption finds an option's row; stunnel takes names in any case.
func lookupOption(name string) (directive, bool) {
	for _, d := range stunnelOptions {
		for n := range strings.FieldsSeq(d.names) {
			if strings.EqualFold(n, name) {
				return d, true
			}
		}
	}
	return directive{}, false
}
