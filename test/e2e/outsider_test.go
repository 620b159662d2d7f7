package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// listen has something take connections on an address of a host, until it is stopped.
func (g *guarded) listen(host, address, port string) *lab.Process {
	const accept = `
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, backlog=64)
print("listening", flush=True)
while True:
    s.accept()[0].close()
`
	return lab.Start(g.t, g.hosts[host].Command("/usr/bin/python3", "-u", "-c", accept, address, port), "listening")
}

// TestAnOutsiderProvesNothingBySilence: it passes only if it has visited every address
// that the hosts have, something listens there, and another port answers it.
func TestAnOutsiderProvesNothingBySilence(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	s := siteOn(t, g.net, g.hosts["cache-1"], g.hosts["web-1"], "")
	s.write("deployment.yaml", filepath.Dir(g.deployment), `deployment: clinic
gateways: [{name: cache-1, address: [10.77.0.2, "fd77::2"], port: 6379}]
apps: [{name: web-1, address: [10.77.0.3, "fd77::3"]}]
bastions: [10.77.0.9, "fd77::9"]
`)
	for _, host := range []string{"cache-1", "web-1"} {
		g.guard(host)
	}
	s.ownSockets()
	s.gateway()
	s.sidecar(s.web)
	sshd := g.listen("cache-1", "0.0.0.0", "22") // as far as who is outside can tell
	g.listen("web-1", "0.0.0.0", "22")
	g.listen("bastion", "10.77.0.9", "6379")

	reports := t.TempDir()
	tell := func(host, config string) {
		t.Helper()
		text, err := g.look(t, host, "--config", config).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(reports, host+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cache, web := s.path("cache-1", "gateway.yaml"), s.path("web-1", "sidecar.yaml")
	const control = "10.77.0.9:6379"
	type visit struct {
		what             string
		cache, ssh, rest evidence.Outcome
		detail           string
		args             []string
	}
	// Each waits for what doesn't answer.
	wants := func(visits ...visit) {
		t.Helper()
		t.Run("visits", func(t *testing.T) {
			for _, v := range visits {
				t.Run(v.what, func(t *testing.T) {
					t.Parallel()
					r := g.look(t, "outsider", append([]string{"--outside"}, v.args...)...)
					told := false
					for id, want := range map[string]evidence.Outcome{"RD-140": v.cache, "RD-141": v.ssh, "RD-142": v.rest} {
						c := resultOf(t, r, id)
						if c.Outcome != want {
							t.Errorf("%s %s: %s, want %s\n%s", id, c.Outcome, c.Detail, want, c.Evidence)
						}
						told = told || strings.Contains(c.Detail, v.detail)
					}
					if !told {
						t.Errorf("nothing says %q", v.detail)
					}
				})
			}
		})
	}
	const pass, fail, skip = evidence.Pass, evidence.Fail, evidence.Skip
	tell("cache-1", cache)
	tell("web-1", web)
	wants(
		visit{"all is told, and something answers", pass, pass, pass, "the control answers", []string{"--evidence", reports, "--control", control}},
		visit{"nobody looks who signed", pass, pass, pass, "not authenticated", []string{"--evidence", reports, "--control", control}},
		visit{"who signed is looked at", pass, pass, pass, "while the control answers", []string{"--evidence", reports, "--control", control, "--ca", s.path("ca", "ca.crt")}},
		visit{"nothing is told", skip, skip, skip, "which other addresses cache-1 has", []string{"--control", control}},
		visit{"nothing answers", skip, skip, skip, "silence proves nothing", []string{"--evidence", reports}},
		visit{"what should answer doesn't", skip, skip, skip, "doesn't answer either", []string{"--evidence", reports, "--control", "10.77.0.9:6380"}},
	)
	g.refusesForged(filepath.Join(reports, "cache-1.json"), "--evidence", reports, "--control", control, "--ca", s.path("ca", "ca.crt"))

	sshd.Stop()
	tell("cache-1", cache)
	wants(
		visit{"sshd is down", pass, skip, pass, "nothing listens on port 22", []string{"--evidence", reports, "--control", control}},
	)

	g.listen("cache-1", "0.0.0.0", "22")
	g.hosts["cache-1"].Also("10.77.0.7/16")
	if out, code := lab.Run(t, g.hosts["cache-1"].Command("nft", "insert", "rule", "inet", "redoubt", "inbound", "ip", "daddr", "10.77.0.7", "accept")); code != 0 {
		t.Fatal(out)
	}
	g.listen("cache-1", "10.77.0.7", "6379")
	tell("cache-1", cache)
	wants(
		visit{"an address that isn't written down answers", fail, fail, pass, "10.77.0.7:6379 can be reached", []string{"--evidence", reports, "--control", control}},
	)
}

// refusesForged: an outsider who has the CA's certificate takes no report that somebody
// edited: here one by which a host has an address less.
func (g *guarded) refusesForged(path string, args ...string) {
	g.t.Helper()
	good, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	r, err := evidence.Decode(good)
	if err != nil || len(r.Network.Addresses) == 0 {
		g.t.Fatal(r, err)
	}
	r.Network.Addresses = r.Network.Addresses[1:]
	forged, err := r.Encode()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, forged, 0o600); err != nil {
		g.t.Fatal(err)
	}
	cmd := g.hosts["outsider"].Command(append([]string{lab.Redoubt(g.t), "verify", "--outside", "--deployment", g.deployment}, args...)...)
	if out, code := lab.Run(g.t, cmd); code != 2 || !strings.Contains(out, filepath.Base(path)+": its signature isn't good") {
		g.t.Errorf("a forged report: exit code %d\n%s", code, out)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		g.t.Fatal(err)
	}
}
