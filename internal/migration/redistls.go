package migration

import (
	"errors"
	"fmt"
	"strings"
)

// RedisTLS plans what becomes of a Redis that speaks TLS itself.
func RedisTLS(o Options) (*Plan, error) {
	b := &builder{options: o, journal: &journal{}}
	srv, err := b.readServer(o)
	if err != nil {
		return nil, err
	}
	if srv.tlsPort == 0 {
		return nil, fmt.Errorf("%s has no tls-port: this Redis speaks no TLS (for one behind stunnel: redoubt import stunnel)", o.Redis)
	}
	b.server, b.door = srv, endpoint{port: srv.tlsPort}
	for _, a := range srv.addresses {
		if !loopback(strings.TrimPrefix(a, "-")) && a != "*" && b.door.host == "" {
			b.door.host = strings.TrimPrefix(a, "-")
		}
	}
	return b.plan()
}

// tls judges Redis's own TLS, if it is on.
func (r *reader) tls() error {
	if r.tlsPort == 0 {
		return nil // what else is said of it has no effect
	}
	port, _ := r.conf.last("tls-port")
	r.find(port, Changed, "listen", "The gateway ends the tunnel, on a port of its own, beside Redis until the last host has gone over.")
	auth, set, err := r.one("tls-auth-clients")
	if err != nil {
		return err
	}
	switch {
	case !set:
	case strings.EqualFold(auth.args[0], "yes"):
		r.find(auth, Kept, "", "A certificate of the CA is needed, as before; Redoubt looks at the deployment, the role and the name in it besides.")
	default:
		r.find(auth, Tightened, "", "A certificate was not needed: who reached the port was at Redis's password. "+ownCertificates).Weak = true
	}
	r.unsaid("CRL", Tightened, "", "Redis knows no list of revoked certificates: one that was stolen was good until its end. A revoked host is cut within a second now (redoubt pki revoke).").Weak = true

	protocols, set, err := r.one("tls-protocols")
	switch {
	case err != nil:
		return err
	case !set:
		r.unsaid("tls-protocols", Tightened, "", "It is not set: TLS 1.2 can be agreed on. "+onlyTLS13).Weak = true
	case strings.EqualFold(protocols.args[0], "TLSv1.3"):
		r.find(protocols, Kept, "", onlyTLS13)
	default:
		r.find(protocols, Tightened, "", "Versions older than TLS 1.3 could be agreed on. "+onlyTLS13).Weak = true
	}
	if s, set := r.conf.last("tls-ciphers"); set {
		if bad := weakCiphers(s.value()); len(bad) > 0 {
			r.find(s, Tightened, "", "It lets in "+strings.Join(bad, ", ")+". "+onlyTLS13).Weak = true
		}
	}
	return r.tlsFiles()
}

// tlsFiles judges the certificates.
func (r *reader) tlsFiles() error {
	cert, set, err := r.one("tls-cert-file")
	var leaf judgement
	if err == nil && set {
		leaf = judgeLeaf(under(cert.file, cert.args[0]), r.options.Now)
		r.find(cert, Tightened, "", leaf.text()+ownCertificates).Weak = len(leaf.weak) > 0
	}
	key, set, keyErr := r.one("tls-key-file")
	if keyErr == nil && set {
		open := readableByOthers(under(key.file, key.args[0]))
		r.find(key, Tightened, "", strings.TrimSpace(open+" "+ownCertificates)).Weak = open != ""
	}
	ca, set, caErr := r.one("tls-ca-cert-file")
	if caErr == nil && set {
		j := judgeCA(under(ca.file, ca.args[0]), leaf.leaf)
		r.find(ca, Tightened, "", j.text()+"What a host believes is the deployment's own CA, which nobody else uses.").Weak = len(j.weak) > 0
	}
	return errors.Join(err, keyErr, caErr)
}
