package pki_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/pki"
)

// FuzzLoadCA feeds arbitrary files in the place of the CA's certificate or key,
// and of a certificate that is to be described.
func FuzzLoadCA(f *testing.F) {
	ca, err := pki.NewCA("clinic", 0)
	if err != nil {
		f.Fatal(err)
	}
	names := [...]string{"ca.crt", "ca.key"}
	dir := f.TempDir()
	if err := ca.Save(dir); err != nil {
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
		dir, spoilt := t.TempDir(), names[uint(which)%2]
		for name, content := range good {
			if name == spoilt {
				content = data
			}
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
		_, err := pki.LoadCA(dir)
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
