package dossier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// how each goal is met, in a paragraph.
var how = map[evidence.Goal]string{
	evidence.Environment: "Each cache host has one open port, which its packet filter opens to application hosts only; ssh is open to bastions only, to keys and to people under their own names. The engine itself has no network: it listens on a unix socket, in a network namespace of its own.",
	evidence.Access:      "A host proves itself with a certificate of its own, which lives for days, renews itself and can be revoked within a second; the application proves itself with a random password of 256 bits, of which the cache host has only the digest. Neither alone opens the cache, and the application never sees the certificate.",
	evidence.InFlight:    "All traffic between hosts is TLS 1.3 with certificates at both ends and a key exchange that a quantum computer doesn't break. Nothing older is agreed on, and no session is resumed, so that no check is skipped.",
	evidence.AtRest:      "The engine keeps everything in memory: persistence is off, its log is treated as patient data, and the kernel refuses it every file, by system call filter, Landlock and limits. No core dump is made of it, of the gateway or of the sidecar.",
	evidence.NoChange:    "The engine reads its configuration once, from a pipe; CONFIG and ACL have random names for everybody but its supervisor, and every user has an allow-list. A change is a new rendering and a restart.",
	evidence.Documented:  "This dossier is generated from the deployment's files and from the reports of redoubt verify, and signed. Risks that are accepted have an owner and an end, and fail again after it.",
}

// Risk is a row of the register.
type Risk struct {
	ID                 string
	Title              string // what may happen
	Likelihood, Impact string // before what is done about it
	Mitigation         string
	Checks             []string // that show the mitigation at work
	Residual           string   // what is left, with what the evidence says
	Raised             bool     // the evidence makes it worse than it was taken for
	Owner              string
}

const (
	low, medium, high = "low", "medium", "high"
)

// register are the risks that were anticipated. Residual is what is left while all the
// checks hold.
var register = []Risk{
	{Title: "An outsider reaches the cache over the network", Likelihood: high, Impact: high, Mitigation: "packet filter, one port, mutual TLS before a byte is parsed", Checks: []string{"RD-101", "RD-102", "RD-120", "RD-140", "RD-201", "RD-202"}, Residual: "low: a flaw in the kernel's or Go's TLS"},
	{Title: "A certificate or key is stolen from a host", Likelihood: medium, Impact: high, Mitigation: "a key for each host that lives for days; revocation in a second; the password besides; admitted addresses", Checks: []string{"RD-203", "RD-204", "RD-205", "RD-206", "RD-208", "RD-209"}, Residual: "medium until it is noticed: a thief who has the password too reads what the application can"},
	{Title: "The application's password leaks", Likelihood: medium, Impact: high, Mitigation: "it opens nothing without an admitted host's certificate; rotation with an overlap and no restart", Checks: []string{"RD-201", "RD-207", "RD-208", "RD-211", "RD-404"}, Residual: "low: who runs on an application host could use it"},
	{Title: "Traffic is read or changed on the way", Likelihood: medium, Impact: high, Mitigation: "TLS 1.3 only, identities checked at both ends, post-quantum key exchange", Checks: []string{"RD-210", "RD-212", "RD-301", "RD-302", "RD-303", "RD-304"}, Residual: "low"},
	{Title: "Cached data is written to a disk by the engine", Likelihood: high, Impact: high, Mitigation: "no persistence; the kernel refuses every file", Checks: []string{"RD-401", "RD-411", "RD-415", "RD-416", "RD-417", "RD-418", "RD-501"}, Residual: "low: a flaw in the kernel's sandbox"},
	{Title: "Cached data reaches a disk through swap, a core dump or hibernation", Likelihood: medium, Impact: high, Mitigation: "limits on our own processes; swap, core dumps and sleep closed on the host", Checks: []string{"RD-402", "RD-403", "RD-414", "RD-441", "RD-442", "RD-443", "RD-444"}, Residual: "low; a hypervisor that snapshots memory is outside our sight: its policy must say no"},
	{Title: "A value or key name reaches a log", Likelihood: medium, Impact: high, Mitigation: "of the engine's output only recognised messages are passed on, without their variable parts", Checks: []string{"RD-401", "RD-404", "RD-405"}, Residual: "low; what the application logs itself is the application's"},
	{Title: "A client reconfigures the cache, or loads code into it", Likelihood: high, Impact: high, Mitigation: "allow-list of commands, CONFIG and ACL renamed at random, modules off, no process and no second exec in the sandbox", Checks: []string{"RD-502", "RD-503", "RD-504", "RD-505", "RD-506", "RD-510", "RD-511"}, Residual: "low"},
	{Title: "A flaw in the engine is used to take it over", Likelihood: medium, Impact: high, Mitigation: "known flaws mended; a taken engine has no file, no network, no other process", Checks: []string{"RD-512", "RD-531", "RD-411", "RD-412", "RD-413", "RD-418"}, Residual: "medium: it can read and change the cached data itself"},
	{Title: "One application connection is given another's reply", Likelihood: low, Impact: high, Mitigation: "replies are released in batches that a random fence closes; scripts have connections of their own (decision 40)", Residual: "low: an injection that keeps the count within one batch; fence: session closes that too"},
	{Title: "An administrator of the cache host reads its memory", Likelihood: low, Impact: high, Mitigation: "ssh from bastions only, by person and key; few administrators", Checks: []string{"RD-121", "RD-122", "RD-123", "RD-124"}, Residual: "medium: root reads all memory; sealing values on the application host is planned"},
	{Title: "Another process of an application host reads the password or values", Likelihood: medium, Impact: high, Mitigation: "files for their owner alone; tracing denied; the port asks for the password and can be limited by user", Checks: []string{"RD-208", "RD-211", "RD-445"}, Residual: "medium: processes of the application's own user"},
	{Title: "The cache is away, and applications rely on it", Likelihood: medium, Impact: medium, Mitigation: "restarts and reconnection by themselves; commands fail fast with an error that clients take as transient; values are rebuildable, never the record of truth", Residual: "low, as long as no application keeps what it can't rebuild (45 CFR 164.308(a)(7))"},
	{Title: "An application that may write uses up the cache", Likelihood: low, Impact: medium, Mitigation: "bounds on memory, values, connections and replies", Checks: []string{"RD-446", "RD-501"}, Residual: "medium: who may write may fill it"},
	{Title: "Documents and reality drift apart", Likelihood: high, Impact: medium, Mitigation: "cheap checks all the time, the others at each deployment; exceptions with an end; this dossier from what is true", Checks: []string{"RD-507", "RD-601", "RD-602", "RD-620"}, Residual: "low"},
}

// addRisks makes the register: what was anticipated, and what the policy opens.
func (d *Dossier) addRisks(p *engine.Policy, checks map[string]Check) {
	rows := slices.Clone(register)
	if p != nil {
		for _, o := range p.Openings() {
			rows = append(rows, Risk{
				Title: "By policy: " + o.Name, Likelihood: medium, Impact: medium,
				Mitigation: "opened on purpose, for what the application does", Residual: "accepted with the policy: " + o.Risk,
			})
		}
	}
	for i, r := range rows {
		r.ID = fmt.Sprintf("R-%02d", i+1)
		r.Owner = d.Owner
		if r.Owner == "" {
			r.Owner = "nobody yet"
		}
		var failing, unproven, accepted []string
		for _, id := range r.Checks {
			switch checks[id].Outcome {
			case Fails:
				failing = append(failing, id)
			case IsAllowed:
				accepted = append(accepted, id)
			case Unproven:
				unproven = append(unproven, id)
			}
		}
		r.Raised = len(failing) > 0
		switch {
		case len(failing) > 0:
			r.Residual = high + ": " + strings.Join(failing, ", ") + " fails"
		case len(accepted) > 0:
			r.Residual = "accepted for now with " + strings.Join(accepted, ", ") + "; else " + r.Residual
		}
		if len(unproven) > 0 {
			r.Residual += "; without evidence: " + strings.Join(unproven, ", ")
		}
		d.Risks = append(d.Risks, r)
	}
}
