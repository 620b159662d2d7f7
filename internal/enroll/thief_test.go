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

	// He passes renewals on to a true gateway, to which any living certificate opens.
	through *tunnel.Dialer
	there   *tls.Conn
	heard   chan enrollRequest // he takes what hosts that join send, and goes
}

// gateway starts him with the key of a gateway that h issued.
func (th *thief) gateway(h *cahost, name string) *server {
	th.t.Helper()
	s := &server{t: th.t, name: name, files: hostFiles(th.t), thief: th, log: &lines{changed: make(chan struct{})}}
	h.issue(identity.Gateway, name, filepath.Dir(s.files.Certificate), 0)
	s.start("127.0.0.1:0")
	return s
}

func (th *thief) enrol(_ context.Context, conn tunnel.Conn) {
	var q enrollRequest
	switch err := receive(conn, maxRequest, &q); {
	case err != nil:
	case th.heard != nil:
		th.heard <- q
	default:
		th.answer(conn, q.CSR)
	}
}

func (th *thief) renew(ctx context.Context, conn tunnel.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		var q renewRequest
		if receive(conn, maxRequest, &q) != nil {
			return
		}
		var csr []byte
		if q.Renewal != nil {
			csr = q.Renewal.CSR
		}
		answer := func() error { return th.answer(conn, csr) }
		switch {
		case th.through != nil && (q.Challenge || q.Renewal != nil):
			answer = func() error { return th.pass(conn, q) }
		case q.Challenge:
			answer = func() error { return send(conn, answerOf("his own challenge")) }
		}
		if answer() != nil {
			return
		}
	}
}

func answerOf(challenge string) *answer { return &answer{Challenge: []byte(challenge)} }

func (th *thief) answer(conn tunnel.Conn, request []byte) error {
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

// pass keeps to one connection, so that the challenge is that of the gateway which is
// asked.
func (th *thief) pass(conn tunnel.Conn, q renewRequest) error {
	if q.Challenge {
		there, err := th.through.DialRenew(th.t.Context())
		if err != nil {
			return err
		}
		th.t.Cleanup(func() { there.Close() })
		th.there = there
	}
	a, err := ask(th.t.Context(), th.there, q, exchangeTimeout)
	if err != nil {
		return err
	}
	if q.Renewal != nil {
		a.Roots = rawOf(th.roots)
	}
	return send(conn, a)
}
