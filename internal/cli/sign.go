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

// signReport gives a report its number, and the signature of the host that it was made on.
func signReport(r *evidence.Report, t *verify.Target) error {
	files := ownFiles(t)
	if files.Certificate == "" {
		return fmt.Errorf("%s has no certificate of its own in a file (redoubt dossier attest lets a person answer for it)", t.Host)
	}
	key := files.Key
	if key == "" {
		key = files.Certificate
	}
	pair, err := tls.LoadX509KeyPair(files.Certificate, key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(files.Certificate)
	lock, err := statedir.LockDir(dir)
	if err != nil {
		return fmt.Errorf("another redoubt verify signs one now: %w", err)
	}
	defer lock.Close()
	path := filepath.Join(dir, reportsFile)
	if r.Number, r.Previous, err = lastReport(path); err != nil {
		return err
	}
	r.Number++
	if err := dossier.Sign(r, &pair); err != nil {
		return err
	}
	text, err := r.Encode()
	if err == nil {
		err = statedir.WriteFileForOwner(path, fmt.Appendf(nil, "%d %x\n", r.Number, sha256.Sum256(text)), 0o600)
	}
	if err != nil { // a number that isn't remembered would be given twice
		r.Signature, r.Number, r.Previous = nil, 0, ""
	}
	return err
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
