package firewall

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func rules() map[string]Rules {
	p := netip.MustParsePrefix
	ssh := Rules{Deployment: "clinic", SSH: 22, Bastions: []netip.Prefix{p("10.77.0.9/32"), p("fd77::9/128")}}
	cache, app, odd := ssh, ssh, ssh
	cache.Host, cache.Cache, cache.EngineUID = "cache-1", 6379, 997
	cache.Clients = []netip.Prefix{p("10.77.0.3/32"), p("10.77.1.0/24"), p("fd77::/64")}
	app.Host = "web-1"
	// Sources that overlap and repeat, and none of a family.
	odd.Host, odd.Cache, odd.SSH = "odd", 16379, 2222
	odd.Clients = []netip.Prefix{p("10.0.0.0/8"), p("10.77.0.3/32"), p("10.77.0.3/32"), p("10.0.0.0/8")}
	odd.Bastions = odd.Clients[1:2]
	return map[string]Rules{"cache": cache, "app": app, "odd": odd}
}

// texts are what is printed for all of them.
func texts() map[string]string {
	all := map[string]string{}
	for name, r := range rules() {
		all[name], all[name+"-closed"] = r.Nftables(), r.Closed()
	}
	return all
}

func TestNftables(t *testing.T) {
	for name, got := range texts() {
		golden := "testdata/" + name + ".nft"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s differs (%v): look at the difference, then run go test ./internal/firewall -update\n%s", golden, err, got)
		}
	}
}

// TestNftTakesIt: the real one, in a network namespace, twice, beside another's
// table that must not change.
func TestNftTakesIt(t *testing.T) {
	const others = "table ip other { chain c { type filter hook input priority 0; policy accept; tcp dport 1 drop; }; }\n"
	for name, text := range texts() {
		script := "set -e\nnft -f - <<'EOF'\n" + others + "EOF\n" + strings.Repeat("nft -f - <<'EOF'\n"+text+"EOF\n", 2) + "nft list ruleset\n"
		out, err := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		for _, want := range []string{"table ip other", "tcp dport 1 drop", "table inet redoubt"} {
			if strings.Count(string(out), want) != 1 {
				t.Errorf("%s: %q is not there once:\n%s", name, want, out)
			}
		}
	}
}
