package enroll

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// signer has the CA: its key, its ledger and its tokens. It is a process of its own
// (process.go), which hears nothing but questions, over one socket, and believes nobody:
// what is asked for proves itself (docs/decisions/0200), but for the names of its owner.
type signer struct {
	ca     *pki.CA
	tokens *Tokens
	own    []identity.ID // whom it certifies at a word: the hosts of the process that started it
	life   time.Duration // of certificates; 0 is the CA's own default
	log    *slog.Logger

	unlocked int // times that the keys were opened since the start: others have changed them

	guesses    guesses
	renewals   renewals
	challenges challenges
}

// serve answers one question after the other, until the other end closes or says
// something else.
func (s *signer) serve(conn net.Conn) error {
	for {
		var q question
		if err := receive(conn, maxQuestion, &q); err != nil {
			return err
		}
		a, err := s.answer(&q)
		if err != nil {
			a = &answer{Error: forStranger(err), Cause: readable(err)}
		}
		if err := send(conn, a); err != nil {
			return err
		}
		if err != nil && s.unlocked > 0 {
			return errors.New("the CA's keys were changed, and perhaps their passphrase, which the next one is given anew")
		}
	}
}

func (s *signer) answer(q *question) (*answer, error) {
	switch {
	case q.Enrolment != nil:
		return s.enrol(q.Enrolment, q.Source)
	case q.Challenge:
		return &answer{Challenge: s.challenges.new()}, nil
	case q.Renewal != nil:
		return s.renew(q.Renewal, q.Source)
	case q.Own != nil:
		return s.certify(q.Own)
	case q.Rotation:
		return s.rotation()
	}
	return s.trust()
}

// enrol redeems a token, and tells the log.
func (s *signer) enrol(q *enrollRequest, source netip.Addr) (*answer, error) {
	log := s.log.With("source", source)
	if validID(q.Token) {
		log = log.With("token", q.Token)
	}
	a, id, err := s.redeem(q, source)
	if err != nil {
		log.Warn("enrolment refused", "reason", err)
		return nil, err
	}
	log.Info("host enrolled", "identity", id)
	return a, nil
}

func (s *signer) redeem(q *enrollRequest, source netip.Addr) (*answer, identity.ID, error) {
	var r *record
	now := time.Now()
	err := s.guesses.try(source, now, func() (err error) {
		r, err = s.tokens.check(q, now)
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
	if r.Certificate != nil {
		a, err := s.again(r)
		return a, id, err
	}
	if err := s.tokens.use(q, r); err != nil {
		return nil, id, err
	}
	cert, roots, err := s.ca.Enrol(csr, pki.Request{ID: id, DNS: r.DNS, IPs: r.IPs, Life: s.life}, r.CA)
	if errors.Is(err, pki.ErrRevoked) {
		return nil, id, fmt.Errorf("%w: %w", errVoid, err)
	}
	if errors.Is(err, pki.ErrReplaced) {
		return nil, id, fmt.Errorf("%w: %w", errReplaced, err)
	}
	if err != nil { // so there is none
		return nil, id, errors.Join(err, s.tokens.giveBack(q, r))
	}
	if err := s.tokens.keep(q, r, cert.Raw); err != nil { // it is good all the same
		s.log.Warn("who asks again with this token gets another certificate", "token", q.Token, "error", err)
	}
	a := &answer{Certificate: cert.Raw, Roots: rawOf(roots)}
	if a.Revocations, err = s.ca.Revocations(); err != nil {
		return nil, id, fmt.Errorf("%w: %w", errSpent, err)
	}
	return a, id, nil
}

// again is the certificate that a token gave before, if it lives.
func (s *signer) again(r *record) (*answer, error) {
	cert, err := x509.ParseCertificate(r.Certificate)
	if err == nil {
		_, err = s.ca.Holder(cert)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsed, err)
	}
	a := &answer{Certificate: cert.Raw}
	for _, root := range s.ca.Roots() {
		if slices.Contains(r.CA.Roots, sha256.Sum256(root.Raw)) {
			a.Roots = append(a.Roots, root.Raw)
		}
	}
	if a.Revocations, err = s.ca.Revocations(); err != nil {
		return nil, fmt.Errorf("%w: %w", errSpent, err)
	}
	return a, nil
}

func (s *signer) renew(q *pki.Renewal, source netip.Addr) (*answer, error) {
	a, id, err := s.renewed(q)
	if err != nil {
		s.log.Error("renewal failed", "identity", id, "source", source, "error", err)
		return nil, err
	}
	return a, nil
}

func (s *signer) renewed(q *pki.Renewal) (*answer, identity.ID, error) {
	made, err := s.challenges.moment(q.Challenge)
	if err != nil {
		return nil, identity.ID{}, err
	}
	host, err := s.ca.Examine(q)
	if err == nil {
		err = s.renewals.allow(host.ID, made, time.Now(), s.lifeOf()) // once it is sure who asks, or others could use up its number
	}
	if err != nil {
		return nil, host.ID, revokedFor(err)
	}
	cert, err := s.ca.Renew(host.CSR, pki.Request{ID: host.ID, DNS: host.Present.DNSNames, IPs: addressesOf(host.Present), Life: s.life}, host.Present)
	if err != nil {
		return nil, host.ID, revokedFor(err)
	}
	s.log.Info("certificate renewed", "identity", host.ID, "until", cert.NotAfter)
	a, err := s.endorsed(cert)
	return a, host.ID, err
}

// endorsed is a certificate with all that its host shall believe.
func (s *signer) endorsed(cert *x509.Certificate) (*answer, error) {
	roots, endorsements, err := s.ca.Endorsed()
	if err != nil {
		return nil, err
	}
	a := &answer{Certificate: cert.Raw, Roots: rawOf(roots), Endorsements: endorsements}
	a.Revocations, err = s.ca.Revocations()
	return a, err
}

// revokedFor says what a host that was revoked can do.
func revokedFor(err error) error {
	if errors.Is(err, pki.ErrRevoked) {
		return fmt.Errorf("%w: %w", errRevoked, err)
	}
	return err
}

// certify makes a certificate for one of the owner's hosts, unless it was revoked.
func (s *signer) certify(q *ownRequest) (*answer, error) {
	id, err := identity.Parse(q.Identity)
	if err == nil && !slices.Contains(s.own, id) {
		err = fmt.Errorf("%s is no host of the process that asks", id)
	}
	if err != nil {
		s.log.Error("certificate refused", "error", err)
		return nil, err
	}
	csr, err := pki.CheckRequest(q.CSR)
	if err != nil {
		return nil, err
	}
	cert, err := s.ca.SignOwn(csr, pki.Request{ID: id, DNS: q.DNS, IPs: q.IPs, Life: s.life})
	if err != nil {
		s.log.Error("certificate refused", "identity", id, "error", err)
		return nil, revokedFor(err)
	}
	return s.endorsed(cert)
}

// trust is what a host shall believe now.
func (s *signer) trust() (*answer, error) {
	a := &answer{Roots: rawOf(s.ca.Roots())}
	var err error
	if a.Revocations, err = s.ca.Revocations(); err != nil {
		s.log.Error("who is revoked can't be told", "error", err)
	}
	return a, err
}

// rotation is how far one is, whom it waits for, and who is late beside it.
func (s *signer) rotation() (*answer, error) {
	r, err := s.ca.Rotation()
	if err != nil {
		s.log.Error("the CA can't be read", "error", err)
		return nil, err
	}
	a := &answer{Rotation: &rotationNow{Resting: r.Stage == pki.Resting}}
	for _, id := range r.Waiting {
		a.Rotation.Waiting = append(a.Rotation.Waiting, id.String())
	}
	late, err := s.ca.Late()
	for _, i := range late {
		a.Rotation.Late = append(a.Rotation.Late, lateHost{i.Identity.String(), i.Serial, i.End})
	}
	return a, err
}

func (s *signer) lifeOf() time.Duration {
	if s.life == 0 {
		return pki.LeafLife
	}
	return s.life
}

func rawOf(certs []*x509.Certificate) (raw [][]byte) {
	for _, cert := range certs {
		raw = append(raw, cert.Raw)
	}
	return raw
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
