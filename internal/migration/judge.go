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

// Levels of verification (stunnel(8), verify).
const (
	nobody  = iota // nothing is asked, or not looked at
	ifShown        // a certificate is looked at if there is one
	chain
	pinned // the very certificate lies on this host
)

func (e *end) level() int {
	list := e.service.options
	o, _ := list.last("verify")
	level := map[string]int{"1": ifShown, "2": chain, "3": pinned, "4": pinned}[o.value]
	if list.yes("verifyChain") {
		level = max(level, chain)
	}
	if list.yes("verifyPeer") {
		level = pinned
	}
	return level
}

// verification is who is believed.
func (e *end) verification() {
	_, psk := e.service.options.last("PSKsecrets")
	level := e.level()
	weak := level < chain && !psk
	var why string
	switch {
	case level == pinned:
		why = "The certificates of those who may connect lie in a file that somebody copies and prunes by hand. " + ownCertificates
	case level == chain:
		why = "A certificate of the CA is needed, as before; Redoubt looks at the deployment, the role and the name in it besides."
	case psk:
		why = "The shared secret alone decided. " + noPSK
	case e.client:
		why = "The server's certificate was not looked at: whoever sat between the hosts could read and change everything. Both ends are verified now: chain, deployment, role and name."
	case level == ifShown:
		why = "Who showed no certificate came in without one. Now every host needs a certificate of its own, and its role and name are looked at."
	default:
		why = "No certificate was asked for: who reached the port was at Redis. Now every host needs a certificate of its own, and its role and name are looked at."
	}
	verdict := Tightened
	if level == chain {
		verdict = Kept
	}
	if !e.each(verdict, weak, why, "verify", "verifychain", "verifypeer", "requirecert") && level < chain && !psk {
		e.lacking("verify", why)
	}
	checked := e.each(Kept, false, "The gateway's name in its certificate is looked at, and no other is believed.", "checkhost", "checkip", "checkemail")
	if e.client && level == chain && !checked {
		e.lacking("checkHost", "Any certificate of the CA passed for the cache host's, an application host's too. The gateway's role and name are looked at now.")
	}
	if !e.each(Tightened, false, "A revoked host is cut within a second, at every gateway, without a list that somebody carries (redoubt pki revoke).", "crlfile", "crlpath") && level >= chain && level != pinned {
		e.lacking("CRLfile", "A certificate that was stolen was good until its end. A revoked host is cut within a second now (redoubt pki revoke).")
	}
}

// tlsVersions in their order.
var tlsVersions = []string{"all", "sslv2", "sslv3", "tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"}

// versions is which TLS could be agreed on.
func (e *end) versions() {
	lowest := "tlsv1" // stunnel(8), sslVersionMin, default
	for _, name := range []string{"sslVersion", "sslVersionMin"} {
		if o, set := e.service.options.last(name); set {
			lowest = strings.ToLower(o.value)
		}
	}
	rank := slices.Index(tlsVersions, lowest)
	switch {
	case lowest == "tlsv1.3":
		e.each(Kept, false, onlyTLS13, "sslversion", "sslversionmin", "sslversionmax")
	case rank >= 0 && rank < slices.Index(tlsVersions, "tlsv1.2"):
		const why = "Versions older than TLS 1.2 could be agreed on, where OpenSSL still lets them (RFC 8996 forbids them). " + onlyTLS13
		if !e.each(Tightened, true, why, "sslversion", "sslversionmin", "sslversionmax") {
			e.lacking("sslVersionMin", why)
		}
	default:
		e.each(Tightened, true, "TLS 1.2 could be agreed on: no post-quantum key exchange, certificates in the clear. "+onlyTLS13, "sslversion", "sslversionmin", "sslversionmax")
	}
	for _, o := range e.service.options.all("ciphers") {
		d, _ := lookupOption(o.name)
		if bad := weakCiphers(o.value); len(bad) > 0 {
			e.about(o, Tightened, "It lets in "+strings.Join(bad, ", ")+". "+onlyTLS13).Weak = true
		} else {
			e.about(o, Dropped, d.why)
		}
	}
	for _, o := range e.service.options.all("options") {
		d, _ := lookupOption(o.name)
		// A minus takes an option away, as -NO_SSLv3, which lets SSLv3 in.
		if upper := strings.ToUpper(o.value); strings.HasPrefix(upper, "-NO_") || strings.Contains(upper, "UNSAFE") || upper == "ALL" {
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
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ',' || r == ' ' }) {
		name, _, _ := strings.Cut(strings.ToUpper(word), "@SECLEVEL")
		if name == "" || name[0] == '!' || name[0] == '-' {
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
