package cli

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
)

// TestAGatewayServesNobodyWithoutTheNewestListOfTheRevoked: with the CA beside it, it
// makes the list from the ledger; one of an old backup it refuses.
func TestAGatewayServesNobodyWithoutTheNewestListOfTheRevoked(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	caDir, list := filepath.Join(dir, "ca"), filepath.Join(dir, "ca", "revoked.crl")
	ca, err := pki.Create(caDir, "clinic", pki.Options{})
	must(err)
	web, err := identity.New("clinic", identity.App, "web-1")
	must(err)
	_, err = ca.Issue(pki.Request{ID: web})
	must(err)
	backup := filepath.Join(dir, "backup")
	must(os.CopyFS(backup, os.DirFS(caDir)))
	_, err = ca.Revoke(web)
	must(err)
	c := config.NewGateway()
	c.Deployment, c.Name = "clinic", "cache-1"
	c.PKI.Dir, c.TLS.Certificate = config.File(caDir), config.File(filepath.Join(dir, "tls", "tls.pem"))
	var said bytes.Buffer
	start := func() error {
		k, err := gatewayRenewer(t.Context(), c, slog.New(slog.NewTextHandler(&said, nil)), true)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(list)
		must(err)
		if err := k.Credentials.CheckRevocations(text); err != nil || !k.Credentials.HasLists() {
			t.Errorf("what is in force is not the list: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var keeping sync.WaitGroup
		keeping.Go(func() { k.Run(ctx) }) // writes down what is in force
		must(k.Credentials.Reload())
		cancel()
		keeping.Wait()
		return nil
	}
	for range 2 { // the second time the CA has nothing to issue, which would make the list too
		must(os.RemoveAll(list))
		must(start())
	}
	text, err := os.ReadFile(list)
	must(err)
	if !strings.Contains(string(text), "X509 CRL") {
		t.Errorf("%s", text)
	}
	must(os.WriteFile(list, []byte("damaged\n"), 0o644))
	if err := start(); err == nil || !strings.Contains(err.Error(), "nobody is served") || !strings.Contains(err.Error(), list) {
		t.Errorf("a list that is damaged: %v", err)
	}
	must(os.RemoveAll(caDir))
	must(os.Rename(backup, caDir))
	for _, name := range []string{"ca.key", "issued"} {
		must(os.Chmod(filepath.Join(caDir, name), 0o600))
	}
	must(os.Chmod(caDir, 0o700))
	err = start()
	if err == nil || !strings.Contains(err.Error(), "has number 1, an older one than 2") || !strings.Contains(err.Error(), "Put back from a backup") {
		t.Errorf("the CA of before the revocation: %v", err)
	}
}
