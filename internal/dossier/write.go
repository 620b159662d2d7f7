package dossier

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
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
	Annex        = "decisions.html"
	Components   = "oscal/component-definition.json"
	Assessment   = "oscal/assessment-results.json"
	manifestFile = "SHA256SUMS"
	signature    = "SHA256SUMS.sig"
	rootFile     = "ca.crt"
	revokedFile  = "revoked.crl"
	evidenceDir  = "evidence"
)

// purpose keeps a dossier's signature apart from the CA's others.
const purpose = "dossier/1"

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Write makes the directory with all documents, which must not be there yet or be
// empty. Without a CA it is not signed; the documents say so.
func (d *Dossier) Write(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is there already and not empty: a dossier is kept as it was written; choose another directory", dir)
	}
	if d.ca == nil {
		d.Warnings = append(d.Warnings, "It is not signed (--ca).")
	}
	files := map[string][]byte{}
	var err error
	for name, encode := range map[string]func() ([]byte, error){
		Page: d.HTML, Markdown: d.Markdown, Annex: d.Annex, Components: d.ComponentDefinition, Assessment: d.AssessmentResults,
	} {
		if files[name], err = encode(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, e := range d.sources {
		files[filepath.Join(evidenceDir, e.Name)] = e.Text
	}
	if d.ca != nil {
		files[rootFile] = pki.EncodeCertificates(d.ca.Roots()...)
		if files[revokedFile], err = d.ca.Revocations(); err != nil {
			return err
		}
	}
	manifest := manifestOf(files)
	files[manifestFile] = manifest
	if d.ca != nil {
		sig, err := d.ca.SignDocument(purpose, manifest)
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
