package sabotage_test

import (
	"fmt"
	"strings"
)

// explained is what make mutate-checks finds, and why that is so.
type explained struct {
	what string // checks; or a pattern of mutants, which fails when it fits none any more
	but  string // a pattern of those of them that must be noticed; "": none
	why  string
}

// survivors are mutants that no check notices: WHERE, FIELD: HOW.
var survivors = []explained{
	{what: `[a-z-]+, Target\.(Vantage|Host|JudgeHost): .*`, why: "Not judged: it names the report, or chooses which checks are made. A report names its set of checks."},
	{what: `(cache|app)-host, Target\.(Reports|Controls): .*`, why: "An outsider's; nobody else goes by it."},
	{what: `[a-z-]+, Target\.(Cache|App)\.(Fingerprint|Running|NoPassword): another`, why: "`redoubt up` has no configuration file. RD-507 compares these where there is one: test/e2e, TestVerifyFromEveryHost."},
	{what: `[a-z-]+, Target\.(Cache|App)\.Certificates\.CRL: .*`, why: "**A gap.** A list of revoked certificates that isn't there is one that nobody had to write yet. On the cache host RD-204 revokes a certificate and tries it; that a sidecar's list is gone, no check sees (the sidecar itself refuses to go back to none: `internal/tunnel/newest.go`)."},
	{what: `[a-z-]+, Target\.(Cache|App)\.(Secrets|Trusted)(\[[0-9]\])?: left out`, why: "What isn't on the list isn't looked at. The list is made from the configuration."},
	{what: `cache-host, Target\.Cache\.Dismiss: fails|[a-z-]+, Target\.(Cache|App)\.PID: one more`, why: "A guest that isn't dismissed goes by itself in two minutes. The next number may be a thread of the same process, of which the kernel shows the same."},
	{what: `(cache-host|outsider), Target\.Doors\[0\]\.ID: zero`, why: "Who a gateway is, RD-210 asks, from an application host."},
	{what: `cache-host, Audit\.Policy\.((Uses|Allow|Deny).*|(Memory|MaxValue|MaxClients): zero)`, why: "The same policy: no use and a zero stand for the default, and a name that isn't known opens nothing (a configuration with one is refused)."},
	{what: `cache-host, Audit\.Settings\[` + notOfThePolicy + `\]: .*`, why: "The policy leaves it as the engine has it. Which settings could store, open or copy is decided in `internal/engine/conf.go`."},
	{what: `cache-host, Audit\.Info\[.*`, but: `\[(role|connected_slaves)\]`, why: "Not gone by: what it tells of persistence, ports and memory, RD-501 asks of the settings, and RD-4xx of the kernel."},
	{what: `cache-host, Audit\.Users(\[[0-9]\])?: .*`, but: `Users: left out`, why: "**A gap.** The gateway compares the users, since it alone knows the passwords; RD-502 believes what it found and shows the users as evidence. A gateway that lies about it isn't seen here; RD-503 to RD-506 try the rights themselves."},
	{what: `outsider, Target\.Hosts\.(Deployment|SSHForwards|EngineUID|Bastions|Exceptions|Engine\..*|AWS\..*|Gateways\[0\]\.CA): .*`, why: "An outsider goes by addresses and ports alone."},
	{what: `outsider, Target\.Hosts\.(Apps.*: .*|Gateways: one more|Gateways\[0\]\.Address(\[0\])?: left out|SSHPort: zero)`, why: "Here all hosts have one address, which their reports tell too. A file that has a host without address, or a port 0, is refused."},
	{what: `outsider, Target\.Reports\[[01]\]\.(Version|Set|Number|Previous|Checks|Summary\..*|Network\.Addresses.*|Network\.Open): .*`, but: `Addresses\[0\]: zero|Addresses: one more|Open: left out`, why: "An outsider takes from a report who tells it, when, and which addresses and ports there are; here `deployment.yaml` tells the addresses too. Who answers for a report, its signature says."},
}

const notOfThePolicy = "one that the policy doesn't make"

// evergreen are checks that pass whatever is altered.
var evergreen = []explained{
	{what: "RD-121, RD-122, RD-123, RD-124", why: "They ask sshd. Their sabotages alter its configuration."},
	{what: "RD-125, RD-214", why: "They read the files of the host. So do their sabotages alter them."},
	{what: "RD-130, RD-133, RD-441, RD-442, RD-443, RD-444, RD-445, RD-446", why: "They ask the kernel. Their sabotages put other answers of it over its files; RD-133 has its own in test/e2e."},
}

// mutantsExplained is their part of docs/sabotage.md.
func mutantsExplained() string {
	var b strings.Builder
	b.WriteString(mutantsHead)
	row := func(e explained) {
		what := e.what
		if e.but != "" {
			what += " but not " + e.but
		}
		if !strings.HasPrefix(what, "RD-") {
			what = "`" + strings.ReplaceAll(what, "|", `\|`) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", what, e.why)
	}
	for _, e := range survivors {
		row(e)
	}
	b.WriteString("\n| checks that stay green | why |\n|---|---|\n")
	for _, e := range evergreen {
		row(e)
	}
	return b.String()
}

const mutantsHead = `
## What mutants survive, and why

A sabotage is thought of by somebody. ` + "`make mutate-checks`" + ` needs no idea: on a sound deployment it alters what the checks are told, one field at a time (the target's, and those of the engine's answer), and runs them. It fails for a mutant that no check notices and for a check that notices none, unless it is explained here; the files of the host and of the kernel it leaves to the sabotages. A check that doesn't pass on the test's machine isn't tested so.

| mutants that survive (vantage, field: how) | why |
|---|---|
`
