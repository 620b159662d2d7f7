package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

const (
	// exchangeTimeout bounds a request and its answer, of which the CA may take
	// some: other processes may hold its directory.
	exchangeTimeout = 20 * time.Second
	// waitAtMost is how long an answer waits for news: shorter than firewalls
	// take to forget a connection.
	waitAtMost = 45 * time.Second
)

// Server is a gateway's that has the CA beside it. It passes on what hosts ask, and
// knows nothing that signs.
type Server struct {
	Signer      *Signer
	Credentials *tunnel.Credentials // the gateway's own, which change when the CA's files do
	Log         *slog.Logger
}

// Enroll serves one connection of a host without a certificate (tunnel.Enroll).
// The caller closes it.
func (s *Server) Enroll(_ context.Context, conn tunnel.Conn) {
	source := tunnel.Source(conn)
	var q enrollRequest // within the handshake's deadline: until then a stranger holds a place
	if err := receive(conn, maxRequest, &q); err != nil {
		s.Log.Warn("enrolment refused", "source", source, "reason", readable(err))
		return
	}
	a, err := s.Signer.ask(question{Enrolment: &q, Source: source})
	conn.SetDeadline(time.Now().Add(exchangeTimeout))
	if err != nil {
		a = &answer{Error: err.Error(), Again: true}
	}
	a.Cause = ""
	if err := send(conn, a); err != nil && a.Error == "" {
		s.Log.Warn("the answer to a host that enrolled was lost: it asks again for a while, and then needs a new token", "token", q.Token, "source", source, "error", err)
	}
}

// digest is what a host compares: the same roots and lists have the same.
func (a *answer) digest() []byte {
	h := sha256.New()
	for _, root := range a.Roots {
		sum := sha256.Sum256(root)
		h.Write(sum[:])
	}
	h.Write(a.Revocations)
	return h.Sum(nil)
}

// Renew serves a connection of a host that has a certificate (tunnel.Renew), one
// request after the other, until the host or ctx ends it. The caller closes it.
func (s *Server) Renew(ctx context.Context, conn tunnel.Conn) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) // long ago
	defer stop()
	for ctx.Err() == nil {
		conn.SetDeadline(time.Now().Add(exchangeTimeout))
		var q renewRequest
		if err := receive(conn, maxRequest, &q); err != nil {
			return // its end, as a rule
		}
		// Since the handshake it may have been revoked.
		peer, err := s.Credentials.Peer(conn.ConnectionState())
		if err != nil {
			s.Log.Warn("renewal refused", "source", tunnel.Source(conn), "reason", err)
			return
		}
		a, err := s.answer(ctx, peer.ID, q, conn)
		if err != nil {
			a = &answer{Error: err.Error()}
		}
		a.Cause = ""
		conn.SetDeadline(time.Now().Add(exchangeTimeout))
		if send(conn, a) != nil {
			return
		}
	}
}

// answer serves one request. Whose connection it came on matters for news alone, which
// are no secret: a renewal proves itself.
func (s *Server) answer(ctx context.Context, peer identity.ID, q renewRequest, conn tunnel.Conn) (*answer, error) {
	switch {
	case q.Challenge:
		return s.Signer.ask(question{Challenge: true})
	case q.Renewal != nil:
		return s.Signer.ask(question{Renewal: q.Renewal, Source: tunnel.Source(conn)})
	}
	return s.news(ctx, peer, q.Known)
}

// news answers when there is something else to believe than the host knows, or
// when it has waited long enough.
func (s *Server) news(ctx context.Context, id identity.ID, known []byte) (*answer, error) {
	late := time.NewTimer(waitAtMost)
	defer late.Stop()
	for waiting := true; ; {
		changed := s.Credentials.Changed() // before it is read, so that no change is missed
		a, err := s.Signer.ask(question{})
		if err != nil || a.Error != "" || ctx.Err() != nil {
			return a, err
		}
		if !waiting || !bytes.Equal(a.digest(), known) {
			a.Renew, err = s.waitsFor(id)
			return a, err
		}
		select {
		case <-changed:
		case <-late.C:
			waiting = false
		case <-ctx.Done():
		}
	}
}

// waitsFor says whether a rotation of the root can't go on before a host has
// renewed.
func (s *Server) waitsFor(id identity.ID) (bool, error) {
	r, err := s.Signer.rotation()
	if err != nil { // its log says why, and nothing that a host must know
		return false, errInternal
	}
	return slices.Contains(r.Waiting, id.String()), nil
}

// readable shortens what a stranger may have caused.
func readable(err error) string {
	const most = 400
	if text := err.Error(); len(text) <= most {
		return text
	}
	return fmt.Sprintf("%.400s…", err.Error())
}
