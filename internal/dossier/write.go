package dossier

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// The names of the files of a dossier.
const (
	Page         = "dossier.html"
	Markdown     = "dossier.md"
	Components   = "oscal/component-definition.json"
	Assessment   = "oscal/assessment-results.json"
	manifestFile = "SHA256SUMS"
	signature    = "SHA256SUMS.sig"
	rootFile     = "ca.crt"
)

// purpose keeps a dossier's signature apart from the CA's others.
const purpose = "dossier/1"

// maxFile bounds a file that Examine reads.
const maxFile = 64 << 20

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Write makes the directory with all documents, which must not be there yet or be
// empty. Without a CA it is not signed; the documents say so.
func (d *Dossier) Write(dir string, reports []Evidence, ca *pki.CA) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is there already and not empty: a dossier is kept as it was written; choose another directory", dir)
	}
	if ca == nil {
		d.Warnings = append(d.Warnings, "It is not signed (--ca).")
	}
	files := map[string][]byte{}
	var err error
	for name, encode := range map[string]func() ([]byte, error){
		Page: d.HTML, Markdown: d.Markdown, Components: d.ComponentDefinition, Assessment: d.AssessmentResults,
	} {
		if files[name], err = encode(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, e := range reports {
		name := filepath.Join("evidence", e.Name)
		if files[name] != nil {
			return fmt.Errorf("two reports are called %s: rename one", e.Name)
		}
		files[name] = e.Text
	}
	if ca != nil {
		files[rootFile] = pki.EncodeCertificates(ca.Roots()...)
	}
	manifest := manifestOf(files)
	files[manifestFile] = manifest
	if ca != nil {
		sig, err := ca.SignDocument(purpose, manifest)
		if err != nil {
			return err
		}
		files[signature] = []byte(base64.StdEncoding.EncodeToString(sig) + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := statedir.WriteFile(path, files[name], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// manifestOf lists files as sha256sum(1) does, so that it can check them too.
func manifestOf(files map[string][]byte) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%s  %s\n", hashOf(files[name]), name)
	}
	return []byte(b.String())
}

// A Verdict is what Examine found.
type Verdict struct {
	Files  int
	Signer *x509.Certificate // nil: not signed
}

// Examine says whether a dossier is as it was written: every file that the manifest
// names, no other one, and the signature of a root that is believed. Without roots
// those of the dossier itself are taken, which proves only that it is of one piece.
func Examine(dir string, roots []*x509.Certificate) (Verdict, error) {
	manifest, err := statedir.ReadFile(filepath.Join(dir, manifestFile), maxFile, "manifest")
	if err != nil {
		return Verdict{}, err
	}
	listed := map[string]bool{manifestFile: true, signature: true}
	for line := range strings.Lines(string(manifest)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !fs.ValidPath(filepath.ToSlash(name)) {
			return Verdict{}, fmt.Errorf("%s: a line is not SHA256, two spaces, NAME", manifestFile)
		}
		text, err := statedir.ReadFile(filepath.Join(dir, name), maxFile, "file of a dossier")
		if err != nil {
			return Verdict{}, fmt.Errorf("%s is named in the manifest: %w", name, err)
		}
		if hashOf(text) != sum {
			return Verdict{}, fmt.Errorf("%s has been changed", name)
		}
		listed[name] = true
	}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if name, err := filepath.Rel(dir, path); err != nil || !listed[name] {
			return fmt.Errorf("%s is not in the manifest", name)
		}
		return nil
	})
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Files: len(listed) - 2}
	v.Signer, err = checkSignature(dir, manifest, roots)
	return v, err
}

func checkSignature(dir string, manifest []byte, roots []*x509.Certificate) (*x509.Certificate, error) {
	text, err := statedir.ReadFile(filepath.Join(dir, signature), maxFile, "signature")
	if errors.Is(err, fs.ErrNotExist) {
		if len(roots) > 0 {
			return nil, errors.New("it is not signed")
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", signature, err)
	}
	if len(roots) == 0 {
		if roots, err = pki.Read(filepath.Join(dir, rootFile)); err != nil {
			return nil, err
		}
	}
	return pki.VerifyDocument(roots, purpose, manifest, sig)
}
