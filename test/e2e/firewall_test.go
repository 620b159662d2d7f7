package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// listeners answers on every port of the matrix, over both families.
const listeners = `
import selectors, socket
ready = selectors.DefaultSelector()
for port in (22, 6379, 8080):
    s = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    ready.register(s, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
`

// reach tries all of it from one host and prints what it reached.
const reach = `
import concurrent.futures, json, socket, sys
def attempt(target):
    address, port = target
    try:
        socket.create_connection((address, port), timeout=0.7).close()
        return True
    except OSError:
        return False
targets = [(a, p) for a in sys.argv[1:] for p in (22, 6379, 8080)]
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps({f"{a} {p}": ok for (a, p), ok in zip(targets, pool.map(attempt, targets))}))
`

// guarded is a network with the hosts that goal 1 tells apart.
type guarded struct {
	t          *testing.T
	net        *lab.Network
	hosts      map[string]*lab.Host
	deployment string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, net: lab.NewNetwork(t), hosts: map[string]*lab.Host{}}
	for name, addresses := range map[string][2]string{
		"cache-1": {"10.77.0.2/16", "fd77::2/64"}, "web-1": {"10.77.0.3/16", "fd77::3/64"}, "worker": {"10.77.1.5/16", "fd77::1:5/64"},
		"bastion": {"10.77.0.9/16", "fd77::9/64"}, "outsider": {"10.77.0.66/16", "fd77::66/64"},
	} {
		g.hosts[name] = g.net.Host(name, addresses[0])
		g.hosts[name].Also(addresses[1])
	}
	dir := t.TempDir()
	g.deployment = dir + "/deployment.yaml"
	(&site{t: t}).write("deployment.yaml", dir, `deployment: clinic
gateways: [{name: cache-1, address: [10.77.0.2, "fd77::2"], port: 6379}]
apps: [{name: web-1, address: [10.77.0.3, "fd77::3"]}, {name: workers, network: [10.77.1.0/24, "fd77::1:0/112"]}]
bastions: [10.77.0.9, "fd77::9"]
engine_uid: 61234
`)
	return g
}

// guard loads a host's rules as its operator would.
func (g *guarded) guard(host string) {
	g.t.Helper()
	rules, code := lab.Run(g.t, exec.Command(lab.Redoubt(g.t), "render", "nftables", "--deployment", g.deployment, "--host", host))
	if code != 0 {
		g.t.Fatal(rules)
	}
	load := g.hosts[host].Command("nft", "-f", "-")
	load.Stdin = strings.NewReader(rules)
	if out, code := lab.Run(g.t, load); code != 0 {
		g.t.Fatalf("nft: %s\n%s", out, rules)
	}
}

// reached says what a host reaches of another, "4 22" for ssh over IPv4.
func (g *guarded) reached(from, to string) map[string]bool {
	addresses := map[string][]string{"cache-1": {"10.77.0.2", "fd77::2"}, "web-1": {"10.77.0.3", "fd77::3"}}[to]
	out, code := lab.Run(g.t, g.hosts[from].Command(append([]string{"/usr/bin/python3", "-c", reach}, addresses...)...))
	found, all := map[string]bool{}, map[string]bool{}
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil {
		g.t.Errorf("%v\n%s", err, out)
	}
	for target, ok := range all {
		address, port, _ := strings.Cut(target, " ")
		family := "4 "
		if strings.Contains(address, ":") {
			family = "6 "
		}
		if ok {
			found[family+port] = true
		}
	}
	return found
}

func ports(families string, list ...int) map[string]bool {
	all := map[string]bool{}
	for _, family := range families {
		for _, port := range list {
			all[fmt.Sprintf("%c %d", family, port)] = true
		}
	}
	return all
}

// TestTheFirewallLetsInWhoMustGetInAndNobodyElse is goal 1 as a matrix: each host
// tries each port of the cache host and of an application host, over IPv4 and
// IPv6. Before the rules are loaded everybody reaches everything: the control.
func TestTheFirewallLetsInWhoMustGetInAndNobodyElse(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	all := ports("46", 22, 6379, 8080)
	for _, host := range []string{"cache-1", "web-1"} {
		lab.Start(t, g.hosts[host].Command("/usr/bin/python3", "-u", "-c", listeners), "listening")
	}
	var checks sync.WaitGroup
	check := func(from, to string, want map[string]bool) {
		if got := g.reached(from, to); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s reaches of %s: %v, want %v", from, to, got, want)
		}
	}
	for _, from := range []string{"web-1", "worker", "bastion", "outsider"} {
		checks.Go(func() { check(from, "cache-1", all) })
	}
	check("outsider", "web-1", all)
	checks.Wait()

	g.guard("cache-1")
	g.guard("web-1")
	g.guard("cache-1") // a second time replaces, and changes nothing
	for from, want := range map[string]map[string]bool{
		"web-1": ports("46", 6379), "worker": ports("46", 6379), "bastion": ports("46", 22), "outsider": {}, "cache-1": all,
	} {
		checks.Go(func() { check(from, "cache-1", want) })
	}
	for from, want := range map[string]map[string]bool{
		"cache-1": ports("46", 6379, 8080), "bastion": all, "outsider": ports("46", 6379, 8080), "web-1": all,
	} {
		checks.Go(func() { check(from, "web-1", want) })
	}
	checks.Wait()
	t.Run("scans", func(t *testing.T) { g.scan(t) })
	t.Run("invented sources", func(t *testing.T) { g.spoof(t) })
	t.Run("the engine's user", func(t *testing.T) { g.speakAsTheEngine(t) })
}

// scan has nmap try the ways around a packet filter.
func (g *guarded) scan(t *testing.T) {
	scan := func(from, target string, how ...string) string {
		args := append([]string{"nmap", "-n", "-Pn", "-T5", "--max-retries", "1", "--reason", "-p", "22,6379,8080"}, how...)
		out, code := lab.Run(t, g.hosts[from].Command(append(args, target)...))
		if code != 0 {
			t.Error(out)
		}
		return out
	}
	var scans sync.WaitGroup
	for _, how := range [][]string{{"-sS"}, {"-sA"}, {"-sF"}, {"-sX"}, {"-sS", "-f"}, {"-sS", "--source-port", "22"}, {"-sS", "-6"}} {
		target := "10.77.0.2"
		if how[len(how)-1] == "-6" {
			target = "fd77::2"
		}
		scans.Go(func() {
			looked := 0
			for line := range strings.Lines(scan("outsider", target, how...)) {
				// With a FIN an open port is as silent as a filtered one; what must not
				// come is an answer of any kind.
				if strings.Contains(line, "/tcp") && !strings.Contains(line, "no-response") {
					t.Errorf("%v: %s", how, line)
				}
				if strings.Contains(line, "/tcp") {
					looked++
				}
			}
			if looked != 3 {
				t.Errorf("%v: %d ports were tried", how, looked)
			}
		})
	}
	if out := scan("bastion", "10.77.0.2", "-sS"); !strings.Contains(out, "syn-ack") {
		t.Errorf("the control finds nothing either:\n%s", out)
	}
	scans.Wait()
}

// spoof sends connection attempts with sources that can't be where they come
// from; the counter tells that they were dropped for that.
func (g *guarded) spoof(t *testing.T) {
	const send = `
import socket, struct, sys
def checksum(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    s = (s >> 16) + (s & 0xffff)
    return ~(s + (s >> 16)) & 0xffff
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for source in sys.argv[1:]:
    src, dst = socket.inet_aton(source), socket.inet_aton("10.77.0.2")
    tcp = struct.pack("!HHLLBBHHH", 40000, 6379, 1, 0, 5 << 4, 2, 1024, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(src + dst + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)) + tcp[18:]
    raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, src, dst) + tcp, ("10.77.0.2", 0))
`
	out, code := lab.Run(t, g.hosts["outsider"].Command("/usr/bin/python3", "-c", send, "192.0.2.7", "198.51.100.1", "10.78.0.3"))
	if code != 0 {
		t.Fatal(out)
	}
	rules, _ := lab.Run(t, g.hosts["cache-1"].Command("nft", "list", "chain", "inet", "redoubt", "arrivals"))
	if !strings.Contains(rules, "fib saddr . iif oif 0 counter packets 3 ") && !strings.Contains(rules, "missing counter packets 3 ") {
		t.Errorf("three invented sources, and the counters say:\n%s", rules)
	}
}

// speakAsTheEngine: whatever happens inside the engine, its user reaches nobody.
func (g *guarded) speakAsTheEngine(t *testing.T) {
	speak := func(uid string) string {
		out, _ := lab.Run(t, g.hosts["cache-1"].Command("setpriv", "--reuid", uid, "--clear-groups", "/usr/bin/python3", "-c", reach, "10.77.0.3", "fd77::3"))
		return out
	}
	if out := speak("61235"); !strings.Contains(out, "true") {
		t.Errorf("the control reaches nobody: %s", out)
	}
	if out := speak("61234"); strings.Contains(out, "true") || !strings.Contains(out, "false") {
		t.Errorf("the engine's user reaches %s", out)
	}
}

// TestTheWholeOfItBehindItsFirewall: cache and application as in production, and
// an outsider with everything that it could have stolen.
func TestTheWholeOfItBehindItsFirewall(t *testing.T) {
	g := newGuarded(t)
	g.guard("cache-1")
	g.guard("web-1")
	s := siteOn(t, g.net, g.hosts["cache-1"], g.hosts["web-1"], "")
	s.gateway()
	s.sidecar(s.web)
	if got := s.app("PING"); got != "PONG" {
		t.Fatal(got)
	}
}

// TestNothingFromOutsideReachesTheLoopback: on hosts whose kernel lets it
// (route_localnet, as kube-proxy sets it), a neighbour tries the port where an
// application speaks in the clear: at its own address, and at one that another table
// rewrites to it. IPv6 has no such setting, and no way in, with the filter or without.
func TestNothingFromOutsideReachesTheLoopback(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	on := func(host, script string) {
		t.Helper()
		if out, code := lab.Run(t, g.hosts[host].Command("sh", "-ec", script)); code != 0 {
			t.Fatalf("%s: %s: %s", host, script, out)
		}
	}
	for _, c := range []struct{ host, from, address, address6 string }{
		{"web-1", "outsider", "10.77.0.3", "fd77::3"},
		{"cache-1", "worker", "10.77.0.2", "fd77::2"}, // who may use the cache, at its address
	} {
		lab.Start(t, g.hosts[c.host].Command("/usr/bin/python3", "-u", "-c", onLoopback), "listening")
		on(c.host, `echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
nft 'table inet other { chain c { type nat hook prerouting priority dstnat; meta nfproto ipv4 tcp dport 8081 dnat ip to 127.0.0.1:6379; meta nfproto ipv6 tcp dport 8081 dnat ip6 to [::1]:6379; }; }'`)
		on(c.from, "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet; ip addr del 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via "+c.address)
		reached := func() string {
			out, _ := lab.Run(t, g.hosts[c.from].Command("/usr/bin/python3", "-c", attempt, "127.0.0.1", "6379", c.address, "8081", c.address6, "8081"))
			return out
		}
		if got, want := reached(), "127.0.0.1 6379\n"+c.address+" 8081\n"; got != want {
			t.Errorf("%s: the control reaches %q, want %q", c.host, got, want)
		}
		g.guard(c.host)
		if got := reached(); got != "" {
			t.Errorf("%s behind its filter is reached on its loopback: %s", c.host, got)
		}
		if out, _ := lab.Run(t, g.hosts[c.host].Command("/usr/bin/python3", "-c", attempt, "127.0.0.1", "6379", "::1", "6379")); strings.Count(out, "6379") != 2 {
			t.Errorf("%s doesn't reach its own loopback: %q", c.host, out)
		}
	}
}

const onLoopback = `
import selectors, socket
ready = selectors.DefaultSelector()
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    ready.register(socket.create_server((address, 6379), family=family), selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
`

// attempt prints the addresses and ports that it reaches.
const attempt = `
import socket, sys
for address, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        socket.create_connection((address, int(port)), timeout=0.7).close()
        print(address, port)
    except OSError:
        pass
`
