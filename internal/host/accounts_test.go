package host

import (
	"slices"
	"strings"
	"testing"
)

// TestAccountFaults, one at a time.
func TestAccountFaults(t *testing.T) {
	groups := []Group{{"root", "0", nil}, {"sudo", "27", []string{"alice"}}}
	sound := []Account{{"root", "0", "0", "/root", "/bin/bash", false}, {"sync", "4", "0", "/bin", "/bin/sync", false}, {"alice", "1000", "1000", "/home/alice", "/bin/sh", false}}
	if got := AccountFaults(sound, groups); len(got) > 0 {
		t.Fatalf("sound: %q", got)
	}
	for want, more := range map[string]Account{
		"toor has user id 0 too":  {Name: "toor", UID: "0", GID: "1"},
		`user id of toor is "00"`: {Name: "toor", UID: "00", GID: "1"}, `user id of toor is "+0"`: {Name: "toor", UID: "+0", GID: "1"},
		`user id of toor is "-0"`: {Name: "toor", UID: "-0", GID: "1"}, `user id of toor is "0x0"`: {Name: "toor", UID: "0x0", GID: "1"},
		`user id of toor is " 0"`: {Name: "toor", UID: " 0", GID: "1"}, `user id of toor is ""`: {Name: "toor", UID: "", GID: "1"},
		`user id of toor is "4294967296"`: {Name: "toor", UID: "4294967296", GID: "1"},
		`group id of toor is "00"`:        {Name: "toor", UID: "7", GID: "00"},
		"bob is in root's group":          {Name: "bob", UID: "7", GID: "0", Shell: "/bin/sh"},
		"guest has no password":           {Name: "guest", UID: "7", GID: "7", Open: true},
	} {
		if got := AccountFaults(append(slices.Clone(sound), more), groups); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, more := range map[string]Group{
		"helpers is a second name":    {"helpers", "0", nil},
		`id of group helpers is "00"`: {"helpers", "00", nil},
		"alice is in root's group":    {"root", "0", []string{"alice"}},
	} {
		if got := AccountFaults(sound, append(slices.Clone(groups), more)); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	members, _, err := Sudo(append(slices.Clone(sound), Account{Name: "carol", GID: "27"}), append(groups, Group{"helpers", "27", []string{"bob"}}))
	if err != nil || strings.Join(members, "; ") != "sudo: alice,carol; helpers: bob,carol" {
		t.Errorf("%q %v", members, err)
	}
	for line, want := range map[string]bool{"alice ALL=(ALL) ALL": true, "%ops\tALL=(ALL) ALL": true, "#1000 ALL=(ALL) ALL": true, "# a comment": false, "#includedir /etc/sudoers.d": false, "Defaults\tenv_reset": false, "@include x": false, "": false} {
		if got := sudoRule(line); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
