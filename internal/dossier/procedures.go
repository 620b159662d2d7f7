package dossier

import (
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
)

// A Procedure is what people do, step by step, with the commands that do it.
type Procedure struct {
	Title, Text string
	Steps       []string
}

// breachText stands for what this deployment can say of a breach (Breach).
const breachText = "Unsecured PHI is what was not made unusable to who has it (45 CFR 164.402)."

// procedures are the same for every deployment; docs/operations.md has them at length.
var procedures = []Procedure{
	{"Taking in a host", "A new application host gets an identity of its own; no key is copied.", []string{
		"Add the host to deployment.yaml, and load the cache hosts' packet filters anew: redoubt render nftables --deployment deployment.yaml --host NAME | nft -f -",
		"On the host with the CA: redoubt token create --dir CA --name HOST --gateway NAME=ADDRESS",
		"On the new host: redoubt join --token-file -, then start its sidecar, and give the application app.env.",
		"sudo redoubt verify on the new host; keep its report.",
	}},
	{"Changing the application's password", "At least once a year, and at once when somebody who knew it leaves.", []string{
		"redoubt secret rotate: both passwords are good for the time of the overlap.",
		"Give the applications the new app.env, and restart them as they usually are.",
		"redoubt secret retire ends the old one at once, else it ends by itself.",
	}},
	{"Renewing certificates and replacing the CA", "Hosts' certificates renew themselves; the CA's root is replaced before it ends, or when its key may have been seen.", []string{
		"redoubt status on each host shows how long its certificate is good for.",
		"redoubt pki rotate start, switch, finish: two roots are believed meanwhile.",
	}},
	{"Shutting a host out", "When a host is lost, sold, or behaves in a way that nobody can explain.", []string{
		"redoubt pki revoke --dir CA HOST, then redoubt verify where the CA lies: RD-204 shows that a revoked certificate opens nothing.",
		"redoubt secret rotate, and retire: the password was on that host.",
		"Take the host out of deployment.yaml and load the packet filters anew.",
	}},
	{"When a breach is suspected", breachText, []string{
		"Shut out what is suspected (see above); don't restart the engine before its state has been looked at, since its memory is the only copy.",
		"Keep: the logs of gateway and sidecars (who connected, what was refused), redoubt pki list --dir CA (who was let in, when), redoubt log and the directories that it names (what administrators did), the last reports of redoubt verify.",
		"sudo redoubt verify on every host; compare with the last report: --compare.",
		"Decide with counsel who is to be told: without unreasonable delay and within 60 days (45 CFR 164.404).",
	}},
	{"Reviewing what administrators did", "Periodically, by somebody else than those who do it (45 CFR 164.308(a)(1)(ii)(D)).", []string{
		"sudo redoubt log --since 30d on each host: each command must have somebody who asked for it.",
		"Note number and hash of the newest record elsewhere; the hash of the last review must stand in the record behind that number, as prev: redoubt log --json.",
	}},
	{"Evaluating again", "Periodically, and after each change (45 CFR 164.308(a)(8)).", []string{
		"sudo redoubt verify --json on every host, and --outside from one that must not get in.",
		"redoubt dossier writes this document anew. Keep each for six years (45 CFR 164.316(b)(2)(i)).",
	}},
}

// scope are the decisions about what the cache doesn't do.
func (d *Dossier) scope() []Procedure {
	inFlight := d.say(Statement{"Between hosts TLS protects every byte (45 CFR 164.312(e)(2)(i)).", []string{"RD-301", "RD-302", "RD-303"}})
	return []Procedure{
		{Title: "No per-person accounts on the cache", Text: "The cache knows applications and hosts, not people. Who may see which record is decided, and recorded, by the application, which knows both: 45 CFR 164.312(a)(2)(i) is the application's to meet there. The trade-off: an administrator of the application acts under its name."},
		{Title: "No integrity check of single values", Text: inFlight.Text + " In memory a value is what was written last: 45 CFR 164.312(c)(2) is the application's, which signs a value where it must know that it is its own. The trade-off: who may write can change any value (45 CFR 164.312(c)(1))."},
		{Title: "Audit controls are divided, not left out", Text: "45 CFR 164.312(b) is required of whatever holds ePHI. The cache's part is which host came with which identity, what was refused, and its own life; the application's is who read or changed which record. Neither alone is enough."},
		{Title: "Not the record of truth", Text: d.lost()},
	}
}

// lost says what is gone when the engine ends, by what the policy opens the cache for.
func (d *Dossier) lost() string {
	const gone = "All that is in the cache is gone when the engine ends; no copy is made of it, so none needs to be destroyed. "
	var kept []string
	for _, u := range d.uses {
		if u != engine.Cache {
			kept = append(kept, string(u))
		}
	}
	switch {
	case !d.PolicyKnown:
		return gone + "Whether all of it can be computed again is not known: no policy was given (45 CFR 164.308(a)(7)(ii)(A))."
	case len(kept) > 0:
		return gone + "By policy it is used for " + strings.Join(kept, ", ") + ": what is lost of these can't be computed again from elsewhere unless the application keeps it elsewhere, which the organisation must decide and document (45 CFR 164.308(a)(7)(ii)(A), (E))."
	}
	return gone + "By policy it is used as a cache, for what can be computed again, so no copy of it needs to be kept (45 CFR 164.308(a)(7)(ii)(A))."
}

// operations are the procedures, that for a breach worded by what was found.
func (d *Dossier) operations() []Procedure {
	list := slices.Clone(procedures)
	for i := range list {
		if list[i].Text == breachText {
			list[i].Text += " " + d.Breach()
		}
	}
	return list
}

// rules are what is said of the rules themselves.
const rules = "What is required (R) must be implemented; what is addressable (A) must be implemented, or it must be documented why not, with an equivalent (45 CFR 164.306(d)(3)). The table says what was found; where there are no checks the organisation answers. The proposal to strengthen the Security Rule (90 FR 898, 6 January 2025, RIN 0945-AA22) is not in force. Practices in place for twelve months count in an investigation (Pub. L. 116-321)."
