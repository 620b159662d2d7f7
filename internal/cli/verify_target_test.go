package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// TestACertificateIsNoSecret unless its key stands with it: where the key has a file of
// its own, everybody may read the certificate, as other makers place them.
func TestACertificateIsNoSecret(t *testing.T) {
	const certificate, key = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"
	for name, c := range map[string]struct {
		crt, crtHolds string
		mode, keyMode os.FileMode
		own           bool // the key has a file of its own
		want          string
	}{
		"beside its key":                    {crtHolds: certificate, mode: 0o644, keyMode: 0o600, own: true},
		"beside a key that others can read": {crtHolds: certificate, mode: 0o644, keyMode: 0o640, own: true, want: "tls.key"},
		"that others can write":             {crtHolds: certificate, mode: 0o666, keyMode: 0o600, own: true, want: "tls.crt"},
		"with its key":                      {crtHolds: certificate + key, mode: 0o600},
		"with its key, for everybody":       {crtHolds: certificate + key, mode: 0o644, want: "tls.crt"},
		"with a key, beside it":             {crtHolds: certificate + key, mode: 0o644, keyMode: 0o600, own: true, want: "holds a secret"},
	} {
		dir := t.TempDir()
		text := fmt.Sprintf("deployment: clinic\nname: web-1\ngateways: [{name: cache-1, address: 127.0.0.1:1}]\ntls:\n  certificate: %s/tls.crt\n  ca: %[1]s/ca.crt\n", dir)
		write := func(name, text string, mode os.FileMode) {
			t.Helper()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
		}
		if c.own {
			text += "  key: " + dir + "/tls.key\n"
			write("tls.key", key, c.keyMode)
		}
		write("tls.crt", c.crtHolds, c.mode)
		write("ca.crt", certificate, 0o644)
		write("sidecar.yaml", text, 0o644)
		conf, err := config.LoadSidecar(filepath.Join(dir, "sidecar.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		target, err := sidecarTarget(conf)
		if err != nil {
			t.Fatal(err)
		}
		for _, check := range verify.Run(t.Context(), target, verify.Checks(), verify.Options{Cheap: true}).Checks {
			if check.ID != "RD-208" {
				continue
			}
			if (check.Outcome == evidence.Pass) != (c.want == "") || !strings.Contains(check.Detail, c.want) {
				t.Errorf("%s: %s, %s, want %q", name, check.Outcome, check.Detail, c.want)
			}
		}
	}
}
