package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestAResolverThatIsForbiddenIsNamed: a cloud's resolver is where the unit lets nothing
// out. The packet filter forbids it here, by the same error of the kernel's.
func TestAResolverThatIsForbiddenIsNamed(t *testing.T) {
	s := newSite(t)
	ns, code := lab.Run(t, s.web.Command("ip", "netns", "identify"))
	if code != 0 {
		t.Fatal(ns)
	}
	// ip netns exec mounts it over the machine's (ip-netns(8)).
	etc := filepath.Join("/etc/netns", strings.TrimSpace(ns))
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(etc) })
	if err := os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("nameserver 169.254.169.254\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, rule := range [][]string{
		{"ip", "route", "add", "169.254.0.0/16", "dev", "eth0"},
		{"nft", "add table ip t; add chain ip t out { type filter hook output priority 0; }; add rule ip t out ip daddr 169.254.0.0/16 drop"},
	} {
		lab.Sure(t, s.web.Command(rule...))
	}
	file := s.path("web-1", "sidecar.yaml")
	s.write("sidecar.yaml", s.path("web-1"), strings.Replace(read(t, file), "address: 10.77.0.2:", "address: cache-1.internal:", 1))
	sidecar := s.sidecar(s.web)
	url := strings.TrimPrefix(strings.TrimSpace(read(t, s.path("secret", "app.env"))), "REDIS_URL=")
	lab.Run(t, s.web.Command("redis-cli", "--no-auth-warning", "-u", url, "PING"))
	within(t, time.Minute, "the log to name it", func() bool {
		out := sidecar.Output()
		return strings.Contains(out, "IPAddressDeny=link-local") && strings.Contains(out, "docs/systemd.md")
	})
}
