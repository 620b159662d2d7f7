//go:build slow

package hosts_test

import (
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// files are those of /etc/redoubt, with owner, mode and what is in them.
func (s *served) files(m *lab.Machine) string {
	s.t.Helper()
	return s.on(m, `cd /etc/redoubt && find . ! -name '.*' -printf '%p %y %m %U:%G\n' | sort; find . -type f -exec sha256sum {} + | sort -k 2`)
}

// upgrade installs a newer package while both roles serve: the cache keeps what is in
// it, the sidecar is the new one, and nobody's files change.
func (s *served) upgrade(t *testing.T) {
	newer := lab.Package(t, "1.3.0")
	if got := s.ask("SET", "before the upgrade", "kept"); got != "OK" {
		t.Fatal(got)
	}
	before := map[*lab.Machine]string{s.cache: s.files(s.cache), s.web: s.files(s.web)}
	gateway, sidecar := s.property(s.cache, "redoubt-gateway", "MainPID"), s.property(s.web, "redoubt-sidecar", "MainPID")
	if out := s.install(s.cache, newer); !strings.Contains(out, "systemctl restart redoubt-gateway") {
		t.Errorf("nobody is told that the gateway is the old one:\n%s", out)
	}
	s.install(s.web, newer)
	if got := s.property(s.cache, "redoubt-gateway", "MainPID"); got != gateway {
		t.Error("the gateway was restarted: what was cached is gone")
	}
	if got := s.property(s.web, "redoubt-sidecar", "MainPID"); got == sidecar {
		t.Error("the sidecar still is the old one")
	}
	s.until("the sidecar serves again", func() bool { return s.ask("GET", "before the upgrade") == "kept" })
	for m, was := range before {
		if now := s.files(m); now != was {
			t.Error(differences(was, now))
		}
		if got := s.on(m, "dpkg-query --show --showformat '${Version} ${Status}' redoubt"); got != "1.3.0 install ok installed" {
			t.Error(got)
		}
	}
	s.on(s.cache, "systemctl restart redoubt-gateway")
	s.until("the new gateway serves", func() bool { return s.ask("SET", "after", "1") == "OK" })
}

// remove takes the package away: not from a host that needs it for its packet filter,
// and never with what nobody could make again.
func (s *served) remove(t *testing.T) {
	if out, code := lab.Run(t, s.cache.Command("dpkg", "--remove", "redoubt")); code == 0 || !strings.Contains(out, "redoubt host undo") {
		t.Errorf("a host that is locked down loses its program: %d\n%s", code, out)
	}
	s.on(s.cache, "redoubt host undo && systemctl start redoubt-gateway")
	before := s.files(s.cache)
	s.on(s.cache, "dpkg --remove redoubt")
	for _, gone := range []string{"test ! -e /usr/bin/redoubt", "test ! -e /usr/lib/systemd/system/redoubt-gateway.service", "! systemctl --quiet is-active redoubt-gateway", "! pgrep redis-server", "! systemctl is-enabled redoubt-gateway"} {
		s.on(s.cache, gone)
	}
	s.on(s.cache, "dpkg --purge redoubt")
	if now := s.files(s.cache); now != before {
		t.Error(differences(before, now))
	}
	s.install(s.cache, lab.Package(t, packageVersion))
	s.on(s.cache, "systemctl start redoubt-gateway")
	s.on(s.cache, "systemctl stop redoubt-gateway && rm -r /etc/redoubt/* && dpkg --purge redoubt && test ! -e /etc/redoubt")
}
