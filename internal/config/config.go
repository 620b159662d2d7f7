// Package config reads the configuration files: one YAML file a role,
// gateway.yaml and sidecar.yaml.
//
// The structs below are the schema. A field's tags carry its key, its default
// and its documentation, and docs/configuration.md is printed from them, so
// that the three can't differ. LoadGateway and LoadSidecar are strict: an
// unknown or repeated key, a wrong type or a value out of bounds is an error
// that names the file, the line, the key and what would be right. No secret
// stands in a configuration file, only the path of the file that holds it.
//
// A process that runs can take in some keys anew (redoubt reload); the tags say which
// (reload), and of the others why it can't (restart). One that stands at a group of keys
// is for all of them. Changes and Follow go by that.
//
// The roles never see these structs: package cli maps them to each role's own
// options. The tests load what should work and what shouldn't, a fuzz target
// the rest.
package config

// Gateway is gateway.yaml, on the cache host.
type Gateway struct {
	Deployment string        `yaml:"deployment" restart:"it is in this host's identity, which is loaded at a start" doc:"The deployment's name, as in its certificates (spiffe://DEPLOYMENT/gateway/NAME)."`
	Name       string        `yaml:"name" restart:"it is in this host's identity, which is loaded at a start" doc:"This gateway's name in its certificate."`
	Listen     string        `yaml:"listen" default:"0.0.0.0:6379" restart:"the port is opened at a start" doc:"The one address that application hosts reach."`
	Admit      []Network     `yaml:"admit" default:"[]" reload:"yes" doc:"Networks that may connect at all, as CIDRs; others are closed before TLS begins. Empty: every network that the firewall lets through."`
	TLS        TLS           `yaml:"tls" restart:"what these files hold is followed, which files they are is not" doc:"Who this gateway is, and whom it believes."`
	PKI        PKI           `yaml:"pki" restart:"the CA is opened at a start" doc:"The deployment's CA, if it lies on this host: then the gateway enrols hosts (redoubt token, redoubt join), renews their certificates and its own, and tells them what was revoked."`
	RenewFrom  []Peer        `yaml:"renew_from" default:"[]" restart:"who renews the certificate is decided at a start" doc:"Without a CA here: gateways that have it and renew this one's certificate, as {name: cache-1, address: HOST:PORT}."`
	Limits     GatewayLimits `yaml:"limits" reload:"yes" doc:"Bounds, so that no peer can use up the gateway."`
	Admin      Admin         `yaml:"admin" restart:"it is opened at a start" doc:"Where this process tells how it fares."`
	Engine     Engine        `yaml:"engine" doc:"The Redis or Valkey server behind the gateway, and what the application may do with it."`
	Exceptions []Exception   `yaml:"exceptions" default:"[]" reload:"yes" doc:"Checks of redoubt verify that may fail on this host for a time, as {check: RD-441, owner: who answers for it, reason: why, until: 2027-03-31}. They are reported as accepted, and fail again when that day is over."`
}

// Exception is a check that may fail for a time. All of it is required.
type Exception struct {
	Check  string `yaml:"check" doc:"The check's id."`
	Owner  string `yaml:"owner" doc:"Who answers for the risk."`
	Reason string `yaml:"reason" doc:"Why it is accepted."`
	Until  string `yaml:"until" doc:"The last day on which it holds, in UTC."`
}

// TLS names the files of a host's identity.
type TLS struct {
	Certificate File    `yaml:"certificate" default:"/etc/redoubt/tls/tls.pem" doc:"This host's certificate, PEM, with its chain if there is one. Ours hold the private key too; such a file must not be readable by others."`
	Key         File    `yaml:"key" default:"" doc:"Its private key, PEM, if it stands in a file of its own; must not be readable by others. Empty: it stands in the certificate's file."`
	CA          File    `yaml:"ca" default:"/etc/redoubt/tls/ca.crt" doc:"The deployment's CA, PEM; several while it is replaced. Its key is never needed here."`
	CRL         File    `yaml:"crl" default:"" doc:"Lists of revoked certificates, PEM, one for each CA that has one; must exist. Empty: revoked.crl beside the certificate, if it is there."`
	Identities  []Named `yaml:"identities" default:"[]" restart:"whose a certificate is is decided when identities are loaded, at a start" doc:"For certificates of another maker, whose they are, as {match: \"dns:*.web.clinic.example\", role: app} or {match: \"uri:spiffe://corp.example/cache\", role: gateway, name: cache-1}; a star stands for the host's name. Empty: a certificate carries spiffe://DEPLOYMENT/ROLE/NAME."`
	WorkloadAPI string  `yaml:"workload_api" default:"" restart:"where the identity comes from is decided at a start" doc:"Address of a SPIFFE Workload API, such as unix:///run/spire/agent.sock: certificate, key and CA come from there, not from files. Only in builds with the tag spiffe; see docs/spiffe.md. Empty: files."`
}

// Named says whose certificates with some name are.
type Named struct {
	Match string `yaml:"match" doc:"dns:NAME or uri:URI, with one star or none."`
	Role  string `yaml:"role" doc:"app or gateway."`
	Name  string `yaml:"name" default:"" doc:"The host's name, where there is no star."`
}

// PKI is a CA on a gateway's host.
type PKI struct {
	Dir        File     `yaml:"dir" default:"" doc:"The CA's directory (redoubt pki init). Empty: the CA is elsewhere. What to believe is read from its ca.crt and revoked.crl then, not from tls.ca and tls.crl."`
	Passphrase File     `yaml:"passphrase" default:"" doc:"File with the passphrase of the CA's key. Empty: the key has none, or one that is sealed for this machine (redoubt pki init --seal)."`
	Life       Duration `yaml:"life" default:"168h" min:"10s" max:"9552h" doc:"How long the certificates are good for that are issued here. They are renewed when a third of that is left."`
}

// Admin is where a process answers "redoubt status" and a monitoring system.
type Admin struct {
	Socket  File   `yaml:"socket" default:"" doc:"Unix socket for redoubt status, as open as its mode 0600. Empty: /run/redoubt/ROLE/NAME.sock, if it can be made."`
	Metrics string `yaml:"metrics" default:"" doc:"HOST:PORT for Prometheus and health checks (/metrics, /livez, /readyz), over plain HTTP: no secret is told there, but keep it on loopback or a network of your own. Empty: none."`
}

// GatewayLimits bounds what peers can take.
type GatewayLimits struct {
	Connections      int      `yaml:"connections" default:"4096" min:"1" max:"1000000" doc:"Tunnel connections at the same time. A sidecar needs few: most application connections share them. Each takes two open files."`
	PerIdentity      int      `yaml:"per_identity" default:"2048" min:"1" max:"1000000" doc:"Tunnel connections of one application host (one certificate identity): limits.own_lanes of its sidecar, and 512 for those that are shared."`
	Handshakes       int      `yaml:"handshakes" default:"1024" min:"1" max:"100000" doc:"TLS handshakes under way at the same time."`
	HandshakeTimeout Duration `yaml:"handshake_timeout" default:"5s" min:"100ms" max:"1m" doc:"How long a peer may take to prove who it is."`
	DrainTimeout     Duration `yaml:"drain_timeout" default:"10s" min:"0s" max:"10m" doc:"How long connections may finish on a stop."`
}

// Engine is the policy of the cache.
type Engine struct {
	Binary          string   `yaml:"binary" default:"" restart:"the engine is chosen at a start" doc:"Path of redis-server or valkey-server, 7.0 or later. Empty: the one that is installed."`
	User            string   `yaml:"user" default:"" restart:"the engine's user is chosen at a start" doc:"User that the engine runs as when the gateway is root. Empty: redoubt-engine if it exists, else a uid that nobody has."`
	PasswordDigests File     `yaml:"password_digests" default:"/etc/redoubt/password.sha256" restart:"what the file holds is followed, which file it is is not" doc:"File with the SHA-256 digest of the application's password, in hex (redoubt secret new writes it). While a password is replaced it has a line for each, the old one with its end (redoubt secret rotate). It is followed: a change counts within a second or two. Only root and the gateway's user may be able to write it; a file that can't be believed is refused, and the last good one stays."`
	Uses            []string `yaml:"uses" default:"[cache]" reload:"yes" doc:"What the application uses it for: cache, sessions, locks, pubsub, queues. Decides the ACL and what happens when memory is full; see docs/decisions."`
	Allow           []string `yaml:"allow" default:"[]" reload:"yes" doc:"Opened on purpose: scripting (EVAL, EVALSHA), functions (FUNCTION LOAD, FCALL)."`
	Deny            []string `yaml:"deny" default:"[]" reload:"yes" doc:"Closed on purpose: keys (KEYS), flushdb (FLUSHDB), pubsub, tracking (CLIENT TRACKING)."`
	Memory          Size     `yaml:"memory" default:"2gb" min:"16mb" max:"16tb" reload:"yes" doc:"Memory for data and clients (maxmemory). While the largest value is written the engine holds it twice."`
	MaxValue        Size     `yaml:"max_value" default:"512mb" min:"1mb" max:"512mb" reload:"yes" doc:"Largest single value or argument (proto-max-bulk-len)."`
	MaxClients      int      `yaml:"max_clients" default:"10000" min:"16" max:"1000000" restart:"the engine's open files are granted at its start" doc:"Connections that the engine accepts (maxclients)."`
}

// Sidecar is sidecar.yaml, on an application host.
type Sidecar struct {
	Deployment       string        `yaml:"deployment" restart:"it is in this host's identity, which is loaded at a start" doc:"The deployment's name, as in its certificates (spiffe://DEPLOYMENT/app/NAME)."`
	Name             string        `yaml:"name" restart:"it is in this host's identity, which is loaded at a start" doc:"This host's name in its certificate."`
	Listen           string        `yaml:"listen" default:"127.0.0.1:6379" restart:"the port is opened at a start" doc:"Where the application finds its Redis."`
	AllowNonLoopback bool          `yaml:"allow_non_loopback" default:"false" restart:"the port is opened at a start" doc:"Let listen be an address that other hosts can reach. What they send is not encrypted: only for a network that exists inside this host."`
	AllowUIDs        []int         `yaml:"allow_uids" default:"[]" restart:"the port is opened at a start, with or without a look at each user" doc:"Local users (numeric ids) that may use listen. Empty: every local user who knows the password."`
	Unix             Unix          `yaml:"unix" restart:"the socket is opened at a start" doc:"A unix socket beside, or instead of, the TCP port."`
	Gateways         []Peer        `yaml:"gateways" restart:"the way to the cache is laid at a start" doc:"The gateways. One is used at a time, by all of this host: the first, until it can't be reached; then the next, and from then on that one. Each has a cache of its own (docs/decisions/0141); one for locks or queues refuses a host that names several."`
	TLS              TLS           `yaml:"tls" restart:"what these files hold is followed, which files they are is not" doc:"Who this host is, and whom it believes."`
	Loops            int           `yaml:"loops" default:"1" min:"1" max:"4" restart:"the event loops are made at a start" doc:"Event loops, each of which fills one CPU at most: several are for a host whose sidecar fills one. Between connections of two loops, the engine may see commands in another order than they were sent in; see docs/decisions/0172."`
	Fence            string        `yaml:"fence" default:"batch" reload:"yes" doc:"batch or session: what proves that replies are where they belong, for each batch of many applications' commands, or for each application's run of commands in it, which is slower; see docs/decisions/0040."`
	Admin            Admin         `yaml:"admin" restart:"it is opened at a start" doc:"Where this process tells how it fares."`
	Limits           SidecarLimits `yaml:"limits" reload:"yes" doc:"Bounds, so that a runaway application can't take the host along."`
	Exceptions       []Exception   `yaml:"exceptions" default:"[]" reload:"yes" doc:"Checks of redoubt verify that may fail on this host for a time, as in gateway.yaml."`
}

// Unix is the sidecar's unix socket.
type Unix struct {
	Path      string `yaml:"path" default:"" doc:"Path of the socket. Empty: none."`
	AllowUIDs []int  `yaml:"allow_uids" default:"[]" doc:"Local users (numeric ids) that may use it. Empty: those that the socket's mode and directory let in."`
}

// Peer is a gateway as a sidecar knows it.
type Peer struct {
	Name    string `yaml:"name" doc:"The name in its certificate; another one is refused."`
	Address string `yaml:"address" doc:"HOST:PORT of its tunnel."`
}

// SidecarLimits bounds what local applications can take.
type SidecarLimits struct {
	Connections int `yaml:"connections" default:"10000" min:"1" max:"1000000" doc:"Application connections at the same time."`
	OwnLanes    int `yaml:"own_lanes" default:"1536" min:"1" max:"1000000" doc:"Of them, those with a tunnel connection of their own (subscriptions, blocking commands, transactions in pieces). Keep it 512 below limits.per_identity of the gateways, so that the connections that all others share always find room."`
}
