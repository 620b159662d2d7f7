package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/lockdown"
)

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
					if t.forwards(keyword) {
						n.Saw("%s is asked for: ssh_forwards in deployment.yaml", keyword)
						continue
					}
					if !slices.Contains(values, settings[keyword]) {
						return fmt.Sprintf("%s is %q for %s", keyword, settings[keyword], who)
					}
				}
				return ""
			})
		},
	}
}

// forwards says whether deployment.yaml wants sshd's keyword open.
func (t *Target) forwards(keyword string) bool {
	return t.Hosts != nil && slices.ContainsFunc(t.Hosts.SSHForwards, func(name string) bool {
		return strings.EqualFold(host.Forwards[name], keyword)
	})
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

	sshForwardsNothing = sshRule("RD-123", "ssh forwards no ports, no agents, no X11, no tunnels, but for what deployment.yaml asks for",
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

var rootIsAlone = Check{
	ID: "RD-125", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "Only root is root, and no account opens without a password",
	Why:        "A second name for root, or an account that anybody opens, is a way in that no list of people has. Who may become root is told besides, for whoever reviews it.",
	Mend:       "Give the other user id 0 an id of its own, or remove it (userdel); lock an account without a password (passwd -l NAME). Who may become root stands in /etc/sudoers, /etc/sudoers.d and the groups that they name.",
	References: []string{"45 CFR 164.312(a)(2)(i)", "45 CFR 164.308(a)(4)", "NIST SP 800-53r5 AC-6", "NIST SP 800-53r5 IA-5"},
	Needs:      []Need{needRoot},
	Run: func(_ context.Context, _ *Target, n *Notes) Finding {
		accounts, err := host.Accounts()
		if err != nil {
			return n.Skip("%v", err)
		}
		members, rules, err := host.Sudo()
		if err != nil {
			return n.Skip("%v", err)
		}
		login, wrong := 0, ""
		for _, a := range accounts {
			if a.Login() {
				login++
				n.Saw("%s, uid %s, logs in to %s", a.Name, a.UID, a.Shell)
			}
			switch {
			case a.UID == "0" && a.Name != "root":
				wrong = fmt.Sprintf("%s has user id 0 too", a.Name)
			case a.Open:
				wrong = fmt.Sprintf("%s has no password", a.Name)
			}
		}
		for _, line := range members {
			n.Saw("group %s", line)
		}
		for _, line := range rules {
			n.Saw("%s", line)
		}
		if wrong != "" {
			return n.Fail("%s", wrong)
		}
		return n.Pass("accounts that log in: %d; groups and rules of sudo: %d", login, len(members)+len(rules))
	},
}

var updatesThemselves = Check{
	ID: "RD-126", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "Security updates install themselves",
	Why:        "A flaw in kernel, sshd or the engine is used within days of its being known; whoever waits for a person to think of it is late.",
	Mend:       "apt install unattended-upgrades && dpkg-reconfigure unattended-upgrades. Where images are replaced instead of updated, an exception says so.",
	References: []string{"45 CFR 164.308(a)(1)(ii)(B)", "NIST SP 800-53r5 SI-2"},
	Run: func(ctx context.Context, _ *Target, n *Notes) Finding {
		yes, why, err := host.UpdatesThemselves(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("%s", why)
		if !yes {
			return n.Fail("%s", why)
		}
		return n.Pass("%s", why)
	},
}

var hostIsAsApplied = Check{
	ID: "RD-127", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "The host is as redoubt host made it, and that was confirmed",
	Why:        "What was put back by hand, by an update or by a deadline that nobody met is in no record.",
	Mend:       "redoubt host plan shows what is otherwise, redoubt host apply makes it so, redoubt host confirm lets it stay.",
	References: []string{"45 CFR 164.308(a)(8)", "NIST SP 800-53r5 CM-6"},
	Needs:      []Need{needRoot},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		if t.Filter == nil {
			return n.Skip(noHosts)
		}
		state, err := lockdown.Known()
		if err != nil {
			return n.Fail("%v", err)
		}
		if !state.Applied {
			return n.Skip("redoubt host apply was never used here: who set the host up otherwise goes by the other checks")
		}
		plan, err := lockdown.Look(ctx, lockdown.Want{Rules: *t.Filter, Program: state.Program, Without: state.Without, Forwards: t.Hosts.SSHForwards})
		if err != nil {
			return n.Skip("%v", err)
		}
		n.Saw("applied as %s, left out: %v; finished: %v, waits to be confirmed: %v, otherwise now: %d", state.Host, state.Without, !state.Unfinished, !state.Until.IsZero(), len(plan.Changes))
		for _, change := range plan.Changes {
			n.Saw("%s: %s is otherwise", change.Part, change.What)
		}
		switch {
		case state.Unfinished:
			return n.Fail("an apply didn't get to its end")
		case !state.Until.IsZero():
			return n.Fail("packet filter and sshd go back unless it is confirmed")
		case len(plan.Changes) > 0:
			return n.Fail("%s is otherwise", plan.Changes[0].What)
		}
		return n.Pass("applied, confirmed, and still so")
	},
}
