package enroll

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// Tokens are a directory with a file for each token, named by its id; of a token
// that was used there is another one, with the suffix below, which says for which CSR.
// Making that one is what uses a token: of all who try at once, in whatever process,
// one succeeds. Who asks again with the same CSR, since the answer was lost or the CA's
// process ended in the middle, gets the same certificate. A record stays until a while
// after the token's end, so that a host that comes late is told why.
const (
	tokenSuffix = ".token"
	usedSuffix  = ".used"

	// MaxTTL bounds what a token may be good for: it is a secret on its way.
	MaxTTL = 7 * 24 * time.Hour
	// remember is how long the record of a token outlives it.
	remember = 7 * 24 * time.Hour

	maxRecord = 16 << 10
)

// Tokens is where the tokens of a CA are kept.
type Tokens struct{ dir string }

// OpenTokens keeps tokens in the directory of a CA.
func OpenTokens(caDir string) *Tokens { return &Tokens{filepath.Join(caDir, "tokens")} }

// Grant says what a token shall be good for.
type Grant struct {
	Identity identity.ID
	DNS      []string     // further names of the host, as in pki.Request
	IPs      []netip.Addr // its further addresses
	TTL      time.Duration
	CA       pki.Moment // as it is now
	Gateways []Gateway
}

// record is a token as it is kept: what it grants, and the public key of its secret.
type record struct {
	Key      []byte       `json:"key,omitempty"`
	Hash     []byte       `json:"secret_sha256,omitempty"` // of the version before, whose tokens are void
	Identity string       `json:"identity"`
	DNS      []string     `json:"dns,omitempty"`
	IPs      []netip.Addr `json:"ips,omitempty"`
	CA       pki.Moment   `json:"ca,omitzero"`
	Created  time.Time    `json:"created"`
	Expires  time.Time    `json:"expires"`

	// Of a token that was used.
	CSR         []byte `json:"csr_sha256,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // DER, once there is one
}

// Create makes a token and keeps what proves it.
func (ts *Tokens) Create(g Grant) (Token, error) {
	if g.TTL <= 0 || g.TTL > MaxTTL {
		return Token{}, fmt.Errorf("create a token: it can't be good for %s: more than 0 and at most %s", g.TTL, MaxTTL)
	}
	t, err := newToken(g.CA.Roots, g.Identity, g.Gateways)
	if err != nil {
		return Token{}, fmt.Errorf("create a token: %w", err)
	}
	if err := os.MkdirAll(ts.dir, 0o700); err != nil {
		return Token{}, fmt.Errorf("create a token: %w", err)
	}
	if err := statedir.LeaveToOwner(filepath.Dir(ts.dir), func(uid, gid int) error { return os.Lchown(ts.dir, uid, gid) }); err != nil {
		return Token{}, fmt.Errorf("create a token: %w", err)
	}
	ts.forget(time.Now())
	now := time.Now().UTC().Truncate(time.Second)
	text, err := json.Marshal(record{Key: t.key().Public().(ed25519.PublicKey), Identity: g.Identity.String(), DNS: g.DNS, IPs: g.IPs, CA: g.CA, Created: now, Expires: now.Add(g.TTL)})
	if err != nil {
		return Token{}, fmt.Errorf("create a token: %w", err)
	}
	if err := statedir.WriteFileForOwner(ts.path(t.ID(), tokenSuffix), append(text, '\n'), 0o600); err != nil {
		return Token{}, fmt.Errorf("create a token: %w", err)
	}
	return t, nil
}

func (ts *Tokens) path(id, suffix string) string { return filepath.Join(ts.dir, id+suffix) }

// Listed is what can be said of a token.
type Listed struct {
	ID       string      `json:"id"`
	Identity identity.ID `json:"identity"`
	Created  time.Time   `json:"created"`
	Expires  time.Time   `json:"expires"`
	State    State       `json:"state"`
}

// State is what has become of a token.
type State string

// The states.
const (
	Open    State = "open"
	Used    State = "used"
	Expired State = "expired"
)

// List tells of every token that is remembered, the oldest first.
func (ts *Tokens) List() ([]Listed, error) {
	entries, err := os.ReadDir(ts.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	list := []Listed{}
	for _, e := range entries {
		id, suffix := splitName(e.Name())
		if suffix == "" || suffix == tokenSuffix && ts.used(id) {
			continue
		}
		r, err := ts.read(id, suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix == tokenSuffix { // used just now
			suffix = usedSuffix
			r, err = ts.read(id, suffix)
		}
		if errors.Is(err, fs.ErrNotExist) { // revoked just now
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		who, err := identity.Parse(r.Identity)
		if err != nil {
			return nil, fmt.Errorf("list tokens: %s: %w", ts.path(id, suffix), err)
		}
		l := Listed{ID: id, Identity: who, Created: r.Created, Expires: r.Expires, State: Open}
		switch {
		case suffix == usedSuffix:
			l.State = Used
		case !time.Now().Before(r.Expires):
			l.State = Expired
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Listed) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// ErrNoToken says that no such token can be revoked.
var ErrNoToken = errors.New("no token that could still be used has this id")

// Remove makes a token useless that hasn't been used.
func (ts *Tokens) Remove(id string) error {
	if !validID(id) {
		return fmt.Errorf("revoke token: %w (redoubt token list shows them)", ErrNoToken)
	}
	err := fs.ErrNotExist
	if !ts.used(id) {
		err = os.Remove(ts.path(id, tokenSuffix))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("revoke token %s: %w (redoubt token list shows them)", id, ErrNoToken)
	}
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	return statedir.SyncDir(ts.dir)
}

func (ts *Tokens) used(id string) bool {
	_, err := os.Lstat(ts.path(id, usedSuffix))
	return err == nil
}

// Of are the tokens of a host that are remembered.
func (ts *Tokens) Of(id identity.ID) ([]Listed, error) {
	list, err := ts.List()
	return slices.DeleteFunc(list, func(l Listed) bool { return l.Identity != id }), err
}

// Revocation is what Revoke did.
type Revocation struct {
	Certificates []pki.Issued // that were not revoked before, as they were
	Tokens       int          // that could still have been used
}

// ErrUnknownHost says that there is nothing to revoke.
var ErrUnknownHost = errors.New("the CA has issued nothing to it that could be in use, and no token (redoubt pki list, redoubt token list)")

// known says whether a host has a token or a certificate.
func (ts *Tokens) known(ca *pki.CA, id identity.ID) (bool, error) {
	tokens, err := ts.Of(id)
	if err != nil || len(tokens) > 0 {
		return err == nil, err
	}
	issued, err := ca.Issued()
	return slices.ContainsFunc(issued, func(i pki.Issued) bool { return i.Identity == id }), err
}

// Revoke shuts a host out: its certificates are revoked, and its tokens void. The
// CA's ledger does both at once, for a token says before which revocation it was
// made; removing them is tidiness.
func (ts *Tokens) Revoke(ca *pki.CA, id identity.ID) (r Revocation, err error) {
	known, err := ts.known(ca, id)
	if err == nil && !known { // a token that is just being renamed may be missed once
		known, err = ts.known(ca, id)
	}
	if err != nil {
		return r, err
	}
	if !known {
		return r, fmt.Errorf("revoke %s: %w", id, ErrUnknownHost)
	}
	if r.Certificates, err = ca.Revoke(id); err != nil {
		return r, err
	}
	tokens, err := ts.Of(id) // as they are now
	if err != nil {
		return r, err
	}
	for _, l := range tokens {
		if l.State == Used {
			continue
		}
		if err := ts.Remove(l.ID); err != nil && !errors.Is(err, ErrNoToken) {
			return r, err
		}
		if l.State == Open {
			r.Tokens++
		}
	}
	return r, nil
}

// What is wrong with a token. Who doesn't hold its secret is told errUnknown
// whatever is wrong.
var (
	errUnknown = errors.New("the token is not known here: it was revoked, has long expired, or is of another CA")
	errUsed    = errors.New("the token has been used already: each is good for one host, once (make a new one: redoubt token create)")
	errExpired = errors.New("the token has expired (make a new one: redoubt token create)")
	errBefore  = errors.New("the token was made by a release whose tokens are void now (make a new one: redoubt token create)")
)

// check says what the token of a request grants, without using it.
func (ts *Tokens) check(q *enrollRequest, now time.Time) (*record, error) {
	if !validID(q.Token) {
		return nil, errUnknown
	}
	r, err := ts.read(q.Token, usedSuffix) // first: whoever uses it may be about to remove the other
	if errors.Is(err, fs.ErrNotExist) {
		r, err = ts.read(q.Token, tokenSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) { // or used just now
		r, err = ts.read(q.Token, usedSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, err
	}
	switch {
	case r.Key == nil:
		return nil, errBefore
	case pki.VerifyDocumentBy(ed25519.PublicKey(r.Key), enrolmentPurpose, q.text(), q.Proof) != nil:
		return nil, errUnknown
	case r.CSR != nil && !bytes.Equal(r.CSR, q.sum()):
		return nil, errUsed
	case !now.Before(r.Expires):
		return nil, errExpired
	}
	return r, nil
}

// use uses a token up for a request that check has looked at; who comes second with
// another CSR gets errUsed. It is durable before it returns, so that no crash brings a
// used token back.
func (ts *Tokens) use(q *enrollRequest, r *record) error {
	if r.CSR != nil { // by this request, before, and perhaps cut in the middle
		os.Remove(ts.path(q.Token, tokenSuffix))
		return nil
	}
	used := *r
	used.CSR = q.sum()
	text, err := json.Marshal(used)
	if err != nil {
		return err
	}
	path := ts.path(q.Token, usedSuffix)
	if err := statedir.WriteNewFile(path, append(text, '\n'), 0o600); errors.Is(err, fs.ErrExist) {
		return errUsed
	} else if err != nil {
		return err
	}
	err = os.Remove(ts.path(q.Token, tokenSuffix))
	if errors.Is(err, fs.ErrNotExist) { // revoked between check and now
		return errors.Join(errUsed, os.Remove(path))
	}
	if err != nil {
		return err
	}
	return statedir.SyncDir(ts.dir)
}

// keep keeps the certificate that a used token gave, for who asks again.
func (ts *Tokens) keep(q *enrollRequest, r *record, cert []byte) error {
	used := *r
	used.CSR, used.Certificate = q.sum(), cert
	text, err := json.Marshal(used)
	if err != nil {
		return err
	}
	return statedir.WriteFileForOwner(ts.path(q.Token, usedSuffix), append(text, '\n'), 0o600)
}

// giveBack makes a token good again for which no certificate was made.
func (ts *Tokens) giveBack(q *enrollRequest, r *record) error {
	open := *r
	open.CSR = nil
	text, err := json.Marshal(open)
	if err != nil {
		return err
	}
	if err := statedir.WriteFileForOwner(ts.path(q.Token, tokenSuffix), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Remove(ts.path(q.Token, usedSuffix))
}

func (ts *Tokens) read(id, suffix string) (*record, error) {
	text, err := statedir.ReadFile(ts.path(id, suffix), maxRecord, "token's record")
	if err != nil {
		return nil, err
	}
	r := new(record)
	if err := strictJSON(text, r); err != nil || len(r.Key) != ed25519.PublicKeySize && len(r.Hash) != sha256.Size {
		return nil, fmt.Errorf("%s is damaged (remove it and make a new token)", ts.path(id, suffix))
	}
	return r, nil
}

// forget removes the records of tokens that ended long ago. What can't be
// removed or read is left: it can't be used either.
func (ts *Tokens) forget(now time.Time) {
	entries, _ := os.ReadDir(ts.dir)
	for _, e := range entries {
		id, suffix := splitName(e.Name())
		if suffix == "" {
			continue
		}
		if r, err := ts.read(id, suffix); err == nil && now.After(r.Expires.Add(remember)) {
			os.Remove(ts.path(id, suffix))
		}
	}
}

func splitName(name string) (id, suffix string) {
	for _, suffix := range []string{tokenSuffix, usedSuffix} {
		if id, ok := strings.CutSuffix(name, suffix); ok && validID(id) {
			return id, suffix
		}
	}
	return "", ""
}

// validID keeps what a stranger sends from becoming a path.
func validID(id string) bool {
	return len(id) == 16 && strings.Trim(id, "0123456789abcdef") == ""
}
