package dossier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// Risk is a row of the register.
type Risk struct {
	ID                 string
	Title              string   // what may happen
	Source             string   // who or what makes it happen
	Weakness           string   // what it makes use of
	Likelihood, Impact string   // before what is done about it
	Mitigation         string   // with what was found of it
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
	{Title: "An outsider reaches the cache over the network", Source: "strangers on the network", Weakness: "a port that answers whoever asks", Likelihood: high, Impact: high, Mitigation: "a packet filter that stays in force, one port, mutual TLS before a byte is parsed", Checks: []string{"RD-101", "RD-102", "RD-120", "RD-130", "RD-132", "RD-133", "RD-140", "RD-201", "RD-202"}, Residual: "low: a flaw in the kernel's or Go's TLS"},
	{Title: "A certificate or key is stolen from a host", Source: "a thief on a host, or with its disk or backup", Weakness: "keys in files, and in memory", Likelihood: medium, Impact: high, Mitigation: "a certificate for each host that ends, and can be revoked; the password besides", Checks: []string{"RD-203", "RD-204", "RD-205", "RD-206", "RD-208", "RD-209"}, Residual: "medium until it is noticed: a thief who has the password too reads what the application can"},
	{Title: "The application's password leaks", Source: "insiders; what logs or stores configuration", Weakness: "one password for all processes of the application", Likelihood: medium, Impact: high, Mitigation: "it opens nothing without a host's certificate, and lies where its owner alone reads it", Checks: []string{"RD-201", "RD-207", "RD-208", "RD-211", "RD-404"}, Residual: "low: who runs on an application host could use it"},
	{Title: "Traffic is read or changed on the way", Source: "whoever is on the network between hosts; who records for later", Weakness: "networks that others share", Likelihood: medium, Impact: high, Mitigation: "TLS 1.3 only, identities checked at both ends, post-quantum key exchange", Checks: []string{"RD-210", "RD-212", "RD-301", "RD-302", "RD-303", "RD-304"}, Residual: "low"},
	{Title: "Cached data is written to a disk by the engine", Source: "administrators' habits; the engine's own features", Weakness: "persistence, logs and dumps that engines have", Likelihood: high, Impact: high, Mitigation: "no persistence; the kernel refuses every file", Checks: []string{"RD-401", "RD-411", "RD-415", "RD-416", "RD-417", "RD-418", "RD-501"}, Residual: "low: a flaw in the kernel's sandbox"},
	{Title: "Cached data reaches a disk through swap, a core dump or hibernation", Source: "the kernel and its tools, by themselves", Weakness: "memory that the system may write out", Likelihood: medium, Impact: high, Mitigation: "limits on our own processes; swap, core dumps and sleep closed on the host", Checks: []string{"RD-402", "RD-403", "RD-414", "RD-441", "RD-442", "RD-443", "RD-444"}, Residual: "low; a hypervisor that snapshots memory is outside our sight: its policy must say no"},
	{Title: "A value or key name reaches a log", Source: "software errors; whoever debugs", Weakness: "logs and crash reports that quote data", Likelihood: medium, Impact: high, Mitigation: "values that were written on purpose turned up in no file, argument or environment; nobody captures packets", Checks: []string{"RD-401", "RD-404", "RD-405", "RD-406"}, Residual: "low; what the application logs itself is the application's"},
	{Title: "A client reconfigures the cache, or loads code into it", Source: "a taken application; an insider with its password", Weakness: "commands that change a running engine", Likelihood: high, Impact: high, Mitigation: "allow-list of commands, CONFIG and ACL renamed at random, modules off, no process and no second exec in the sandbox", Checks: []string{"RD-502", "RD-503", "RD-504", "RD-505", "RD-506", "RD-510", "RD-511"}, Residual: "low"},
	{Title: "A flaw in the engine is used to take it over", Source: "a taken application; an insider with its password", Weakness: "flaws in code that parses what clients send", Likelihood: medium, Impact: high, Mitigation: "flaws that redoubt knows of are mended; a taken engine has no file, no network, no other process", Checks: []string{"RD-512", "RD-531", "RD-411", "RD-412", "RD-413", "RD-418"}, Residual: "medium: it can read and change the cached data itself"},
	{Title: "One application connection is given another's reply", Source: "software errors; a crafted request", Weakness: "connections that are shared", Likelihood: low, Impact: high, Mitigation: "replies are released in batches that a random fence closes; scripts have connections of their own (decision 40)", Residual: "low: an injection that keeps the count within one batch; fence: session closes that too"},
	{Title: "An administrator of the cache host reads its memory", Source: "insiders who are root", Weakness: "root reads all memory", Likelihood: low, Impact: high, Mitigation: "ssh answers where the packet filter guards it, takes keys of people, and nobody as root", Checks: []string{"RD-121", "RD-122", "RD-123", "RD-124", "RD-131"}, Residual: "medium: root reads all memory; sealing values on the application host is planned"},
	{Title: "Another process of an application host reads the password or values", Source: "other users and programs of the host", Weakness: "a host that is shared; files and memory that are readable", Likelihood: medium, Impact: high, Mitigation: "files for their owner alone; nobody traces or captures; the port asks for the password", Checks: []string{"RD-208", "RD-211", "RD-403", "RD-406", "RD-445"}, Residual: "medium: processes of the application's own user"},
	{Title: "The cache is away, and applications rely on it", Source: "failures of machines, networks, software", Weakness: "one cache host, memory that is lost with it", Likelihood: medium, Impact: medium, Mitigation: "restarts and reconnection by themselves; commands fail fast with an error that clients take as transient; section 4 says what may be lost", Residual: "low for what can be computed again (45 CFR 164.308(a)(7)); for the rest see section 4"},
	{Title: "An application that may write uses up the cache", Source: "errors or abuse in an application", Weakness: "memory that has an end", Likelihood: low, Impact: medium, Mitigation: "bounds on memory, values, connections and replies", Checks: []string{"RD-446", "RD-501"}, Residual: "medium: who may write may fill it"},
	{Title: "Documents and reality drift apart", Source: "time; changes by hand", Weakness: "documents that nobody checks", Likelihood: high, Impact: medium, Mitigation: "what runs is what is configured; exceptions with an end; records that are whole, and kept", Checks: []string{"RD-507", "RD-601", "RD-602", "RD-603", "RD-620", "RD-621"}, Residual: "low"},
}

// ofSeveralCaches is one more where there is more than one gateway.
var ofSeveralCaches = Risk{
	Title: "Two hosts read different values, or old ones", Source: "a gateway that was away for a while", Weakness: "each gateway has a cache of its own", Likelihood: medium, Impact: medium,
	Mitigation: "a host uses one gateway at a time, and tells of each step to another; no connection sees two caches; locks and queues are refused (decisions 141, 142)",
	Residual:   "medium: until its time to live, a value may be older than one that was read elsewhere, and a session that was ended in one cache stand in another; who can't have that uses one gateway",
}

// addRisks makes the register: what was anticipated, what comes with several gateways, and
// what the policy opens.
func (d *Dossier) addRisks(p *engine.Policy) {
	rows := slices.Clone(register)
	caches := 0
	for _, h := range d.Hosts {
		if h.vantage == evidence.CacheHost {
			caches++
		}
	}
	if caches > 1 {
		rows = append(rows, ofSeveralCaches)
	}
	if p != nil {
		for _, o := range p.Openings() {
			rows = append(rows, Risk{
				Title: "By policy: " + o.Name, Source: "the application, or who has taken it", Weakness: "an opening that the policy asks for", Likelihood: medium, Impact: medium,
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
		d.Risks = append(d.Risks, d.judged(r))
	}
}

// judged is a risk as the findings leave it. What isn't proved mitigates nothing.
func (d *Dossier) judged(r Risk) Risk {
	if len(r.Checks) == 0 {
		r.Mitigation = "by design, and not tried by a check: " + r.Mitigation
		return r
	}
	of := map[string][]string{}
	for _, id := range r.Checks {
		outcome := d.checks[id].Outcome
		of[outcome] = append(of[outcome], id)
	}
	named := func(outcome string) string { return strings.Join(of[outcome], ", ") }
	switch {
	case len(of[Fails]) > 0:
		r.Raised, r.Residual = true, high+": "+named(Fails)+" fails"
		r.Mitigation = "not wholly in place: " + r.Mitigation
	case len(of[Unproven]) > 0:
		r.Residual = r.Impact + ", as long as it is not proved"
		r.Mitigation = "not wholly proved: " + r.Mitigation
	case len(of[IsAllowed]) > 0:
		r.Residual = "accepted for now with " + named(IsAllowed) + "; else " + r.Residual
		r.Mitigation = "not wholly in place, and accepted for now: " + r.Mitigation
	}
	if len(of[Unproven]) > 0 {
		r.Residual += "; without evidence: " + named(Unproven)
	}
	return r
}
