package enroll

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// A token is what a new host needs to know, in one line:
//
//	rdjoin2_BASE64URL(JSON, then 4 bytes of the JSON's SHA-256)
//
// It names every root of the CA that its host may believe. Those of the version
// before, rdjoin1_, named one. The prefix lets secret scanners find it and people tell it; the checksum tells
// a token that was torn in copying from one that is refused. It is a secret until
// it was used.
const (
	tokenPrefix  = "rdjoin2_"
	tokenPrefix1 = "rdjoin1_"
	sumSize      = 4
	maxToken     = 8 << 10 // some 40 gateways
	maxGateways  = 32
	maxRoots     = 2 // during a rotation
)

// Token lets one host enrol, once.
type Token struct {
	id       [8]byte  // names it in lists and logs
	secret   [32]byte // the seed of its key, which proves it
	Roots    []RootHash
	Identity identity.ID
	Gateways []Gateway
}

// RootHash is the SHA-256 of a root's certificate (DER).
type RootHash = [sha256.Size]byte

// Gateway is where a host can enrol.
type Gateway struct {
	Name    string `json:"name"`
	Address string `json:"address"` // HOST:PORT
}

// tokenJSON is a Token as it is written.
type tokenJSON struct {
	ID       string    `json:"id"`
	Secret   []byte    `json:"secret"`
	Roots    [][]byte  `json:"cas,omitempty"`
	Root     []byte    `json:"ca,omitempty"` // of the version before
	Identity string    `json:"identity"`
	Gateways []Gateway `json:"gateways"`
}

func newToken(roots []RootHash, id identity.ID, gateways []Gateway) (Token, error) {
	t := Token{Roots: roots, Identity: id, Gateways: gateways}
	rand.Read(t.id[:]) // never fails since Go 1.24: the program ends instead
	rand.Read(t.secret[:])
	return t, t.check()
}

func (t *Token) check() error {
	if t.Identity.IsZero() {
		return errors.New("it names no identity")
	}
	if len(t.Roots) == 0 || len(t.Roots) > maxRoots {
		return fmt.Errorf("it names %d CAs: from 1 to %d are needed", len(t.Roots), maxRoots)
	}
	if len(t.Gateways) == 0 || len(t.Gateways) > maxGateways {
		return fmt.Errorf("it names %d gateways: from 1 to %d are needed", len(t.Gateways), maxGateways)
	}
	for _, g := range t.Gateways {
		if err := identity.ValidName(g.Name); err != nil {
			return fmt.Errorf("gateway %w", err)
		}
		host, port, err := net.SplitHostPort(g.Address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return fmt.Errorf("gateway %s: %q is not HOST:PORT", g.Name, g.Address)
		}
	}
	return nil
}

// A token's secret is the seed of an Ed25519 key (RFC 8032 §5.1.5). Its host signs its
// request with that, so that nobody on the way sees what would do for a request of his
// own; and where the CA lies there is the public key, which makes no token either.

// enrolmentPurpose names the version, too: a signature for one is none for another.
const enrolmentPurpose = "enrolment/2"

func (t *Token) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(t.secret[:]) }

// request asks for a certificate for the key of a CSR (DER).
func (t *Token) request(csr []byte) (enrollRequest, error) {
	q := enrollRequest{Token: t.ID(), CSR: csr}
	var err error
	q.Proof, err = pki.SignDocumentAs(t.key(), enrolmentPurpose, q.text())
	return q, err
}

// text is what is signed: a line for each part.
func (q *enrollRequest) text() []byte { return fmt.Appendf(nil, "%s\n%x\n", q.Token, q.sum()) }

func (q *enrollRequest) sum() []byte {
	sum := sha256.Sum256(q.CSR)
	return sum[:]
}

// ID names the token where it may be seen.
func (t *Token) ID() string { return hex.EncodeToString(t.id[:]) }

// Text is the token as its host needs it: a secret.
func (t *Token) Text() string {
	j := tokenJSON{ID: t.ID(), Secret: t.secret[:], Identity: t.Identity.String(), Gateways: t.Gateways}
	for i := range t.Roots {
		j.Roots = append(j.Roots, t.Roots[i][:])
	}
	text, err := json.Marshal(j)
	if err != nil {
		panic(fmt.Sprintf("enroll: %v", err)) // strings and bytes only
	}
	sum := sha256.Sum256(text)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(text, sum[:sumSize]...))
}

// String keeps the secret out of what is printed by accident.
func (t Token) String() string { return "token " + t.ID() }

// ParseToken reads what Text wrote. Its errors repeat nothing of it.
func ParseToken(text string) (Token, error) {
	t, err := parseToken(strings.TrimSpace(text))
	if err != nil {
		return Token{}, fmt.Errorf("the token can't be read: %w (copy it whole, or make a new one: redoubt token create)", err)
	}
	return t, nil
}

func parseToken(text string) (Token, error) {
	encoded, ok := strings.CutPrefix(text, tokenPrefix)
	before := false
	if !ok {
		encoded, before = strings.CutPrefix(text, tokenPrefix1)
	}
	if !ok && !before {
		return Token{}, fmt.Errorf("it does not begin with %s", tokenPrefix)
	}
	if len(text) > maxToken {
		return Token{}, errors.New("it is too long")
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(data) < sumSize {
		return Token{}, errors.New("a character is wrong or missing")
	}
	data, sum := data[:len(data)-sumSize], data[len(data)-sumSize:]
	if want := sha256.Sum256(data); !bytes.Equal(sum, want[:sumSize]) {
		return Token{}, errors.New("its checksum is wrong: a part is missing or was changed")
	}
	var j tokenJSON
	if err := strictJSON(data, &j); err != nil {
		return Token{}, errors.New("it is not of a form that is known here")
	}
	if before == (j.Root == nil) || before == (j.Roots != nil) {
		return Token{}, errors.New("it is not of a form that is known here")
	}
	if before {
		j.Roots = [][]byte{j.Root}
	}
	t := Token{Gateways: j.Gateways}
	for _, root := range j.Roots {
		if len(root) != sha256.Size {
			return Token{}, errors.New("a part of it has the wrong length")
		}
		t.Roots = append(t.Roots, RootHash(root))
	}
	id, err := hex.DecodeString(j.ID)
	if err != nil || copy(t.id[:], id) != len(id) || len(id) != len(t.id) ||
		copy(t.secret[:], j.Secret) != len(t.secret) || len(j.Secret) != len(t.secret) {
		return Token{}, errors.New("a part of it has the wrong length")
	}
	if t.Identity, err = identity.Parse(j.Identity); err != nil {
		return Token{}, err
	}
	return t, t.check()
}

// strictJSON reads one object that holds nothing unknown.
func strictJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err == nil {
		return errors.New("more than one value")
	}
	return nil
}
