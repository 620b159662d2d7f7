package tunnel

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxCRLFile bounds a file of revocation lists: an entry takes some 60 bytes.
const maxCRLFile = 16 << 20

// Revocation lists (RFC 5280 §5) come in one file, a PEM block for each root of
// the CA file that has one. A list counts only if the root that it names signed
// it. Replacing the file by an older one, or removing it, would give revoked
// hosts their access back, so a list is never followed by one with a lower
// number (§5.2.3), nor by none, as long as its root is believed.
//
// A list that says "next update" in the past still counts: an old list is better
// than none, and a CA that is away for a week must not stop the cache.

// revocations are the lists by the key of the root that signed each.
type revocations map[keyID]revocationList

type revocationList struct {
	number  *big.Int
	next    time.Time // when the next one should have come; zero: it doesn't say
	serials map[string]struct{}
}

// keyID is the SHA-256 of a CA's public key. Names don't tell CAs apart: all
// roots that a deployment has had are named alike.
type keyID [sha256.Size]byte

func keyOf(ca *x509.Certificate) keyID { return sha256.Sum256(ca.RawSubjectPublicKeyInfo) }

// link is one certificate of a chain as its issuer's list names it.
type link struct {
	issuer keyID
	serial string // big-endian bytes
}

// linksOf names every certificate of a verified chain but the root.
func linksOf(chain []*x509.Certificate) []link {
	var links []link
	for i, cert := range chain[:len(chain)-1] {
		links = append(links, link{keyOf(chain[i+1]), string(cert.SerialNumber.Bytes())})
	}
	return links
}

func (r revocations) has(l link) bool {
	_, revoked := r[l.issuer].serials[l.serial]
	return revoked
}

// count is how many certificates are revoked.
func (r revocations) count() (n int) {
	for _, list := range r {
		n += len(list.serials)
	}
	return n
}

// equal compares by number, which is what a list goes by.
func (r revocations) equal(other revocations) bool {
	return maps.EqualFunc(r, other, func(a, b revocationList) bool { return a.number.Cmp(b.number) == 0 })
}

// overdue is the first day on which a newer list should have come, of those that
// haven't; zero if none is.
func (r revocations) overdue(now time.Time) (since time.Time) {
	for _, list := range r {
		if !list.next.IsZero() && now.After(list.next) && (since.IsZero() || list.next.Before(since)) {
			since = list.next
		}
	}
	return since
}

// ListOverdue says since when a newer list of revoked certificates should have come;
// zero: none is overdue. An overdue one still counts.
func (c *Credentials) ListOverdue(now time.Time) time.Time {
	return c.state.Load().revoked.overdue(now)
}

// OwnRevoked says why nobody believes this host any more, if its own certificate is
// revoked.
func (c *Credentials) OwnRevoked() error { return c.state.Load().ownRevoked() }

func (s *snapshot) ownRevoked() error {
	leaf := s.pair.Leaf
	for _, root := range s.roots {
		if s.revoked.has(link{keyOf(root), string(leaf.SerialNumber.Bytes())}) && leaf.CheckSignatureFrom(root) == nil {
			return fmt.Errorf("the certificate of %s is revoked (serial %x): no peer takes it. If this host is a replacement of the one that was meant, give it a new one: redoubt token create and redoubt join, or redoubt pki issue where the CA lies", s.id, leaf.SerialNumber)
		}
	}
	return nil
}

// readRevocations reads the lists of a file, and its text; a file that isn't there has none.
func readRevocations(path string, roots []*x509.Certificate) (lists revocations, text []byte, err error) {
	if path == "" {
		return nil, nil, nil
	}
	text, err = statedir.ReadFile(path, maxCRLFile, "file of revocation lists")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if lists, err = parseRevocations(text, roots); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return lists, text, nil
}

// parseRevocations passes over the list of an issuer that the CA file doesn't
// hold, which is how a root's last list looks when the root has gone; but a file
// in which nothing else stands is another deployment's.
func parseRevocations(text []byte, roots []*x509.Certificate) (revocations, error) {
	lists := revocations{}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("holds a PEM block %q where only revocation lists (X509 CRL) belong", block.Type)
		}
		crl, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a revocation list in it can't be read: %w", err)
		}
		root, err := signerOf(crl, roots)
		if err != nil {
			return nil, err
		}
		if root == nil {
			continue
		}
		if _, twice := lists[keyOf(root)]; twice {
			return nil, fmt.Errorf("holds two lists of the CA %q: one is too many", crl.Issuer)
		}
		if lists[keyOf(root)], err = contentOf(crl); err != nil {
			return nil, fmt.Errorf("the revocation list of %q in it %w", crl.Issuer, err)
		}
	}
	if len(lists) == 0 {
		return nil, errors.New("holds no revocation list (X509 CRL in PEM form) of a CA that is believed here")
	}
	return lists, nil
}

// signerOf finds the root that signed a list; nil if none of them says it did.
func signerOf(crl *x509.RevocationList, roots []*x509.Certificate) (*x509.Certificate, error) {
	claimed := false
	for _, root := range roots {
		if string(crl.RawIssuer) != string(root.RawSubject) {
			continue
		}
		if crl.CheckSignatureFrom(root) == nil {
			return root, nil
		}
		// Roots of one deployment have one name, and differ in their key's id.
		claimed = claimed || len(crl.AuthorityKeyId) == 0 || string(crl.AuthorityKeyId) == string(root.SubjectKeyId)
	}
	if claimed {
		return nil, fmt.Errorf("the revocation list of %q in it is not signed by that CA", crl.Issuer)
	}
	return nil, nil
}

// contentOf refuses lists that mean something else than "these, of this CA":
// what is critical in a list and not understood forbids its use (RFC 5280 §5.2).
// That covers lists of changes (deltas), of a part of the certificates, and of
// other CAs' certificates.
func contentOf(crl *x509.RevocationList) (revocationList, error) {
	for _, ext := range crl.Extensions {
		if ext.Critical {
			return revocationList{}, fmt.Errorf("is of a kind that isn't understood here (critical extension %v): a whole list of this CA alone is needed", ext.Id)
		}
	}
	if crl.Number == nil {
		return revocationList{}, errors.New("has no number (RFC 5280 §5.2.3), so an older one couldn't be told from a newer")
	}
	list := revocationList{crl.Number, crl.NextUpdate, make(map[string]struct{}, len(crl.RevokedCertificateEntries))}
	for _, entry := range crl.RevokedCertificateEntries {
		for _, ext := range entry.Extensions {
			if ext.Critical {
				return revocationList{}, fmt.Errorf("has an entry of a kind that isn't understood here (critical extension %v)", ext.Id)
			}
		}
		list.serials[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return list, nil
}

// follow refuses lists that know less than those before them. believed are the
// roots of the new state.
func (r revocations) follow(before revocations, believed []*x509.Certificate) error {
	for _, root := range believed {
		had, ok := before[keyOf(root)]
		if !ok {
			continue
		}
		has, ok := r[keyOf(root)]
		if !ok {
			return fmt.Errorf("the revocation list of the CA with serial %x has gone: its number was %v", root.SerialNumber, had.number)
		}
		if has.number.Cmp(had.number) < 0 {
			return fmt.Errorf("the revocation list has number %v, an older one than %v, which is in force", has.number, had.number)
		}
	}
	return nil
}

// CheckFirst says why lists (PEM) that come with a host's first certificate must not be
// taken: they are not of the roots, or say that the gateway which sent them is revoked.
func CheckFirst(text []byte, roots []*x509.Certificate, gateway *x509.Certificate) error {
	lists, err := parseRevocations(text, roots)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if _, ok := lists[keyOf(root)]; !ok {
			return fmt.Errorf("holds no revocation list of the CA with serial %x", root.SerialNumber)
		}
		if lists.has(link{keyOf(root), string(gateway.SerialNumber.Bytes())}) && gateway.CheckSignatureFrom(root) == nil {
			return fmt.Errorf("the gateway's own certificate is revoked (serial %x): somebody else answers there, or it needs a new one", gateway.SerialNumber)
		}
	}
	return nil
}

// CheckRevocations says why lists (PEM) that somebody sent must not take the
// place of those that are in force.
func (c *Credentials) CheckRevocations(text []byte) error {
	s := c.state.Load()
	lists, err := parseRevocations(text, s.roots)
	if err != nil {
		return err
	}
	return lists.follow(s.revoked, s.roots)
}
