package cli

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/dossier"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/statedir"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// What a host remembers of its reports lies beside its certificate: a line with the number
// of the last one and its SHA-256 in hex.
const (
	reportsFile = "reports"
	maxReports  = 256 // bytes
)

// signReport gives a report its number, and the signature of the host that it was made
// on. Where the number can't be remembered, uncounted says why, and the report is signed
// without one.
func signReport(r *evidence.Report, t *verify.Target) (uncounted, err error) {
	files := ownFiles(t)
	if files.Certificate == "" {
		return nil, fmt.Errorf("%s has no certificate of its own in a file (redoubt dossier attest lets a person answer for it)", t.Host)
	}
	key := files.Key
	if key == "" {
		key = files.Certificate
	}
	pair, err := tls.LoadX509KeyPair(files.Certificate, key)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(files.Certificate)
	lock, err := statedir.LockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("another redoubt verify signs one now: %w", err)
	}
	defer lock.Close()
	if uncounted = signCounted(r, &pair, filepath.Join(dir, reportsFile)); uncounted == nil {
		return nil, nil
	}
	r.Number, r.Previous = 0, ""
	return uncounted, dossier.Sign(r, &pair)
}

// signCounted signs with the number after the last one, which it remembers.
func signCounted(r *evidence.Report, pair *tls.Certificate, path string) (err error) {
	if r.Number, r.Previous, err = lastReport(path); err != nil {
		return err
	}
	r.Number++
	if err := dossier.Sign(r, pair); err != nil {
		return err
	}
	text, err := r.Encode()
	if err != nil {
		return err
	}
	return statedir.WriteFileForOwner(path, fmt.Appendf(nil, "%d %x\n", r.Number, sha256.Sum256(text)), 0o600)
}

// ownFiles are those of the certificate that answers for a report from here.
func ownFiles(t *verify.Target) tunnel.Files {
	switch {
	case t.App != nil:
		return t.App.Certificates
	case t.Cache != nil:
		return t.Cache.Certificates
	}
	return tunnel.Files{}
}

func lastReport(path string) (number int, hash string, err error) {
	text, err := statedir.ReadFile(path, maxReports, "file with the number of the last report")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	_, err = fmt.Sscanf(strings.TrimSpace(string(text)), "%d %s", &number, &hash)
	if sum, bad := hex.DecodeString(hash); err != nil || bad != nil || number < 1 || len(sum) != sha256.Size {
		return 0, "", fmt.Errorf("%s is not NUMBER SHA256, as redoubt verify writes it: put it back from a backup; without it the reports are counted from 1 again, which a dossier shows", path)
	}
	return number, hash, nil
}
