package dossier

// A Proposal is what the proposed rule would ask for (90 FR 898, 6 January 2025, RIN
// 0945-AA22), beside what there is.
type Proposal struct {
	Asks string
	Said
	Rest string
}

var proposed = []struct {
	asks string
	here Statement
	rest string
}{
	{"Encryption of ePHI in transit", Statement{"Traffic between hosts is encrypted.", []string{"RD-301", "RD-302", "RD-303", "RD-212"}}, ""},
	{"Encryption of ePHI at rest", Statement{"Nothing is stored, and hosts' disks are encrypted.", []string{"RD-401", "RD-405", "RD-441", "RD-447"}}, "Memory is not encrypted by the cache: where the processor can (SEV, TDX, TME), that is the hosting's; an exception is the organisation's to document."},
	{"Multi-factor authentication", Statement{"ssh takes keys, and no passwords.", []string{"RD-121"}}, "A key alone is one factor: a second one for administrators is the organisation's, at the bastion."},
	{"Network segmentation", Statement{"Packet filters let application hosts alone reach the cache.", []string{"RD-120", "RD-132", "RD-133", "RD-140", "RD-142"}}, "Segmentation around it is the organisation's."},
	{"Vulnerability scan, at least every 6 months", Statement{"The engine has the fixes of the flaws that redoubt knows of.", []string{"RD-512"}}, "A scanner over all hosts is the organisation's."},
	{"Penetration test by a qualified person, at least every 12 months", Statement{"The sandbox and the door were attacked by the product itself.", []string{"RD-201", "RD-202", "RD-418"}}, "That is no such test: it is the organisation's to have one made."},
	{"Inventory of technology and a network map, at least every 12 months", Statement{"Section 1 lists the hosts of the cache and draws the way of the data, from deployment.yaml and the CA's record.", nil}, "Of everything else it is the organisation's."},
	{"Restoration of critical systems within 72 hours, with their order", Statement{"The cache begins empty, and applications fill it.", nil}, "The order and its rehearsal are the organisation's."},
	{"Notice within 24 hours when a workforce member's access ends, and when a contingency plan is activated", Statement{"A host can be shut out at once.", []string{"RD-204"}}, "The notices are the organisation's, and its business associates'."},
	{"Patches within 15 days (critical) and 30 days (high)", Statement{"Security updates install themselves.", []string{"RD-126"}}, "That they did within those days is the organisation's to follow; the engine restarts when somebody restarts it."},
	{"Removal of software and closing of ports that aren't needed; anti-malware", Statement{"Roles listen where they are configured to, ssh at its one port, and no other Redis answers.", []string{"RD-101", "RD-102", "RD-131", "RD-142"}}, "What else runs on the hosts, and anti-malware, are the organisation's."},
	{"Written verification by business associates, at least every 12 months", Statement{"Nothing of it is the cache's.", nil}, "The organisation's."},
	{"Compliance audit, at least every 12 months", Statement{"This document and its evidence are a part of it.", nil}, "The organisation's."},
}

// Proposed is the table of the proposed rule.
func (d *Dossier) Proposed() (list []Proposal) {
	for _, p := range proposed {
		list = append(list, Proposal{p.asks, d.say(p.here), p.rest})
	}
	return list
}
