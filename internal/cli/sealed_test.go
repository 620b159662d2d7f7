package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhereNothingCanBeSealedNothingIsMade: a CA whose passphrase is gone signs never
// again, and one in plain isn't what was asked for.
func TestWhereNothingCanBeSealedNothingIsMade(t *testing.T) {
	dir := t.TempDir()
	failing := filepath.Join(dir, "bin")
	if err := os.Mkdir(failing, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(failing, "systemd-creds"), []byte("#!/bin/sh\necho no key here >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "no systemd-creds here", failing: "no key here"} {
		t.Setenv("PATH", path)
		ca := filepath.Join(dir, "ca")
		var stderr bytes.Buffer
		code := Main([]string{"pki", "init", "--seal", "--deployment", "clinic", "--dir", ca}, nil, &bytes.Buffer{}, &stderr)
		if code != exitEnvironment || !strings.Contains(stderr.String(), want) {
			t.Errorf("%d, want %q\n%s", code, want, stderr.String())
		}
		if exists(ca) || exists(sealedFile) {
			t.Error("something was made")
		}
	}
}
