package migration

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// An end is one side of a tunnel by stunnel, judged as an attacker would.
type end struct {
	*journal
	service service
	client  bool
	now     time.Time
	leaf    *x509.Certificate // if it could be read
}

// judged are the options that mean something together only.
var judged = []string{
	"verify", "verifychain", "verifypeer", "requirecert", "checkhost", "checkip", "checkemail",
	"sslversion", "sslversionmin", "sslversionmax", "ciphers", "options", "securitylevel",
	"cert", "key", "cafile", "capath", "crlfile", "crlpath",
}

// each finds about every line of the named options.
func (e *end) each(v Verdict, weak bool, why string, names ...string) (said bool) {
	for _, o := range e.service.options {
		later, _ := e.service.options.last(o.name)
		if !slices.Contains(names, strings.ToLower(o.name)) || later.place != o.place && !slices.Contains(addsUp, strings.ToLower(o.name)) {
			continue
		}
		e.about(o, v, why).Weak = weak
		said = true
	}
	return said
}

// verification is who is believed.
func (e *end) verification() {
	_, psk := e.service.options.last("PSKsecrets")
	_, cert := e.service.options.last("cert")
	asked := e.service.options.asked()
	// A server always shows its certificate, so that a client can't do without.
	asked.require = asked.require || e.client
	verified := (asked.chain || asked.peer) && asked.require
	weak := !verified && (!psk || cert && !e.client)
	var why string
	switch {
	case verified && psk:
		why = "The shared secret was enough: a certificate was asked of those only who hadn't it. " + noPSK
	case verified && asked.peer:
		why = "The certificates of those who may connect lie in a file that somebody copies and prunes by hand. " + ownCertificates
	case verified:
		why = "A certificate of the CA is needed, as before; Redoubt looks at the deployment, the role and the name in it besides."
	case psk && !weak:
		why = "The shared secret alone decided. " + noPSK
	case e.client:
		why = "The server's certificate was not looked at: whoever sat between the hosts could read and change everything. Both ends are verified now: chain, deployment, role and name."
	case asked.require:
		why = "A certificate was needed, and any would do, whoever had signed it. Now every host needs one of the deployment's CA, and its role and name are looked at."
	case asked.chain || asked.peer:
		why = "Who showed no certificate came in without one. Now every host needs a certificate of its own, and its role and name are looked at."
	default:
		why = "No certificate was asked for: who reached the port was at Redis. Now every host needs a certificate of its own, and its role and name are looked at."
	}
	verdict := Tightened
	if verified && !asked.peer && !psk {
		verdict = Kept
	}
	if !e.each(verdict, weak, why, "verify", "verifychain", "verifypeer", "requirecert") && weak {
		e.lacking("verify", why)
	}
	checked := e.each(Kept, false, "The gateway's name in its certificate is looked at, and no other is believed.", "checkhost", "checkip", "checkemail")
	if e.client && asked.chain && !asked.peer && !checked {
		e.lacking("checkHost", "Any certificate of the CA passed for the cache host's, an application host's too. The gateway's role and name are looked at now.")
	}
	if !e.each(Tightened, false, "A revoked host is cut within a second, at every gateway, without a list that somebody carries (redoubt pki revoke).", "crlfile", "crlpath") && asked.chain && !asked.peer {
		e.lacking("CRLfile", "A certificate that was stolen was good until its end. A revoked host is cut within a second now (redoubt pki revoke).")
	}
}

// versions is which TLS could be agreed on.
func (e *end) versions() {
	list := e.service.options
	today, before := list.agreed(true), list.agreed(false)
	old := func(versions []int) bool { return len(versions) > 0 && versions[0] < tls12 }
	say := func(why string) {
		if !e.each(Tightened, true, why+onlyTLS13, "sslversion", "sslversionmin", "sslversionmax") {
			e.lacking("sslVersionMin", why+onlyTLS13)
		}
	}
	const perhaps = "OpenSSL before 3.0 may agree on versions older than TLS 1.2 as well (RFC 8996 forbids them). "
	switch {
	case old(today):
		say("Versions older than TLS 1.2 could be agreed on (RFC 8996 forbids them). ")
	case len(today) == 0 && old(before):
		say("It asks for versions older than TLS 1.2, which RFC 8996 forbids and OpenSSL 3 has at security level 0 only. ")
	case slices.Contains(today, tls12) && old(before):
		say("TLS 1.2 could be agreed on: no post-quantum key exchange, certificates in the clear. " + perhaps)
	case slices.Contains(today, tls12):
		say("TLS 1.2 could be agreed on: no post-quantum key exchange, certificates in the clear. ")
	case old(before):
		e.each(Tightened, true, perhaps+onlyTLS13, "sslversion", "sslversionmin", "sslversionmax")
	default:
		e.each(Kept, false, onlyTLS13, "sslversion", "sslversionmin", "sslversionmax")
	}
	e.suites()
}

// suites are the lines about ciphers, options and strength.
func (e *end) suites() {
	for _, o := range e.service.options.all("ciphers") {
		d, _ := lookupOption(o.name)
		if bad := weakCiphers(o.value); len(bad) > 0 {
			e.about(o, Tightened, "It lets in "+strings.Join(bad, ", ")+", where OpenSSL still has it. "+onlyTLS13).Weak = true
		} else {
			e.about(o, Dropped, d.why)
		}
	}
	for _, o := range e.service.options.all("options") {
		d, _ := lookupOption(o.name)
		// stunnel sets NO_SSLv2 and NO_SSLv3 itself; a minus takes them away.
		if upper := strings.ToUpper(o.value); strings.HasPrefix(upper, "-NO_SSL") || upper == "ALLOW_UNSAFE_LEGACY_RENEGOTIATION" {
			e.about(o, Tightened, "It lets in what OpenSSL would refuse. "+onlyTLS13).Weak = true
		} else {
			e.about(o, Dropped, d.why)
		}
	}
	for _, o := range e.service.options.all("securityLevel") {
		d, _ := lookupOption(o.name)
		f := e.about(o, Dropped, d.why)
		if o.value == "0" || o.value == "1" {
			f.Verdict, f.Weak = Tightened, true
		}
	}
}

// weakCiphers are the words of an OpenSSL cipher list that let in what nobody
// should use any more, if they are not taken out with ! or -.
func weakCiphers(list string) (bad []string) {
	words := strings.FieldsFunc(strings.ToUpper(list), func(r rune) bool { return r == ':' || r == ',' || r == ' ' })
	for _, word := range words {
		name, _, _ := strings.Cut(word, "@SECLEVEL")
		if name == "" || strings.ContainsRune("!-+", rune(name[0])) || slices.Contains(words, "!"+name) { // + only moves to the end
			continue
		}
		for _, weak := range []string{"NULL", "RC4", "DES", "EXP", "MD5", "ADH", "AECDH", "LOW", "SSLV2", "SSLV3", "IDEA", "SEED", "COMPLEMENTOF"} {
			if strings.Contains(name, weak) {
				bad = append(bad, word)
				break
			}
		}
		if name == "ALL" {
			bad = append(bad, word)
		}
	}
	return bad
}

// certificates is what the section's own certificate and CA are worth.
func (e *end) certificates() {
	cert, set := e.service.options.last("cert")
	if _, psk := e.service.options.last("PSKsecrets"); !set && !psk && e.client {
		e.lacking("cert", "The host proved nothing of itself. "+ownCertificates)
	}
	key, hasKey := e.service.options.last("key")
	ca, _ := e.service.options.last("CAfile")
	if set {
		j := judgeLeaf(under(cert.file, cert.value), e.now)
		e.leaf = j.leaf
		e.about(cert, Tightened, j.text()+ownCertificates).Weak = len(j.weak) > 0
	}
	keyFile := cert
	if hasKey {
		keyFile = key
		e.about(key, Tightened, ownCertificates)
	}
	if open := readableByOthers(under(keyFile.file, keyFile.value)); keyFile.value != "" && open != "" {
		e.about(keyFile, Tightened, open+" "+ownCertificates).Weak = true
	}
	const ours = "What a host believes is the deployment's own CA, which nobody else uses, and within it the role and name in the certificate."
	for _, o := range append(e.service.options.all("CAfile"), e.service.options.all("CApath")...) {
		var j judgement
		if o.place == ca.place {
			j = judgeCA(under(ca.file, ca.value), e.leaf)
		}
		e.about(o, Tightened, j.text()+ours).Weak = len(j.weak) > 0
	}
}
