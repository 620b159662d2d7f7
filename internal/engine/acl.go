package engine

import "github.com/redoubt-cache/redoubt/internal/passwords"

// Rights of the two users. The application's user has an allow-list: under
// "+@all -…" each engine upgrade would add commands nobody has looked at, under
// "-@all +…" new commands on known kinds of data come along and new kinds do
// not. Redis's own category @dangerous alone leaves SCRIPT DEBUG (which can
// stop the server), FUNCTION LOAD, DUMP and MEMORY PURGE open.
// Reasons: docs/decisions/0002.

// A rule is one word of an ACL, the engines that know it, and for people why it is there.
type rule struct {
	text  string
	known applies
	why   string
}

// appRules is what every application may do; the policy's openings follow.
// Order matters: an ACL is read from left to right, the last word wins.
var appRules = []rule{
	{"-@all", always, "nobody has looked at it, or it is of no use to an application"},
	{"+@read", always, ""}, {"+@write", always, ""}, {"+@transaction", always, ""},
	{"-@scripting", always, "it has to do with code inside the engine"},
	{"-@admin", always, "the engine counts it as an administrator's"},
	{"-@dangerous", always, "the engine counts it as dangerous: it can disturb other clients, or tell of them"},

	{"-dump", always, "internal encodings: half of a RESTORE attack"},
	{"-lcs", always, "time and memory of both lengths multiplied"},
	{"-lolwut", always, "of no use"},
	{"-move", always, "from one database to another: behind the back of who shares a connection"},
	{"-georadius", always, geoWhy}, {"-georadiusbymember", always, geoWhy},
	{"-clusterscan", since(nil, at(9, 1)), "names of all keys of a cluster"},
	{"-xackdel", between(productRedis, release{8, 2, 0}, release{8, 2, 3}), "CVE-2025-62507: it overflows the stack"},
	{"-hpersist", between(productValkey, release{9, 0, 0}, release{9, 0, 5}), "on a wrong type its replies are one too many"},

	// Vector sets: in every build of Redis 8, no category of their own, and
	// names that rename-command cannot take away.
	{"-vadd", since(at(8, 0), nil), vectorWhy}, {"-vcard", since(at(8, 0), nil), vectorWhy}, {"-vdim", since(at(8, 0), nil), vectorWhy},
	{"-vemb", since(at(8, 0), nil), vectorWhy}, {"-vgetattr", since(at(8, 0), nil), vectorWhy}, {"-vinfo", since(at(8, 0), nil), vectorWhy},
	{"-vismember", since(at(8, 0), nil), vectorWhy}, {"-vlinks", since(at(8, 0), nil), vectorWhy}, {"-vrandmember", since(at(8, 0), nil), vectorWhy},
	{"-vrem", since(at(8, 0), nil), vectorWhy}, {"-vsetattr", since(at(8, 0), nil), vectorWhy}, {"-vsim", since(at(8, 0), nil), vectorWhy},

	// What client libraries ask about the connection and the server.
	{"+ping", always, ""}, {"+echo", always, ""}, {"+select", always, ""}, {"+time", always, ""}, {"+dbsize", always, ""},
	{"+wait", always, ""}, {"+info", always, ""}, {"+command", always, ""}, {"+readonly", always, ""}, {"+readwrite", always, ""},
	{"+memory|usage", always, ""},
	{"+client|id", always, ""}, {"+client|getname", always, ""}, {"+client|setname", always, ""}, {"+client|info", always, ""},
	{"+client|reply", always, ""}, {"+client|trackinginfo", always, ""}, {"+client|getredir", always, ""},
	{"+client|setinfo", since(at(7, 2), at(7, 2)), ""}, {"+client|no-touch", since(at(7, 2), at(7, 2)), ""},
	{"+client|capa", since(nil, at(8, 0)), ""},
}

// Reasons that several rules share, and one of a command that "-@dangerous" closes.
const (
	geoWhy    = "STORE writes past the key's permission; GEOSEARCH and GEOSEARCHSTORE do the same without"
	vectorWhy = "vector sets are a new kind of data, which an allow-list opens on purpose only"
	sortWhy   = "BY and GET read keys that the command doesn't name, and all clients wait while it sorts"
)

// defaultUser is whom AUTH with a password alone names.
const defaultUser = "default"

// appRights is the rights of the application's users, all but their passwords.
func appRights(v Version, p Policy) []string {
	words := []string{"on", "sanitize-payload", "resetkeys", "~*", "resetchannels", "&*"}
	for _, r := range appRules {
		if r.known(v) {
			words = append(words, r.text)
		}
	}
	for _, o := range p.switches() {
		words = append(words, o.Rules...)
	}
	return words
}

// appUsers is the application's users: the default one, with every password that
// is good, and for each password a user of its own with the same rights, so that
// its connections can be told from the others' when it ends
// (docs/decisions/0060).
func appUsers(rights []string, good []passwords.Digest) [][]string {
	user := func(name string, good ...passwords.Digest) []string {
		return append(append([]string{name}, rights...), hashes(good)...)
	}
	users := [][]string{user(defaultUser, good...)}
	for _, d := range good {
		users = append(users, user(d.User(), d))
	}
	return users
}

// hashes is passwords as ACL rules.
func hashes(digests []passwords.Digest) (words []string) {
	for _, d := range digests {
		words = append(words, "#"+d.String())
	}
	return words
}

// supervisor is the name of our own user.
const supervisor = "redoubt"

// supervisorRights are our own: see that the engine lives, read back what it
// runs with, change the application's passwords and end the connections of one
// that has ended; no key, no channel, no more. CONFIG and ACL are renamed, yet
// ACL rules go by the declared name.
const supervisorRights = "resetkeys resetchannels -@all " +
	"+ping +info +config|get +acl|list +acl|setuser +acl|deluser +client|list +client|kill"

// supervisorUser is our own line.
func supervisorUser(digest string) string {
	return "user " + supervisor + " on sanitize-payload #" + digest + " " + supervisorRights
}
