package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/lockdown"
)

var filterIsInForce = Check{
	ID: "RD-120", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "The packet filter in force is the one that the deployment's hosts make",
	Why:        "It lets application hosts reach the cache, bastions reach ssh, and nobody else; a rule that was changed by hand is in no document.",
	Mend:       "Load it anew: redoubt render nftables --deployment FILE --host NAME > /etc/redoubt/redoubt.nft, then nft -f /etc/redoubt/redoubt.nft.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 AC-4", "NIST SP 800-53r5 CM-6"},
	Needs:      []Need{needRoot},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		if t.Filter == nil {
			return n.Skip(noHosts)
		}
		if elsewhere := t.inAnotherNetwork(n); elsewhere != "" {
			return n.Fail("%s", elsewhere)
		}
		have, want, err := t.Filter.ReadBack(ctx)
		if errors.Is(err, firewall.ErrNoTable) {
			n.Saw("nft list table inet redoubt: %v", err)
			return n.Fail("%v", err)
		}
		if err != nil {
			return n.Skip("%v", err)
		}
		for _, line := range have {
			n.Saw("%s", line)
		}
		for _, line := range want {
			if !slices.Contains(have, line) {
				return n.Fail("a rule is missing: %s", line)
			}
		}
		for _, line := range have {
			if !slices.Contains(want, line) {
				return n.Fail("there is a rule that nobody made: %s", line)
			}
		}
		if !slices.Equal(have, want) {
			return n.Fail("the rules stand in another order")
		}
		return n.Pass("line by line: %d", len(have))
	},
}

// inAnotherNetwork says which of the roles isn't behind the packet filter that is seen
// from here, since its network namespace is another one, as a container's is.
func (t *Target) inAnotherNetwork(n *Notes) string {
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err.Error()
	}
	n.Saw("this verification is in %s", here)
	for _, p := range t.roles() {
		there, err := os.Readlink(p.path("ns", "net"))
		if err != nil {
			return fmt.Sprintf("the network namespace of the %s (process %d) can't be told: %v", p.name, p.pid, err)
		}
		n.Saw("%s, process %d: %s", p.name, p.pid, there)
		if there != here {
			return fmt.Sprintf("the %s (process %d) is in another network namespace, as in a container: this host's packet filter isn't before it", p.name, p.pid)
		}
	}
	return ""
}

var nothingIsDisguised = Check{
	ID: "RD-133", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "No other packet filter, and no program on an interface, makes what arrives look like something else",
	Why:        "The packet filter goes by where a packet comes from. Another table that gives it another source, says that it belongs to a connection, or has it come in again by another interface (fwd, dup: what comes from lo is the host's own) lets in whom ours would not; a program on an interface (XDP, tc), or one that chooses sockets (sk_lookup), can do anything with it. What merely goes elsewhere (dnat, redirect, notrack, flow tables) is named: ours looks at it afterwards.",
	Mend:       "Look at what is named (nft list ruleset; ip link; tc filter show dev NAME ingress; bpftool net; bpftool link), find out who put it there, and take it away. Where it must be, as Cilium's programs, an exception says who answers for it.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		others, err := firewall.Others(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		programs, err := host.PacketPrograms(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		var wrong []string
		for _, o := range others {
			n.Saw("%s: %s", o.Where, o.Rule)
			if o.Disguises {
				wrong = append(wrong, o.Where+": "+o.Rule)
			}
		}
		for _, program := range programs {
			n.Saw("%s", program)
			wrong = append(wrong, program)
		}
		n.Saw("rules of others that change what arrives: %d; programs on interfaces: %d", len(others), len(programs))
		if len(wrong) > 0 {
			return n.Fail("%s", wrong[0])
		}
		if old := host.OldIptables(); len(old) > 0 {
			return n.Skip("nft doesn't show what the old iptables does (tables: %s); iptables-legacy-save does", strings.Join(old, ", "))
		}
		return n.Pass("none; rules of others that send what arrives elsewhere: %d", len(others))
	},
}

var loopbackIsOurs = Check{
	ID: "RD-130", Goal: evidence.Environment, From: OnBoth, OfHost: true, Cheap: true,
	Title:      "No interface takes packets from outside that are for the loopback (route_localnet)",
	Why:        "Applications speak to the sidecar at 127.0.0.1, in the clear. The kernel keeps neighbours away from there, unless route_localnet is set; then only the packet filter does.",
	Mend:       "Find out what sets it (kube-proxy does for node ports, unless it has --iptables-localhost-nodeports=false), and then: sysctl net.ipv4.conf.all.route_localnet=0, and the same for the interface. Where it must be set, an exception says so; the packet filter drops what comes.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 CM-6"},
	Run: func(_ context.Context, _ *Target, n *Notes) Finding {
		open, looked, err := host.LoopbackFromOutside()
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("interfaces: %d; route_localnet is set for: %v", looked, open)
		if len(open) > 0 {
			return n.Fail("route_localnet is set for %s", open[0])
		}
		return n.Pass("for none of %d interfaces", looked)
	},
}

var sshIsWhereTheFilterLooks = Check{
	ID: "RD-131", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "ssh is served at the port that the packet filter guards, and at no other",
	Why:        "At any other port an application host's ssh is open to everybody, whatever the filter says of bastions; and bastions reach nothing at the one that is opened for them.",
	Mend:       "Make ssh_port in deployment.yaml and sshd's one: Port in /etc/ssh/sshd_config, or, where systemd listens for it, ListenStream= (systemctl edit ssh.socket). Then redoubt host apply.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 AC-17", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot, needHosts},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		elsewhere, all, err := host.SSHElsewhere(ctx, t.Hosts.SSHPort)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("listeners of ssh: %d; deployment.yaml has ssh_port %d", len(all), t.Hosts.SSHPort)
		for _, l := range all {
			n.Saw("%s", l)
		}
		if len(elsewhere) > 0 {
			return n.Fail("ssh is served at %s, not at port %d", elsewhere[0], t.Hosts.SSHPort)
		}
		return n.Pass("at port %d alone", t.Hosts.SSHPort)
	},
}

var filterIsKept = Check{
	ID: "RD-132", Goal: evidence.Environment, From: OnBoth, OfHost: true, Cheap: true,
	Title:      "The packet filter that redoubt host apply gave this host is in force, and is loaded again when something takes it away",
	Why:        "nftables.service empties the whole ruleset when it is started, reloaded or stopped, and so does a person with nft flush ruleset: the host would be open, and nothing would look different.",
	Mend:       "systemctl status redoubt-host redoubt-filter says what is wrong; redoubt host plan shows it, redoubt host apply makes it so.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 CM-6"},
	Run: func(_ context.Context, _ *Target, n *Notes) Finding {
		k, err := lockdown.LookKept()
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("looked at %s ago; loaded again since the host's start: %d times", k.Ago.Round(time.Millisecond), k.Again)
		if !k.InForce {
			return n.Fail("%s", k.Fault)
		}
		return n.Pass("in force; loaded again %d times", k.Again)
	},
}
