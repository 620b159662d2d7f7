//go:build slow

package hosts_test

import (
	"strings"
	"testing"
)

// TestAnUpdateOfLibcKeepsTheCache: needrestart, which restarts what runs with a library
// that was replaced, leaves the gateway and says so. sshd is the control.
func TestAnUpdateOfLibcKeepsTheCache(t *testing.T) {
	s := newServed(t, "needrestart")
	if got := s.ask("SET", "before the update", "kept"); got != "OK" {
		t.Fatal(got)
	}
	gateway, sshd := s.property(s.cache, "redoubt-gateway", "MainPID"), s.property(s.cache, "ssh", "MainPID")
	s.on(s.cache, "cd /lib/x86_64-linux-gnu && cp -p libc.so.6 libc.so.6.new && mv libc.so.6.new libc.so.6")
	out := s.on(s.cache, "DEBIAN_FRONTEND=noninteractive needrestart -l -r a 2>&1")
	if now := s.property(s.cache, "ssh", "MainPID"); now == sshd {
		t.Errorf("the control: sshd wasn't restarted\n%s", out)
	}
	if now := s.property(s.cache, "redoubt-gateway", "MainPID"); now != gateway || s.ask("GET", "before the update") != "kept" {
		t.Errorf("the gateway was restarted\n%s", out)
	}
	if _, deferred, found := strings.Cut(out, "deferred"); !found || !strings.Contains(deferred, "redoubt-gateway") {
		t.Errorf("nobody is told that the gateway runs with the old one\n%s", out)
	}
}
