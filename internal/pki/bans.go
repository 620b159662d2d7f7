package pki

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
)

// A host that is revoked is banned, in the same write that revokes its
// certificates: what was made before, be it a token or a connection on which it is
// just asking for a renewal, gets it no certificate. A token that was made since
// admits it again, and so does who issues a certificate by hand.
//
// What is before and after says the number of the CRLs, which rises with each
// revocation; a clock may be set back.
type ban struct {
	id     identity.ID
	number uint64    // of the CRLs that the revocation made
	since  time.Time // for people
	back   time.Time // when it was admitted again; zero: it wasn't
}

// ErrRevoked says that a host was revoked and not admitted since.
var ErrRevoked = errors.New("the host was revoked (redoubt pki revoke)")

func (b *ban) String() string {
	back := "-"
	if !b.back.IsZero() {
		back = b.back.Format(time.RFC3339)
	}
	return fmt.Sprintf("ban %s %d %s %s", b.id, b.number, b.since.Format(time.RFC3339), back)
}

func parseBan(line string) (b ban, err error) {
	fields := strings.Split(line, " ")
	if len(fields) != 5 {
		return ban{}, errors.New("not a line of ours")
	}
	if b.id, err = identity.Parse(fields[1]); err != nil {
		return ban{}, err
	}
	if b.number, err = strconv.ParseUint(fields[2], 10, 63); err != nil {
		return ban{}, errNoLedger
	}
	if b.since, err = parseMoment(fields[3]); err != nil {
		return ban{}, err
	}
	if fields[4] != "-" {
		b.back, err = parseMoment(fields[4])
	}
	return b, err
}

func (l *ledger) findBan(id identity.ID) (at int, found bool) {
	return slices.BinarySearchFunc(l.bans, id.String(), func(b ban, text string) int { return cmp.Compare(b.id.String(), text) })
}

// ban bans a host as of the CRLs' number now.
func (l *ledger) ban(id identity.ID, since time.Time) {
	b := ban{id: id, number: l.crl, since: since}
	at, found := l.findBan(id)
	if found {
		l.bans[at] = b
		return
	}
	l.bans = slices.Insert(l.bans, at, b)
}

// admit lifts a ban. It goes on to void what was made before it.
func (l *ledger) admit(id identity.ID, now time.Time) {
	if at, found := l.findBan(id); found && l.bans[at].back.IsZero() {
		l.bans[at].back = now.UTC().Truncate(time.Second)
	}
}

func (l *ledger) banned(id identity.ID) bool {
	at, found := l.findBan(id)
	return found && l.bans[at].back.IsZero()
}

// forgetBans drops those of hosts of which no certificate is remembered, once no
// token of before can be good: those live for a week at most. It returns their lines.
func (l *ledger) forgetBans(now time.Time) (lines []string) {
	if len(l.bans) == 0 {
		return nil
	}
	remembered := make(map[identity.ID]bool)
	for i := range l.entries {
		remembered[l.entries[i].id] = true
	}
	l.bans = slices.DeleteFunc(l.bans, func(b ban) bool {
		old := !remembered[b.id] && now.After(b.since.Add(memory))
		if old {
			lines = append(lines, b.String())
		}
		return old
	})
	return lines
}

// banTheRevoked is for a ledger of the version before: who was revoked and got no
// certificate since is banned.
func (l *ledger) banTheRevoked() {
	newest := make(map[identity.ID]time.Time)
	for i := range l.entries { // in the order of their issue
		newest[l.entries[i].id] = l.entries[i].revoked
	}
	for id, revoked := range newest {
		if !revoked.IsZero() {
			l.ban(id, revoked)
		}
	}
}

// grounds say why a host may have a certificate. They are asked under the ledger's
// lock, in the change that signs, and may note in the ledger what follows.
// What they return are the roots that the host will believe.
type grounds func(s *state, l *ledger, id identity.ID, now time.Time) ([]*root, error)

// byHand: an administrator wants it, and knows.
func byHand(s *state, l *ledger, id identity.ID, now time.Time) ([]*root, error) {
	l.admit(id, now)
	return s.roots, nil
}

// onItsOwn is for what nobody decided.
func onItsOwn(s *state, l *ledger, id identity.ID, _ time.Time) ([]*root, error) {
	if l.banned(id) {
		return nil, fmt.Errorf("%w; to admit it again: redoubt pki issue, or redoubt token create and redoubt join", ErrRevoked)
	}
	return s.roots, nil
}

// Moment is what a token keeps of the CA as it was when the token was made.
type Moment struct {
	Number uint64              `json:"number"` // of the CRLs: it rises with each revocation
	Roots  [][sha256.Size]byte `json:"roots"`  // the SHA-256 of each root, which are all that its host will believe
}

// Moment is the CA as it is now.
func (ca *CA) Moment() (m Moment, err error) {
	err = ca.look(func(s *state) error {
		m.Number = s.ledger.crl
		for _, r := range s.roots {
			m.Roots = append(m.Roots, sha256.Sum256(r.cert.Raw))
		}
		return nil
	})
	if err != nil {
		return Moment{}, fmt.Errorf("ledger: %w", err)
	}
	return m, nil
}

// ErrReplaced says that a host could not believe the root that signs now.
var ErrReplaced = errors.New("the root that signs now was not there yet")

// byToken: who revoked the host wanted what was made before to be void. The zero
// moment is that of a token of the version before, which named one root: the signer.
func byToken(made Moment) grounds {
	return func(s *state, l *ledger, id identity.ID, now time.Time) ([]*root, error) {
		if at, found := l.findBan(id); found && made.Number < l.bans[at].number {
			return nil, fmt.Errorf("%w since the token was made (make a new one: redoubt token create)", ErrRevoked)
		}
		l.admit(id, now)
		if made.Roots == nil {
			return []*root{s.signer()}, nil
		}
		var roots []*root
		for _, r := range s.roots {
			if slices.Contains(made.Roots, sha256.Sum256(r.cert.Raw)) {
				roots = append(roots, r)
			}
		}
		if !slices.Contains(roots, s.signer()) {
			return nil, fmt.Errorf("%w when the token was made (make a new one: redoubt token create)", ErrReplaced)
		}
		return roots, nil
	}
}

// byCertificate: it is in the ledger as this host's, and lives.
func byCertificate(old *x509.Certificate) grounds {
	return func(s *state, l *ledger, id identity.ID, now time.Time) ([]*root, error) {
		holder, err := s.holder(old, now)
		if err != nil {
			return nil, err
		}
		if holder != id {
			return nil, fmt.Errorf("the certificate with serial %s is that of %s, not of %s", serialText(old.SerialNumber), holder, id)
		}
		return onItsOwn(s, l, id, now)
	}
}

// Holder says whose a certificate is, by the ledger alone: it stands there, a root of
// ours signed it, it is neither revoked nor ended, and it is good for what its host does
// with it. Whether whoever shows it has its key is another question (Renewal.Check).
func (ca *CA) Holder(cert *x509.Certificate) (id identity.ID, err error) {
	err = ca.look(func(s *state) error {
		id, err = s.holder(cert, time.Now())
		return err
	})
	return id, err
}

func (s *state) holder(cert *x509.Certificate, now time.Time) (identity.ID, error) {
	serial := serialText(cert.SerialNumber)
	i := slices.IndexFunc(s.ledger.entries, func(e entry) bool { return e.serial.Cmp(cert.SerialNumber) == 0 })
	if i < 0 {
		return identity.ID{}, fmt.Errorf("the CA has no record of a certificate with serial %s: it was made by a copy of this CA, or by somebody who has its key", serial)
	}
	e := &s.ledger.entries[i]
	if root := findRoot(s.roots, e.root); root == nil || cert.CheckSignatureFrom(root.cert) != nil {
		return identity.ID{}, fmt.Errorf("the certificate of %s with serial %s is not signed by the root that the ledger names", e.id, serial)
	}
	switch {
	case !e.revoked.IsZero():
		return identity.ID{}, ErrRevoked
	case !e.living(now, s.roots):
		return identity.ID{}, fmt.Errorf("the certificate of %s ended at %s", e.id, e.end.Format(time.RFC3339))
	case !slices.Contains(cert.ExtKeyUsage, usageOf(e.id.Role())): // a probe of redoubt verify
		return identity.ID{}, fmt.Errorf("the certificate of %s with serial %s is not good for what its role does", e.id, serial)
	}
	return e.id, nil
}
