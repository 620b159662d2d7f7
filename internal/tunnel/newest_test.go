package tunnel_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/pki"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// served runs a process's watch until it has written down what is in force.
func served(t *testing.T, dir string) {
	t.Helper()
	c, err := loadAll(dir)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { c.Watch(ctx, slog.New(slog.DiscardHandler)) })
	must(t, c.Reload())
	cancel()
	watching.Wait()
}

// TestAProcessThatStartsTakesNoOlderListThanThoseBefore: else whoever was revoked is
// back, though each process alone takes no older one.
func TestAProcessThatStartsTakesNoOlderListThanThoseBefore(t *testing.T) {
	d := deploy(t, "clinic")
	dir := d.host(identity.Gateway, "cache-1")
	list, kept := filepath.Join(dir, "revoked.crl"), filepath.Join(dir, "revoked.newest")
	if c, err := loadAll(dir); err != nil || c.HasLists() {
		t.Fatalf("where there never was a list: %v", err)
	}
	older, newer := d.crl(4, nil), d.crl(5, nil, leafIn(t, dir))
	save(t, older, list)
	served(t, dir)
	save(t, newer, list)
	served(t, dir)
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	refused := func(why, says string) {
		t.Helper()
		_, err := loadAll(dir)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "Put the newest list there") || !strings.Contains(err.Error(), list) {
			t.Errorf("%s: %v", why, err)
		}
	}
	save(t, older, list)
	refused("an older list", "has number 4, an older one than 5")
	must(t, os.Remove(list))
	refused("no list", "has gone: its number was 5")
	for _, spoilt := range []string{"", "redoubt newest lists 1", "redoubt newest lists 1\nxx 5\n", "redoubt newest lists 2\n", "redoubt newest lists 1\n" + strings.Repeat("0", 64) + " 05\n"} {
		text, err := os.ReadFile(kept)
		must(t, err)
		save(t, []byte(spoilt), kept)
		save(t, newer, list)
		if _, err := loadAll(dir); err == nil || !strings.Contains(err.Error(), kept) {
			t.Errorf("%q: %v", spoilt, err)
		}
		save(t, text, kept)
	}
	_, err := loadAll(dir)
	must(t, err)
	// Another root's lists have numbers of their own, and a root that has gone stays
	// remembered.
	text, err := os.ReadFile(kept)
	must(t, err)
	other := deploy(t, "clinic")
	leaf, err := other.ca.Issue(pki.Request{ID: other.id(identity.Gateway, "cache-1")})
	must(t, err)
	must(t, leaf.Save(dir))
	save(t, other.crl(1, nil), list)
	served(t, dir)
	if after, err := os.ReadFile(kept); err != nil || strings.Count(string(after), "\n") != 3 || !strings.Contains(string(after), strings.SplitAfter(string(text), "\n")[1]) {
		t.Errorf("%s, %v", after, err)
	}
}

// TestLoadingAloneWritesNothing: redoubt verify only looks.
func TestLoadingAloneWritesNothing(t *testing.T) {
	d := deploy(t, "clinic")
	dir := d.host(identity.Gateway, "cache-1")
	save(t, d.crl(4, nil), dir, "revoked.crl")
	if _, err := tunnel.LoadCredentials(tunnel.Files{Certificate: filepath.Join(dir, "tls.pem"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "revoked.crl")}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "revoked.newest")); err == nil {
		t.Error("it was written down")
	}
}
