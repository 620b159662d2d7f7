package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/host"
)

// TestAUserOfItsOwnIsNobodyElses, whether or not anything runs as it just now.
func TestAUserOfItsOwnIsNobodyElses(t *testing.T) {
	dir := t.TempDir()
	unit := filepath.Join(dir, "other.service")
	if err := os.WriteFile(unit, []byte("[Service]\n  User = shared\nSupplementaryGroups=adm  eleven\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	accounts := []host.Account{
		{Name: "root", UID: "0", Shell: "/bin/bash"},
		{Name: "redoubt-engine", UID: "990", Shell: "/usr/sbin/nologin"},
		{Name: "shared", UID: "991", Shell: "/usr/sbin/nologin"},
		{Name: "alice", UID: "1000", Shell: "/bin/bash"},
		{Name: "one", UID: "992", Shell: "/bin/false"}, {Name: "two", UID: "0992", Shell: "/bin/false"},
		{Name: "nobody", UID: "65534", Shell: "/usr/sbin/nologin"},
	}
	for uid, want := range map[string]string{
		"990": "", "61200": "",
		"991": "runs a service", "1000": "log in", "992": "the same uid", "65534": "any service", "33": "any service",
	} {
		got, err := whoseAccount(uid, accounts, []string{filepath.Join(dir, "*.service")})
		if err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("uid %s: %q %v, want %q", uid, got, err, want)
		}
	}
}

// TestAGroupOfItsOwnHasNobodyElse, whether or not he has logged in or was started.
func TestAGroupOfItsOwnHasNobodyElse(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"other.service": "[Service]\nSupplementaryGroups=adm  eleven\n", "redoubt-gateway.service": "[Service]\nSupplementaryGroups=engine\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	accounts := []host.Account{
		{Name: "engine", UID: "990", GID: "990", Shell: "/usr/sbin/nologin"},
		{Name: "alice", UID: "1000", GID: "1000", Shell: "/bin/bash"},
		{Name: "daemon", UID: "12", GID: "0995", Shell: "/usr/sbin/nologin"},
	}
	groups := []host.Group{
		{Name: "engine", GID: "990", Members: []string{"engine"}},
		{Name: "eleven", GID: "991"}, {Name: "people", GID: "992", Members: []string{"alice"}}, {Name: "again", GID: "00993", Members: []string{"engine", "alice"}},
	}
	for gid, want := range map[string]string{
		"990": "", "61200": "",
		"991": "runs a service", "992": "alice is in people", "993": "alice is in again", "995": "the group of daemon",
	} {
		got, err := whoseGroup(gid, "990", accounts, groups, []string{filepath.Join(dir, "*.service")})
		if err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("gid %s: %q %v, want %q", gid, got, err, want)
		}
	}
}
