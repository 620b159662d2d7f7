package dossier

import "github.com/redoubt-cache/redoubt/internal/evidence"

// how each goal is met: sentences, each with the checks that carry it.
var how = map[evidence.Goal][]Statement{
	evidence.Environment: {
		{"Each cache host answers on the port that its configuration names, and its packet filter lets application hosts alone reach it.", []string{"RD-102", "RD-120", "RD-133", "RD-140", "RD-142"}},
		{"ssh answers bastions only, at the port that the packet filter guards.", []string{"RD-120", "RD-131", "RD-133", "RD-141"}},
		{"ssh takes keys, of people under their own names, forwards nothing that deployment.yaml doesn't ask for, and offers no broken algorithm.", []string{"RD-121", "RD-122", "RD-123", "RD-124", "RD-125"}},
		{"The engine itself has no network: it listens on a unix socket, in a network namespace of its own.", []string{"RD-101", "RD-413"}},
		{"Security updates install themselves, and each host is as redoubt host made it.", []string{"RD-126", "RD-127"}},
	},
	evidence.Access: {
		{"A host proves itself with a certificate of its own, of this deployment's CA and of the right role.", []string{"RD-201", "RD-202", "RD-205", "RD-209"}},
		{"A certificate opens nothing once it has ended, or seconds after it was revoked; who was let in and shut out is on record.", []string{"RD-203", "RD-204", "RD-602"}},
		{"The application proves itself with a password besides: the certificate alone opens nothing, nor does a wrong password.", []string{"RD-206", "RD-207", "RD-211", "RD-213"}},
		{"Keys and passwords are their owners' alone.", []string{"RD-208", "RD-214", "RD-404"}},
		{"The application never sees the certificate, and the cache host has only the digest of the password, which is random and of 256 bits.", nil},
	},
	evidence.InFlight: {
		{"Traffic between hosts is TLS 1.3 with a key exchange that a quantum computer doesn't break; nothing older is agreed on, and nothing is answered in the clear.", []string{"RD-301", "RD-302", "RD-303", "RD-305"}},
		{"Both ends show certificates, and the sidecar knows the gateway.", []string{"RD-201", "RD-210"}},
		{"No session is resumed, so that no look at a certificate is skipped.", []string{"RD-304"}},
		{"The application's own port, which is not encrypted, is on loopback alone, which nothing from outside reaches, and nobody captures its packets.", []string{"RD-130", "RD-212", "RD-406"}},
	},
	evidence.AtRest: {
		{"The engine keeps everything in memory: persistence is off, and a value that was written turned up in no file.", []string{"RD-401", "RD-405", "RD-501"}},
		{"The kernel refuses the engine every file, by system call filter and limits.", []string{"RD-411", "RD-415", "RD-416", "RD-417", "RD-418"}},
		{"The engine is a user of its own without rights.", []string{"RD-412"}},
		{"No core dump is made of the engine, the gateway or the sidecar, and hosts keep none.", []string{"RD-403", "RD-414", "RD-442", "RD-444"}},
		{"Memory reaches no disk through swap or hibernation.", []string{"RD-402", "RD-441", "RD-443"}},
		{"Hosts' disks are encrypted.", []string{"RD-447"}},
	},
	evidence.NoChange: {
		{"No client changes the engine's configuration: every user has an allow-list, and what isn't on it is refused, in scripts too.", []string{"RD-502", "RD-503", "RD-504", "RD-505", "RD-506"}},
		{"What runs is what the configuration says, and its code is root's.", []string{"RD-501", "RD-507", "RD-531"}},
		{"No module is loaded, and nothing is copied to or from another engine.", []string{"RD-510", "RD-511"}},
		{"The engine has the fixes of the vulnerabilities that redoubt knows of.", []string{"RD-512"}},
		{"The engine reads its configuration once, from a pipe; CONFIG and ACL have random names for everybody but its supervisor. A change is a new rendering and a restart.", nil},
	},
	evidence.Documented: {
		{"Risks that are accepted have an owner and an end that is ahead.", []string{"RD-601"}},
		{"What administrators did with the CA is on record, each command with who gave it and how it ended, in a log that shows when it was cut or changed, and is kept for six years.", []string{"RD-603"}},
		{"The CA's record is whole, hosts keep their logs, and their clocks are in step, so that records can be laid side by side.", []string{"RD-602", "RD-620", "RD-621"}},
		{"This dossier is generated from the deployment's files and from the reports of redoubt verify.", nil},
	},
}

// further are the statements of checks that no sentence above names: their own claims.
func further(g evidence.Goal, checks []Check) (list []Statement) {
	named := map[string]bool{}
	for _, s := range how[g] {
		for _, id := range s.Checks {
			named[id] = true
		}
	}
	for _, c := range checks {
		if !named[c.ID] {
			list = append(list, Statement{c.Title + ".", []string{c.ID}})
		}
	}
	return list
}

// travelled is what the safe harbour of 45 CFR 164.402 rests on, besides the module.
var travelled = Statement{"What travelled between hosts was encrypted, to the gateway that was meant.", []string{"RD-210", "RD-212", "RD-301", "RD-302", "RD-303", "RD-305"}}

// Breach is what this deployment can say of 45 CFR 164.402: whether what was taken was
// unsecured PHI.
func (d *Dossier) Breach() string {
	const rest = " What was in memory is neither at rest nor in motion, and counts as unsecured for whoever read it."
	said := d.say(travelled)
	outcome, detail := d.fips()
	switch {
	case said.Outcome != Holds:
		return said.Text + ": so what travelled must be taken for unsecured." + rest
	case outcome != Holds:
		return said.Text + " It was not shown that the module is a validated one (" + detail + "), which the guidance on 45 CFR 164.402 asks for: so take what travelled for unsecured, or decide with counsel." + rest
	}
	return said.Text + " The module was validated (" + detail + "): it counts as secured, unless the keys were taken with it." + rest
}
