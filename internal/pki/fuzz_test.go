package pki_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// FuzzOpen feeds arbitrary files in the place of the CA's certificate, key
// or ledger, and of a certificate that is to be described.
func FuzzOpen(f *testing.F) {
	names := [...]string{"ca.crt", "ca.key", "issued"}
	dir := f.TempDir()
	if _, err := pki.Create(dir, "clinic", pki.Options{}); err != nil {
		f.Fatal(err)
	}
	good := map[string][]byte{}
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		good[name] = data
		f.Add(data, i)
		f.Add(data[:len(data)/2], i)
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, which int) {
		dir, spoilt := t.TempDir(), names[uint(which)%3]
		for name, content := range good {
			if name == spoilt {
				content = data
			}
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		_, err := pki.Open(dir, nil)
		if err == nil && !strings.Contains(string(data), strings.Split(string(good[spoilt]), "\n")[1]) {
			t.Fatalf("%s: taken as a CA", spoilt)
		}
		if err != nil && !strings.Contains(err.Error(), dir) {
			t.Fatalf("%s: the error names no file: %v", spoilt, err)
		}
		if certs, err := pki.Read(filepath.Join(dir, spoilt)); err == nil {
			for _, cert := range certs {
				pki.Describe(cert, time.Now())
			}
		}
	})
}
