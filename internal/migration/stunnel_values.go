package migration

import (
	"regexp"
	"slices"
	"strings"
)

// What stunnel takes as an option's value (options.c of 5.68, CMD_SET_VALUE). It
// takes all that follows the equals sign: a comment behind a value is part of it,
// and most often none of these forms. A configuration that stunnel itself would
// not start with can't be judged.
var stunnelValues = []struct {
	names, form string
	fits        *regexp.Regexp
}{
	{"client delay libwrap OCSPaia OCSPnonce OCSPrequire pty renegotiation requireCert reset retry sessionResume verifyChain verifyPeer fips syslog RNDoverwrite taskbar",
		"yes or no", values("yes|no")},
	{"foreground", "yes, quiet or no", values("yes|quiet|no")},
	{"verify", "a level from 0 to 4", values(`\+?0*[0-4]`)},
	{"securityLevel", "a level from 0 to 5", values(`\+?0*[0-5]`)},
	{"sslVersion sslVersionMin sslVersionMax", "all, SSLv3, TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3", values(`all|SSLv3|TLSv1(\.[123])?`)},
	{"TIMEOUTbusy TIMEOUTclose TIMEOUTconnect TIMEOUTidle sessionCacheSize sessionCacheTimeout session stack RNDbytes engineNum", "a number", values(`[-+]?[0-9]+`)},
	{"failover", "rr or prio", values("rr|prio")},
	{"log", "append or overwrite", values("append|overwrite")},
	{"logId", "sequential, unique, thread or process", values("sequential|unique|thread|process")},
	{"transparent", "none, source, destination or both", values("none|no|source|yes|destination|both")},
	{"debug", "a level", values(`([a-z0-9]+\.)?([0-7]|emerg|alert|crit|err|warning|notice|info|debug)`)},
	{"socket", "a|l|r:OPTION=VALUE", values(`[alr]:[A-Za-z0-9_]+=[^ \t]+`)},
	{"options", "a TLS option (stunnel -options names them)", values("-?(" + tlsOptions + ")")},
}

// tlsOptions are those that stunnel has, with whatever OpenSSL (options.c,
// ssl_opts).
const tlsOptions = "ALL|ALLOW_CLIENT_RENEGOTIATION|ALLOW_NO_DHE_KEX|ALLOW_UNSAFE_LEGACY_RENEGOTIATION|CIPHER_SERVER_PREFERENCE|CISCO_ANYCONNECT|CLEANSE_PLAINTEXT|COOKIE_EXCHANGE|CRYPTOPRO_TLSEXT_BUG|DISABLE_TLSEXT_CA_NAMES|DONT_INSERT_EMPTY_FRAGMENTS|ENABLE_KTLS|ENABLE_MIDDLEBOX_COMPAT|EPHEMERAL_RSA|IGNORE_UNEXPECTED_EOF|LEGACY_SERVER_CONNECT|MICROSOFT_BIG_SSLV3_BUFFER|MICROSOFT_SESS_ID_BUG|MSIE_SSLV2_RSA_PADDING|NETSCAPE_CA_DN_BUG|NETSCAPE_CHALLENGE_BUG|NETSCAPE_DEMO_CIPHER_CHANGE_BUG|NETSCAPE_REUSE_CIPHER_CHANGE_BUG|NO_ANTI_REPLAY|NO_COMPRESSION|NO_DTLS_MASK|NO_DTLSv1|NO_DTLSv1_2|NO_ENCRYPT_THEN_MAC|NO_EXTENDED_MASTER_SECRET|NO_QUERY_MTU|NO_RENEGOTIATION|NO_SESSION_RESUMPTION_ON_RENEGOTIATION|NO_SSL_MASK|NO_SSLv2|NO_SSLv3|NO_TICKET|NO_TLSv1|NO_TLSv1_1|NO_TLSv1_2|NO_TLSv1_3|PKCS1_CHECK_1|PKCS1_CHECK_2|PRIORITIZE_CHACHA|SAFARI_ECDHE_ECDSA_BUG|SINGLE_DH_USE|SINGLE_ECDH_USE|SSLEAY_080_CLIENT_DH_BUG|SSLREF2_REUSE_CERT_TYPE_BUG|TLS_BLOCK_PADDING_BUG|TLS_D5_BUG|TLSEXT_PADDING|TLS_ROLLBACK_BUG"

func values(pattern string) *regexp.Regexp { return regexp.MustCompile("(?i)^(" + pattern + ")$") }

// onlyGlobal are options that stunnel takes before the first section only.
const onlyGlobal = "chroot compression egd engine enginectrl enginedefault fips foreground iconactive iconerror iconidle log output pid rndbytes rndfile rndoverwrite syslog taskbar"

// placeholder is what a template has where a value will be. stunnel and Redis know
// no variables.
var placeholder = regexp.MustCompile(`\$\{[^}]*\}|\{\{.*\}\}|<%.*%>`)

// check is the error with which stunnel refuses an option.
func (o option) check(inSection bool) error {
	if placeholder.MatchString(o.value) {
		return o.errorf("%s has a placeholder in place of its value, and stunnel knows no variables: import the file as it is on the host, filled in", o.name)
	}
	if inSection && slices.Contains(strings.Fields(onlyGlobal), strings.ToLower(o.name)) {
		return o.errorf("stunnel doesn't start with it: %s is taken before the first section only", o.name)
	}
	for _, v := range stunnelValues {
		if !slices.ContainsFunc(strings.Fields(v.names), o.is) || v.fits.MatchString(o.value) {
			continue
		}
		hint := ""
		if strings.ContainsAny(o.value, "#;") {
			hint = ". A comment stands on a line of its own: behind a value it is part of the value"
		}
		return o.errorf("stunnel doesn't start with it: %s takes %s%s", o.name, v.form, hint)
	}
	return nil
}

// check is the error with which stunnel refuses a section as a whole (options.c,
// CMD_INITIALIZE).
func (s service) check() error {
	list, client := s.options, s.options.yes("client")
	refused := func(why string) error { return s.errorf("stunnel doesn't start with section [%s]: %s", s.name, why) }
	value := func(name string) string { o, _ := list.last(name); return o.value }
	_, cert := list.last("cert")
	psk := value("PSKsecrets") != ""
	asked := list.asked()
	verified := asked.chain || asked.peer
	low, high := list.bounds()
	switch {
	case !client && !cert && !psk && value("engineId")+value("engineNum") == "":
		return refused("a server needs a certificate (cert)")
	case verified && value("CAfile") == "" && value("CApath") == "" && value("CAengine")+value("CAstore") == "":
		return refused("what it verifies against is missing (CAfile or CApath)")
	case !verified && value("checkHost")+value("checkIP")+value("checkEmail") != "":
		return refused("it checks a name, and nothing is verified (verifyChain or verifyPeer)")
	case client && value("redirect") != "":
		return refused("redirect is for servers")
	case !verified && value("redirect") != "":
		return refused("it redirects who isn't verified, and nothing is verified (verifyChain or verifyPeer)")
	case low > 0 && high > 0 && low > high:
		return refused("sslVersionMax is below sslVersionMin")
	}
	return nil
}

// asked is what a section asks of the other end's certificate (options.c and
// verify.c, verify_init). The order of the lines matters: verify sets all of it.
type asked struct {
	request, require bool // on a server: it asks for one; it needs one
	chain, peer      bool // a CA must have signed it; it must be among those that lie here
}

func (list options) asked() (a asked) {
	for _, o := range list {
		yes := strings.EqualFold(o.value, "yes")
		switch strings.ToLower(o.name) {
		case "verify":
			level := o.value[max(len(o.value)-1, 0):]
			a = asked{request: true, require: level >= "2", chain: level >= "1" && level <= "3", peer: level >= "3"}
		case "verifychain":
			a.chain = yes
		case "verifypeer":
			a.peer = yes
		case "requirecert":
			a.require = yes
		default:
			continue
		}
		if yes {
			a.request, a.require = true, true
		}
	}
	return a
}

// tlsVersions in their order, from SSLv3, as sslVersion and options name them.
var tlsVersions = []struct{ name, option string }{
	{"sslv3", "NO_SSLV3"}, {"tlsv1", "NO_TLSV1"}, {"tlsv1.1", "NO_TLSV1_1"}, {"tlsv1.2", "NO_TLSV1_2"}, {"tlsv1.3", "NO_TLSV1_3"},
}

// Places in tlsVersions, counted from 1; 0 is no bound.
const (
	tls10 = 2
	tls12 = 4
	tls13 = 5
)

// bounds are the lowest and the highest version that the lines name.
func (list options) bounds() (low, high int) {
	for _, o := range list {
		n := 1 + slices.IndexFunc(tlsVersions, func(v struct{ name, option string }) bool { return strings.EqualFold(v.name, o.value) })
		switch strings.ToLower(o.name) {
		case "sslversion":
			low, high = n, n
		case "sslversionmin":
			low = n
		case "sslversionmax":
			high = n
		}
	}
	return low, high
}

// securityLevel is OpenSSL's, which a list of ciphers may set too, and does so last
// (ctx.c, context_init). stunnel's own default is 2, as is Debian's.
func (list options) securityLevel() string {
	level := "2"
	if o, set := list.last("securityLevel"); set {
		level = o.value[max(len(o.value)-1, 0):]
	}
	ciphers, _ := list.last("ciphers")
	if i := strings.LastIndex(ciphers.value, "@SECLEVEL="); i >= 0 && len(ciphers.value) > i+len("@SECLEVEL=") {
		level = ciphers.value[i+len("@SECLEVEL="):][:1]
	}
	return level
}

// agreed are the versions that the section can agree on, as places in tlsVersions.
// OpenSSL 3 has those before TLS 1.2 at security level 0 only (ssl_cert.c,
// ssl_security_default_callback), and distributions build it without SSLv3.
func (list options) agreed(openssl3 bool) (versions []int) {
	low, high := list.bounds()
	forbidden := func(option string) bool {
		no := false
		for _, o := range list.all("options") {
			no = no || strings.EqualFold(o.value, option) || strings.EqualFold(o.value, "NO_SSL_MASK")
		}
		for _, o := range list.all("options") { // what is taken away again counts, wherever it stands
			no = no && !strings.EqualFold(o.value, "-"+option) && !strings.EqualFold(o.value, "-NO_SSL_MASK")
		}
		return no
	}
	for n := tls10; n <= tls13; n++ {
		if n < low || high > 0 && n > high || forbidden(tlsVersions[n-1].option) || openssl3 && n < tls12 && list.securityLevel() != "0" {
			if len(versions) > 0 && list.yes("client") { // a client offers one range: the lowest (statem_lib.c, ssl_get_min_max_version)
				break
			}
			continue
		}
		versions = append(versions, n)
	}
	return versions
}
