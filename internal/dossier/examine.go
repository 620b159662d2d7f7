package dossier

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// maxFile bounds a file that Examine reads.
const maxFile = 64 << 20

// A Verdict is what Examine found.
type Verdict struct {
	Files, Reports int
	Signer         *x509.Certificate
}

// Examine says whether a dossier is as it was written: every file that the manifest
// names, no other one, the signature of a root that is believed, and reports that were
// good evidence on the day it was written. version is of this redoubt: a report that the
// same version made must hold every check that this one knows.
func Examine(dir string, roots []*x509.Certificate, version string) (Verdict, error) {
	manifest, err := statedir.ReadFile(filepath.Join(dir, manifestFile), maxFile, "manifest")
	if err != nil {
		return Verdict{}, err
	}
	files, err := listedFiles(dir, manifest)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Files: len(files)}
	if v.Signer, err = checkSignature(dir, manifest, roots); err != nil {
		return Verdict{}, err
	}
	v.Reports, err = examineEvidence(files, v.Signer, roots, version)
	return v, err
}

// listedFiles are the files that the manifest names, as it says they are.
func listedFiles(dir string, manifest []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	for line := range strings.Lines(string(manifest)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !fs.ValidPath(filepath.ToSlash(name)) {
			return nil, fmt.Errorf("%s: a line is not SHA256, two spaces, NAME", manifestFile)
		}
		text, err := statedir.ReadFile(filepath.Join(dir, name), maxFile, "file of a dossier")
		if err != nil {
			return nil, fmt.Errorf("%s is named in the manifest: %w", name, err)
		}
		if hashOf(text) != sum {
			return nil, fmt.Errorf("%s has been changed", name)
		}
		files[name] = text
	}
	return files, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if _, listed := files[name]; err != nil || !listed && name != manifestFile && name != signature {
			return fmt.Errorf("%s is not in the manifest", name)
		}
		return nil
	})
}

func checkSignature(dir string, manifest []byte, roots []*x509.Certificate) (*x509.Certificate, error) {
	text, err := statedir.ReadFile(filepath.Join(dir, signature), maxFile, "signature")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it is not signed")
	}
	if err != nil {
		return nil, err
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", signature, err)
	}
	return pki.VerifyDocument(roots, purpose, manifest, sig)
}

// examineEvidence holds the reports against what the CA said when the dossier was
// written: its list of revoked certificates lies in it.
func examineEvidence(files map[string][]byte, signer *x509.Certificate, roots []*x509.Certificate, version string) (n int, err error) {
	var written struct {
		Results struct {
			Metadata struct {
				LastModified time.Time `json:"last-modified"`
			} `json:"metadata"`
		} `json:"assessment-results"`
	}
	if err := json.Unmarshal(files[Assessment], &written); err != nil {
		return 0, fmt.Errorf("%s says when it was written, and can't be read: %w", Assessment, err)
	}
	if len(signer.URIs) != 1 {
		return 0, errors.New("the root that signed it names no deployment")
	}
	trust := ofRoots(roots, signer.URIs[0].Host, version, files[revokedFile], written.Results.Metadata.LastModified)
	var reports []Evidence
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Dir(name) != evidenceDir {
			continue
		}
		r, err := evidence.Decode(files[name])
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		reports = append(reports, Evidence{Name: name, Text: files[name], Report: r})
	}
	_, err = trust.examineAll(reports)
	return len(reports), err
}
