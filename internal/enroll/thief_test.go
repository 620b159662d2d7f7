package enroll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// thief has a gateway's key, and answers hosts as he likes: with certificates of a
// CA of his own, or whatever roots.
type thief struct {
	t     *testing.T
	signs *pki.CA
	roots []*x509.Certificate
	id    identity.ID // whom he makes certificates for

	// With a host's key as well he passes its renewals on to a true gateway.
	through *tunnel.Dialer
}

// gateway starts him with the key of a gateway that h issued.
func (th *thief) gateway(h *cahost, name string) *server {
	th.t.Helper()
	s := &server{t: th.t, name: name, files: hostFiles(th.t), thief: th, log: &lines{changed: make(chan struct{})}}
	h.issue(identity.Gateway, name, filepath.Dir(s.files.Certificate), 0)
	s.start("127.0.0.1:0")
	return s
}

func (th *thief) enrol(_ context.Context, conn *tls.Conn) {
	var q enrollRequest
	if receive(conn, maxRequest, &q) == nil {
		th.answer(conn, q.CSR)
	}
}

func (th *thief) renew(ctx context.Context, conn *tls.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		var q renewRequest
		if receive(conn, maxRequest, &q) != nil || th.answer(conn, q.CSR) != nil {
			return
		}
	}
}

func (th *thief) answer(conn *tls.Conn, request []byte) error {
	if th.through != nil && len(request) > 0 {
		return th.pass(conn, request)
	}
	var a answer
	for _, root := range th.roots {
		a.Roots = append(a.Roots, root.Raw)
	}
	if len(request) > 0 {
		csr, err := x509.ParseCertificateRequest(request)
		if err != nil {
			return err
		}
		cert, err := th.signs.Sign(csr, pki.Request{ID: th.id})
		if err != nil {
			return err
		}
		a.Certificate = cert.Raw
	}
	var err error
	if a.Revocations, err = th.signs.Revocations(); err != nil {
		return err
	}
	return send(conn, a)
}

func (th *thief) pass(conn *tls.Conn, request []byte) error {
	there, err := th.through.DialRenew(th.t.Context())
	if err != nil {
		return err
	}
	defer there.Close()
	a, err := ask(th.t.Context(), there, renewRequest{CSR: request}, exchangeTimeout)
	if err != nil {
		return err
	}
	a.Roots = rawOf(th.roots)
	return send(conn, a)
}
