package dossier

// A Procedure is what people do, step by step, with the commands that do it.
type Procedure struct {
	Title, Text string
	Steps       []string
}

// procedures are the same for every deployment; docs/operations.md has them at length.
var procedures = []Procedure{
	{"Taking in a host", "A new application host gets an identity of its own; no key is copied.", []string{
		"Add the host to deployment.yaml, and load the cache hosts' packet filters anew: redoubt render nftables --deployment deployment.yaml --host NAME | nft -f -",
		"On the host with the CA: redoubt token create --dir CA --name HOST --gateway NAME=ADDRESS",
		"On the new host: redoubt join TOKEN, then start its sidecar, and give the application app.env.",
		"sudo redoubt verify on the new host; keep its report.",
	}},
	{"Changing the application's password", "At least once a year, and at once when somebody who knew it leaves.", []string{
		"redoubt secret rotate: both passwords are good for the time of the overlap.",
		"Give the applications the new app.env, and restart them as they usually are.",
		"redoubt secret retire ends the old one at once, else it ends by itself.",
	}},
	{"Renewing certificates and replacing the CA", "Hosts' certificates renew themselves; the CA's root is replaced before it ends, or when its key may have been seen.", []string{
		"redoubt status on each host shows how long its certificate is good for.",
		"redoubt pki rotate start, switch, finish: two roots are believed meanwhile, and no connection is lost.",
	}},
	{"Shutting a host out", "When a host is lost, sold, or behaves in a way that nobody can explain.", []string{
		"redoubt pki revoke --dir CA HOST: its connections end within a second.",
		"redoubt secret rotate, and retire: the password was on that host.",
		"Take the host out of deployment.yaml and load the packet filters anew.",
	}},
	{"When a breach is suspected", "Unsecured PHI is what was not made unusable to who has it (45 CFR 164.402). What travelled was encrypted, and counts as secured where the module was validated (FIPS 140-3) and its keys were not taken; what was in memory is neither at rest nor in motion, and counts as unsecured for whoever read it.", []string{
		"Shut out what is suspected (see above); don't restart the engine before its state has been looked at, since its memory is the only copy.",
		"Keep: the logs of gateway and sidecars (who connected, what was refused), redoubt pki list --dir CA (who was let in, when), the last reports of redoubt verify.",
		"sudo redoubt verify on every host; compare with the last report: --compare.",
		"Decide with counsel who is to be told: without unreasonable delay and within 60 days (45 CFR 164.404).",
	}},
	{"Evaluating again", "Periodically, and after each change (45 CFR 164.308(a)(8)).", []string{
		"sudo redoubt verify --json on every host, and --outside from one that must not get in.",
		"redoubt dossier writes this document anew. Keep each for six years (45 CFR 164.316(b)(2)(i)).",
	}},
}

// scope are the decisions about what the cache doesn't do.
var scope = []Procedure{
	{Title: "No per-person accounts on the cache", Text: "The cache knows applications and hosts, not people. Who may see which record is decided, and recorded, by the application, which knows both (45 CFR 164.312(a)(2)(i) is met there). The trade-off: an administrator of the application acts under its name."},
	{Title: "No integrity check of single values", Text: "Between hosts TLS protects every byte (45 CFR 164.312(e)(2)(i)); in memory a value is what was written last. An application that must know whether a value is its own signs it. The trade-off: who may write can change any value (45 CFR 164.312(c)(1))."},
	{Title: "Audit controls are divided, not left out", Text: "45 CFR 164.312(b) is required of whatever holds ePHI. The cache records which host came with which identity, what was refused, and its own life; the application records who read or changed which record. Neither alone is enough."},
	{Title: "Not the record of truth", Text: "Everything in the cache can be rebuilt, and is gone when the engine ends. So no copy of it needs to be kept (45 CFR 164.308(a)(7)(ii)(A)), and none exists that would need to be destroyed."},
}

// rules are what is said of the rules themselves.
const rules = "Required (R) standards are implemented; addressable (A) ones are implemented, or documented with an equivalent (45 CFR 164.306(d)(3)). The proposal to strengthen the Security Rule (90 FR 898, 6 January 2025, RIN 0945-AA22) is not in force; it would make encryption, segmentation and regular tests binding, which this deployment has. NIST SP 800-66r2 relates the Rule to SP 800-53r5; its mapping is followed here. Practices in place for twelve months count in an investigation (Pub. L. 116-321)."
