package verify

import (
	"context"
	"slices"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
	"github.com/redoubt-cache/redoubt/internal/lockdown"
)

var rootIsAlone = Check{
	ID: "RD-125", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "Only root is root, and no account opens without a password",
	Why:        "A second name for root, or an account that anybody opens, is a way in that no list of people has. Who may become root is told besides, for whoever reviews it.",
	Mend:       "Give the other user id 0 an id of its own, or remove it (userdel); write ids as plain numbers; take people out of root's group (gpasswd -d NAME root); lock an account without a password (passwd -l NAME); chmod 644 /etc/passwd /etc/group, chmod 640 /etc/shadow /etc/gshadow (setfacl -b takes an access list away). Who may become root stands in /etc/sudoers, /etc/sudoers.d and the groups that they name.",
	References: []string{"45 CFR 164.312(a)(2)(i)", "45 CFR 164.308(a)(4)", "NIST SP 800-53r5 AC-6", "NIST SP 800-53r5 IA-5"},
	Needs:      []Need{needRoot},
	Run: func(_ context.Context, _ *Target, n *Notes) Finding {
		accounts, err := host.Accounts()
		if err != nil {
			return n.Skip("%v", err)
		}
		groups, err := host.Groups()
		if err != nil {
			return n.Skip("%v", err)
		}
		members, rules, err := host.Sudo(accounts, groups)
		if err != nil {
			return n.Skip("%v", err)
		}
		open, err := host.OpenAccountFiles()
		if err != nil {
			return n.Skip("%v", err)
		}
		login := 0
		for _, a := range accounts {
			if a.Login() {
				login++
				n.Saw("%s, uid %s, logs in to %s", a.Name, a.UID, a.Shell)
			}
		}
		for _, line := range members {
			n.Saw("group %s", line)
		}
		for _, line := range rules {
			n.Saw("%s", line)
		}
		wrong := slices.Concat(host.AccountFaults(accounts, groups), open)
		for _, fault := range wrong {
			n.Saw("%s", fault)
		}
		if len(wrong) > 0 {
			return n.Fail("%s", wrong[0])
		}
		return n.Pass("accounts that log in: %d; groups and rules of sudo: %d", login, len(members)+len(rules))
	},
}

var updatesThemselves = Check{
	ID: "RD-126", Goal: evidence.Environment, From: OnBoth, OfHost: true,
	Title:      "Security updates install themselves",
	Why:        "A flaw in kernel, sshd or the engine is used within days of its being known; whoever waits for a person to think of it is late.",
	Mend:       "apt install unattended-upgrades && dpkg-reconfigure unattended-upgrades; systemctl unmask apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service && systemctl enable --now apt-daily.timer apt-daily-upgrade.timer; take what you run on out of Package-Blacklist, and a source of security updates into apt's sources and Origins-Pattern. Where images are replaced instead of updated, an exception says so.",
	References: []string{"45 CFR 164.308(a)(1)(ii)(B)", "NIST SP 800-53r5 SI-2"},
	Run: func(ctx context.Context, _ *Target, n *Notes) Finding {
		faults, seen, err := host.UpdatesThemselves(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		for _, line := range append(seen, faults...) {
			n.Saw("%s", line)
		}
		if len(faults) > 0 {
			return n.Fail("%s", faults[0])
		}
		return n.Pass("apt fetches them, and unattended-upgrades installs them")
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
		for _, fault := range plan.Against {
			n.Saw("ssh: %s", fault)
		}
		switch {
		case state.Unfinished:
			return n.Fail("an apply didn't get to its end")
		case !state.Until.IsZero():
			return n.Fail("packet filter and sshd go back unless it is confirmed")
		case len(plan.Changes) > 0:
			return n.Fail("%s is otherwise", plan.Changes[0].What)
		case len(plan.Against) > 0:
			return n.Fail("sshd does otherwise than the drop-in says: %s", plan.Against[0])
		}
		return n.Pass("applied, confirmed, and still so")
	},
}
