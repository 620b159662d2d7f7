package tunnel

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// A list that is older than one that was in force here, or none, would give revoked
// hosts their access back. A process remembers that while it runs; this file does
// from one to the next: the highest number of each root's lists, by the root's key.
//
//	redoubt newest lists 1
//	KEY NUMBER
//	…
//
// Roots that are believed no longer stay in it: they may come back with the files
// of an old backup.
const (
	newestFile  = "revoked.newest"
	newestMagic = "redoubt newest lists 1\n"
	maxNewest   = 64 << 10 // some 600 roots
)

// newest is where the numbers are kept: beside the certificate, where a host
// that renews may write. "" where there are no lists.
func (f Files) newest() string {
	if f.CRL == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(f.Certificate), newestFile)
}

// readNewest reads them, as lists without content.
func readNewest(path string) (revocations, error) {
	if path == "" {
		return nil, nil
	}
	text, err := statedir.ReadFile(path, maxNewest, "file with the numbers of revocation lists")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lists, err := parseNewest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (it says which lists of revoked certificates were in force here; put it back, or remove it once you know that %s is the newest)", path, err, filepath.Join(filepath.Dir(path), "revoked.crl"))
	}
	return lists, nil
}

func parseNewest(text []byte) (revocations, error) {
	rest, ok := strings.CutPrefix(string(text), newestMagic)
	if !ok {
		return nil, errors.New("is not a whole file of ours")
	}
	lists := revocations{}
	for line := range strings.Lines(rest) {
		key, number, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		id, err := hex.DecodeString(key)
		n, good := new(big.Int).SetString(number, 10)
		if err != nil || len(id) != len(keyID{}) || !good {
			return nil, errors.New("is not a whole file of ours")
		}
		lists[keyID(id)] = revocationList{number: n}
	}
	if !bytes.Equal(lists.encodeNewest(), text) {
		return nil, errors.New("is not a whole file of ours")
	}
	return lists, nil
}

func (r revocations) encodeNewest() []byte {
	text := []byte(newestMagic)
	for _, id := range slices.SortedFunc(maps.Keys(r), func(a, b keyID) int { return bytes.Compare(a[:], b[:]) }) {
		text = fmt.Appendf(text, "%x %v\n", id, r[id].number)
	}
	return text
}

// notOlder refuses lists that know less than what was ever in force here.
func (r revocations) notOlder(files Files, believed []*x509.Certificate) error {
	newest, err := readNewest(files.newest())
	if err != nil {
		return err
	}
	if err := r.follow(newest, believed); err != nil {
		return fmt.Errorf("%s: %w, says %s: who was revoked since would be let in. Put the newest list there (that of the CA, or of another host's tls directory); "+
			"if the CA itself was put back from a backup, see docs/certificates.md, \"Put back from a backup\"", files.CRL, err, files.newest())
	}
	return nil
}

// remember writes what is in force, for the next process.
func (c *Credentials) remember() error {
	path := c.files.newest()
	if path == "" {
		return nil
	}
	before, err := readNewest(path)
	if err != nil {
		return err
	}
	now := maps.Clone(before)
	for id, list := range c.state.Load().revoked {
		if had, ok := now[id]; ok && had.number.Cmp(list.number) >= 0 {
			continue
		}
		if now == nil {
			now = revocations{}
		}
		now[id] = revocationList{number: list.number}
	}
	if now == nil || now.equal(before) {
		return nil
	}
	return statedir.WriteFileForOwner(path, now.encodeNewest(), 0o600)
}
