package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
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

var askForSSH = []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(a)(2)(i)", "45 CFR 164.312(d)", "NIST SP 800-53r5 AC-17", "NIST SP 800-53r5 IA-2"}

const sshDropIn = "(redoubt render ssh prints all of it) in a file of /etc/ssh/sshd_config.d whose name comes first (the first value counts), then sshd -t && systemctl reload ssh; Match blocks must not take it back."

// sshRule makes a check of sshd's keywords, for whoever comes from wherever.
func sshRule(id, title, why string, want map[string][]string) Check {
	var lines []string
	for keyword, values := range want {
		lines = append(lines, keyword+" "+values[0])
	}
	slices.Sort(lines)
	return Check{
		ID: id, Goal: evidence.Environment, From: OnBoth, OfHost: true, Title: title, Why: why,
		Mend:       "Set " + strings.Join(lines, ", ") + " " + sshDropIn,
		References: askForSSH, Needs: []Need{needRoot},
		Run: func(ctx context.Context, t *Target, n *Notes) Finding {
			return everySSHConnection(ctx, t, n, func(who string, settings map[string]string) string {
				for keyword, values := range want {
					n.Saw("%s: %s %s", who, keyword, settings[keyword])
					if !slices.Contains(values, settings[keyword]) {
						return fmt.Sprintf("%s is %q for %s", keyword, settings[keyword], who)
					}
				}
				return ""
			})
		},
	}
}

// everySSHConnection asks sshd about root and an ordinary user, from a bastion and from
// elsewhere: Match blocks may tell them apart. wrong says what is.
func everySSHConnection(ctx context.Context, t *Target, n *Notes, wrong func(who string, settings map[string]string) string) Finding {
	sources := []string{"192.0.2.1"} // of nobody (RFC 5737)
	if t.Hosts != nil {
		for _, b := range t.Hosts.Bastions {
			sources = append(sources, b.Addr().String())
		}
	}
	for _, from := range sources {
		for _, user := range []string{"root", "someone"} {
			settings, err := host.SSHD(ctx, user, from)
			if errors.Is(err, host.ErrNoSSHD) {
				n.Saw("%v", err)
				return n.Pass("this host has no ssh server")
			}
			if err != nil {
				return n.Skip("%v", err)
			}
			if found := wrong(fmt.Sprintf("%s from %s", user, from), settings); found != "" {
				return n.Fail("%s", found)
			}
		}
	}
	return n.Pass("for root and others, from %s", strings.Join(sources, ", "))
}

var (
	no = []string{"no"}

	sshTakesKeysOnly = sshRule("RD-121", "ssh takes keys only, no passwords",
		"Passwords are guessed, shared and typed into the wrong window; a key is a person's.",
		map[string][]string{"passwordauthentication": no, "kbdinteractiveauthentication": no, "permitemptypasswords": no, "pubkeyauthentication": {"yes"}})

	sshLetsNoRootIn = sshRule("RD-122", "ssh lets nobody in as root",
		"Who acted as root can't be told afterwards: people log in as themselves.",
		map[string][]string{"permitrootlogin": no})

	sshForwardsNothing = sshRule("RD-123", "ssh forwards no ports, no agents, no X11, no tunnels",
		"A forwarded port is a way past the packet filter, straight to the cache's loopback or unix sockets.",
		map[string][]string{"allowtcpforwarding": no, "allowstreamlocalforwarding": no, "allowagentforwarding": no, "x11forwarding": no, "permittunnel": no, "gatewayports": no})

	sshIsModern = Check{
		ID: "RD-124", Goal: evidence.Environment, From: OnBoth, OfHost: true,
		Title:      "ssh offers no broken algorithms",
		Why:        "CBC, RC4, 3DES, MD5 and SHA-1 have known attacks; what isn't offered can't be chosen.",
		Mend:       "Leave the broken ones out of Ciphers, MACs, KexAlgorithms and HostKeyAlgorithms " + sshDropIn,
		References: append([]string{"NIST SP 800-53r5 SC-13"}, askForSSH...),
		Needs:      []Need{needRoot},
		Run: func(ctx context.Context, t *Target, n *Notes) Finding {
			return everySSHConnection(ctx, t, n, func(who string, settings map[string]string) string {
				for _, keyword := range []string{"ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"} {
					n.Saw("%s: %s %s", who, keyword, settings[keyword])
					for _, algorithm := range strings.Split(settings[keyword], ",") {
						if isBroken(algorithm) {
							return fmt.Sprintf("%s offers %s", keyword, algorithm)
						}
					}
				}
				return ""
			})
		},
	}
)

// isBroken knows algorithms that NIST SP 800-131A disallows, and OpenSSH's own authors
// have off by default or call weak. HMAC-SHA-1 is not among them: its weakness in
// signatures doesn't touch it.
func isBroken(algorithm string) bool {
	for _, part := range []string{"-cbc", "arcfour", "3des", "blowfish", "cast128", "hmac-md5", "umac-64", "diffie-hellman-group1-", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "ssh-dss", "none"} {
		if strings.Contains(algorithm, part) && !strings.HasPrefix(algorithm, "umac-64-etm") && algorithm != "umac-64@openssh.com" {
			return true
		}
	}
	return algorithm == "ssh-rsa" || strings.HasPrefix(algorithm, "ssh-rsa-cert-v01")
}
