package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
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

// Server is a gateway's that has the CA.
type Server struct {
	CA          *pki.CA
	Tokens      *Tokens
	Credentials *tunnel.Credentials // the gateway's own, which change when the CA's files do
	Life        time.Duration       // of certificates; 0 is the CA's own default
	Log         *slog.Logger

	guesses    guesses
	renewals   renewals
	challenges challenges
}

// Enroll serves one connection of a host without a certificate (tunnel.Enroll).
// The caller closes it.
func (s *Server) Enroll(_ context.Context, conn *tls.Conn) {
	source := tunnel.Source(conn)
	log := s.Log.With("source", source)
	var q enrollRequest // within the handshake's deadline: until then a stranger holds a place
	if err := receive(conn, maxRequest, &q); err != nil {
		log.Warn("enrolment refused", "reason", readable(err))
		return
	}
	if validID(q.Token) {
		log = log.With("token", q.Token)
	}
	a, id, err := s.enroll(q, source)
	conn.SetDeadline(time.Now().Add(exchangeTimeout))
	if err != nil {
		log.Warn("enrolment refused", "reason", err)
		send(conn, answer{Error: forStranger(err)})
		return
	}
	log.Info("host enrolled", "identity", id)
	if err := send(conn, a); err != nil {
		log.Warn("the answer to a host that enrolled was lost, and with it the token: revoke it and make a new one", "identity", id, "error", err)
	}
}

// forStranger keeps what only the gateway's operator shall read, such as paths.
func forStranger(err error) string {
	for _, known := range []error{errUnknown, errUsed, errExpired, errBefore, errTooMany, errTooOften, errStale, pki.ErrRequest, pki.ErrUnproved, errSpent, errVoid, errRevoked, errReplaced} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return errInternal.Error()
}

var (
	errVoid     = errors.New("this host was revoked after the token was made (make a new one: redoubt token create)")
	errRevoked  = errors.New("this host was revoked: it gets in again with a new token (redoubt token create)")
	errReplaced = errors.New("the CA's root was replaced after the token was made (make a new one: redoubt token create)")
	errSpent    = errors.New("the token is used up, but the certificate can't be handed out: the gateway's log says why (make a new token then)")
	errInternal = errors.New("the CA can't sign now: the gateway's log says why")
)

func (s *Server) enroll(q enrollRequest, source netip.Addr) (*answer, identity.ID, error) {
	var r *record
	now := time.Now()
	err := s.guesses.try(source, now, func() (err error) {
		r, err = s.Tokens.check(&q, now)
		return err
	})
	if err != nil {
		return nil, identity.ID{}, err
	}
	id, err := identity.Parse(r.Identity)
	if err != nil {
		return nil, identity.ID{}, err
	}
	// What can be refused is refused before the token is used.
	csr, err := pki.CheckRequest(q.CSR)
	if err != nil {
		return nil, id, err
	}
	if err := s.Tokens.use(q.Token); err != nil {
		return nil, id, err
	}
	cert, roots, err := s.CA.Enrol(csr, pki.Request{ID: id, DNS: r.DNS, IPs: r.IPs, Life: s.Life}, r.CA)
	if errors.Is(err, pki.ErrRevoked) {
		return nil, id, fmt.Errorf("%w: %w", errVoid, err)
	}
	if errors.Is(err, pki.ErrReplaced) {
		return nil, id, fmt.Errorf("%w: %w", errReplaced, err)
	}
	if err != nil { // so there is none
		return nil, id, errors.Join(err, s.Tokens.giveBack(q.Token))
	}
	a := &answer{Certificate: cert.Raw, Roots: rawOf(roots)}
	if a.Revocations, err = s.CA.Revocations(); err != nil {
		return nil, id, fmt.Errorf("%w: %w", errSpent, err)
	}
	return a, id, nil
}

func rawOf(certs []*x509.Certificate) (raw [][]byte) {
	for _, cert := range certs {
		raw = append(raw, cert.Raw)
	}
	return raw
}

// trust is what a host shall believe now.
func (s *Server) trust() (*answer, error) {
	a := &answer{Roots: rawOf(s.CA.Roots())}
	var err error
	a.Revocations, err = s.CA.Revocations()
	return a, err
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
func (s *Server) Renew(ctx context.Context, conn *tls.Conn) {
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
		a, err := s.answer(ctx, peer.ID, q)
		if err != nil {
			s.Log.Error("renewal failed", "identity", peer.ID, "source", tunnel.Source(conn), "error", err)
			a = &answer{Error: forStranger(err)}
		}
		conn.SetDeadline(time.Now().Add(exchangeTimeout))
		if send(conn, a) != nil {
			return
		}
	}
}

// answer serves one request. Whose connection it came on matters for news alone, which
// are no secret: a renewal proves itself.
func (s *Server) answer(ctx context.Context, peer identity.ID, q renewRequest) (*answer, error) {
	switch {
	case q.Challenge:
		return &answer{Challenge: s.challenges.new()}, nil
	case q.Renewal != nil:
		return s.renew(q.Renewal)
	}
	return s.news(ctx, peer, q.Known)
}

func (s *Server) renew(q *pki.Renewal) (*answer, error) {
	made, err := s.challenges.moment(q.Challenge)
	if err != nil {
		return nil, err
	}
	host, err := s.CA.Examine(q)
	if err == nil {
		err = s.renewals.allow(host.ID, made, time.Now(), s.life()) // once it is sure who asks, or others could use up its number
	}
	if err != nil {
		return nil, revokedFor(err)
	}
	cert, err := s.CA.Renew(host.CSR, pki.Request{ID: host.ID, DNS: host.Present.DNSNames, IPs: addressesOf(host.Present), Life: s.Life}, host.Present)
	if err != nil {
		return nil, revokedFor(err)
	}
	s.Log.Info("certificate renewed", "identity", host.ID, "until", cert.NotAfter)
	roots, endorsements, err := s.CA.Endorsed()
	if err != nil {
		return nil, err
	}
	a := &answer{Certificate: cert.Raw, Roots: rawOf(roots), Endorsements: endorsements}
	a.Revocations, err = s.CA.Revocations()
	return a, err
}

// revokedFor says what a host that was revoked can do.
func revokedFor(err error) error {
	if errors.Is(err, pki.ErrRevoked) {
		return fmt.Errorf("%w: %w", errRevoked, err)
	}
	return err
}

// news answers when there is something else to believe than the host knows, or
// when it has waited long enough.
func (s *Server) news(ctx context.Context, id identity.ID, known []byte) (*answer, error) {
	late := time.NewTimer(waitAtMost)
	defer late.Stop()
	for {
		changed := s.Credentials.Changed() // before it is read, so that no change is missed
		a, err := s.trust()
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(a.digest(), known) {
			a.Renew, err = s.waitsFor(id)
			return a, err
		}
		select {
		case <-changed:
		case <-late.C:
			a.Renew, err = s.waitsFor(id)
			return a, err
		case <-ctx.Done():
			return a, nil
		}
	}
}

func (s *Server) life() time.Duration {
	if s.Life == 0 {
		return pki.LeafLife
	}
	return s.Life
}

// waitsFor says whether a rotation of the root can't go on before a host has
// renewed.
func (s *Server) waitsFor(id identity.ID) (bool, error) {
	r, err := s.CA.Rotation()
	return slices.Contains(r.Waiting, id), err
}

// readable shortens what a stranger caused.
func readable(err error) string {
	const most = 200
	if text := err.Error(); len(text) <= most {
		return text
	}
	return fmt.Sprintf("%.200s…", err.Error())
}
