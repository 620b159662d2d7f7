package verify

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var askForSSH = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(a)(2)(i)", "45 CFR 164.312(d)", "NIST SP 800-53r5 AC-17", "NIST SP 800-53r5 IA-2"}

const sshMend = "(redoubt render ssh prints all of it) in a file of /etc/ssh/sshd_config.d whose name comes first (the first value counts), then sshd -t && systemctl reload ssh. Where a Match, an earlier file or sshd's own argument takes it back, the finding names it: take that away."

// sshRule makes a check of some of sshd's keywords, for whoever comes from wherever.
func sshRule(id, title, why string, keywords ...string) Check {
	want := host.SSHWanted()
	var lines []string
	for _, keyword := range keywords {
		lines = append(lines, keyword+" "+want[strings.ToLower(keyword)])
	}
	slices.Sort(lines)
	return Check{
		ID: id, Goal: evidence.Environment, From: OnBoth, OfHost: true, Title: title, Why: why,
		Mend:       "Set " + strings.Join(lines, ", ") + " " + sshMend,
		References: askForSSH, Needs: []Need{needRoot},
		Run: func(ctx context.Context, t *Target, n *Notes) Finding {
			return judgeSSH(ctx, t, n, keywords...)
		},
	}
}

// askSSH asks this host's ssh servers once in a run.
func (t *Target) askSSH(ctx context.Context) (*host.SSH, error) {
	return t.ssh.get(func() (*host.SSH, error) {
		var bastions []netip.Prefix
		if t.Hosts != nil {
			for _, b := range t.Hosts.Bastions {
				bastions = append(bastions, b.Prefix)
			}
		}
		return host.AskSSH(ctx, bastions)
	})
}

// judgeSSH judges keywords of what sshd says it would do for everybody who could come.
func judgeSSH(ctx context.Context, t *Target, n *Notes, keywords ...string) Finding {
	ssh, err := t.askSSH(ctx)
	if errors.Is(err, host.ErrNoSSHD) {
		n.Saw("%v", err)
		return n.Pass("this host has no ssh server")
	}
	if err != nil {
		return n.Skip("%v", err)
	}
	var allowed []string
	if t.Hosts != nil {
		allowed = t.Hosts.SSHForwards
	}
	if len(allowed) > 0 {
		n.Saw("ssh_forwards in deployment.yaml asks for %s", strings.Join(allowed, ", "))
	}
	for _, line := range ssh.Asked {
		n.Saw("asked about %s", line)
	}
	wrong := ""
	faults := ssh.Faults(allowed...)
	for _, keyword := range keywords {
		values := map[string]int{}
		for _, a := range ssh.Answers {
			values[a.Settings[strings.ToLower(keyword)]]++
		}
		for _, value := range slices.Sorted(maps.Keys(values)) {
			n.Saw("%s %s: for %d of %d connections", keyword, value, values[value], len(ssh.Answers))
		}
		for _, fault := range faults {
			if fault.Keyword != strings.ToLower(keyword) {
				continue
			}
			n.Saw("%s; and for %d others", fault, fault.Others)
			if wrong == "" {
				wrong = fault.String()
			}
		}
	}
	for _, left := range ssh.Unasked {
		n.Saw("not asked: %s", left)
	}
	switch {
	case wrong != "":
		return n.Fail("%s", wrong)
	case len(ssh.Unasked) > 0:
		return n.Skip("nothing was found, but not all could be asked: %s", ssh.Unasked[0])
	}
	return n.Pass("for each of %d connections that sshd tells apart, or an account or address stands for", len(ssh.Answers))
}

var (
	sshTakesKeysOnly = sshRule("RD-121", "ssh takes keys only, no passwords",
		"Passwords are guessed, shared and typed into the wrong window; a key is a person's.",
		"PasswordAuthentication", "KbdInteractiveAuthentication", "PermitEmptyPasswords", "PubkeyAuthentication")

	sshLetsNoRootIn = sshRule("RD-122", "ssh lets nobody in as root",
		"Who acted as root can't be told afterwards: people log in as themselves.",
		"PermitRootLogin")

	sshForwardsNothing = sshRule("RD-123", "ssh forwards no ports, no agents, no X11, no tunnels, but for what deployment.yaml asks for",
		"A forwarded port is a way past the packet filter, straight to the cache's loopback or unix sockets.",
		"AllowTcpForwarding", "AllowStreamLocalForwarding", "AllowAgentForwarding", "X11Forwarding", "PermitTunnel", "GatewayPorts")

	sshIsModern = Check{
		ID: "RD-124", Goal: evidence.Environment, From: OnBoth, OfHost: true,
		Title:      "ssh offers no broken algorithms",
		Why:        "CBC, RC4, 3DES, MD5 and SHA-1 have known attacks; what isn't offered can't be chosen.",
		Mend:       "Leave the broken ones out of Ciphers, MACs, KexAlgorithms and HostKeyAlgorithms " + sshMend,
		References: append([]string{"NIST SP 800-53r5 SC-13"}, askForSSH...),
		Needs:      []Need{needRoot},
		Run: func(ctx context.Context, t *Target, n *Notes) Finding {
			return judgeSSH(ctx, t, n, host.SSHAlgorithms...)
		},
	}
)
