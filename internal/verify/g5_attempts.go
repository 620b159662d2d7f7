package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// harmless are attempts outside a transaction, in a form that changes nothing even
// where it isn't refused.
var harmless = [][]string{
	{"CONFIG", "GET", "maxmemory"}, {"ACL", "WHOAMI"}, {"ACL", "LIST"}, {"MODULE", "LIST"}, {"DEBUG", "HELP"},
	{"CLUSTER", "MYID"}, {"SLOWLOG", "LEN"}, {"LATENCY", "LATEST"}, {"LASTSAVE"}, {"ROLE"},
	{"CLIENT", "LIST"}, {"CLIENT", "KILL", "ID", "0"}, {"CLIENT", "UNPAUSE"},
	{"MEMORY", "DOCTOR"}, {"MEMORY", "STATS"}, {"DUMP", "{prefix}x"}, {"FUNCTION", "STATS"}, {"SCRIPT", "EXISTS", "0"},
	{"REPLICAOF", "NO", "ONE"}, {"SHUTDOWN", "ABORT"}, {"FAILOVER", "ABORT"},
}

var attemptsAreRefused = Check{
	ID: "RD-505", Goal: evidence.NoChange, From: OnCache,
	Title:      "Outside a transaction, what reads or changes the engine's configuration is refused too",
	Why:        "What is refused when it is queued could still run when it is sent alone: it is tried, in forms that change nothing.",
	Mend:       "Restart the gateway, so that the engine's users are made anew; if the same is open again, report it with the engine's version.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 CM-5", "NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 CA-8"},
	Needs:      []Need{needEngine, needGuest},
	Run: attacking(func(c *conversation, a engine.Audit, n *Notes) Finding {
		tried := 0
		for _, args := range harmless {
			name := strings.ToLower(args[0])
			if len(args) > 1 {
				name += "|" + strings.ToLower(args[1])
			}
			if a.Policy.Opens(a.Version, name, []string{"@admin", "@dangerous"}) {
				continue // the policy's own opening, such as scripting's SCRIPT EXISTS
			}
			reply, err := c.do(own(args)...)
			if err != nil {
				return n.Fail("%s: the connection ended: %v", name, err)
			}
			n.Saw("%s: %s", strings.Join(args, " "), code(reply))
			if refusal(reply) == "" {
				return n.Fail("%s is not refused", strings.Join(args, " "))
			}
			tried++
		}
		return n.Pass("all %d are refused", tried)
	}),
}

var scriptsAreRefused = Check{
	ID: "RD-506", Goal: evidence.NoChange, From: OnCache,
	Title:      "No script reaches what the application may not",
	Why:        "Lua runs inside the engine: flaws of the interpreter gave code execution, and a script runs commands too.",
	Mend:       "Take scripting out of the policy (engine.allow, engine.uses) if it isn't needed; else restart the gateway, and report it with the engine's version.",
	References: []string{"45 CFR 164.312(a)(1)", "NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 CA-8"},
	Needs:      []Need{needEngine, needGuest},
	Run: attacking(func(c *conversation, a engine.Audit, n *Notes) Finding {
		reply, err := c.do("EVAL", "return 1", "0")
		if err != nil {
			return n.Fail("EVAL: %v", err)
		}
		n.Saw("EVAL of a script: %s", code(reply))
		open := a.Policy.Opens(a.Version, "eval", []string{"@scripting"})
		n.Fact("scripting", map[bool]string{true: "open by policy", false: "closed"}[open])
		switch refused := refusal(reply) != ""; {
		case !open && !refused:
			return n.Fail("scripts run, and the policy has them closed")
		case !open:
			return n.Pass("no script runs at all")
		}
		return triedInScripts(c, n)
	}),
}

// insides are what a script's Lua must not have: ways to files, processes and code
// that doesn't go through the engine (CVE-2022-0543; Redis: Lua API, "Sandbox").
var insides = []string{"io", "package", "require", "dofile", "loadfile", "debug", "os and os.execute", "getfenv", "setfenv", "newproxy"}

func triedInScripts(c *conversation, n *Notes) Finding {
	for _, args := range harmless {
		quoted := make([]string, len(args))
		for i, arg := range own(args) {
			quoted[i] = fmt.Sprintf("'%s'", arg)
		}
		script := fmt.Sprintf("local r = redis.pcall(%s) if type(r) == 'table' and r.err then return 'refused' end return 'not refused'", strings.Join(quoted, ","))
		reply, err := c.do("EVAL", script, "0")
		if err != nil {
			return n.Fail("EVAL: %v", err)
		}
		n.Saw("from a script, %s: %s", strings.Join(args, " "), reply)
		if reply != "$refused" && !strings.HasPrefix(reply, "-") && !slices.Equal(args[:2], []string{"SCRIPT", "EXISTS"}) {
			return n.Fail("a script may run %s", strings.Join(args, " "))
		}
	}
	for _, name := range insides {
		reply, err := c.do("EVAL", fmt.Sprintf("local ok, v = pcall(function() return %s end) if ok and v then return 'there' end return 'not there'", name), "0")
		if err != nil {
			return n.Fail("EVAL: %v", err)
		}
		n.Saw("Lua's %s: %s", name, reply)
		if reply == "$there" {
			return n.Fail("Lua's %s is within a script's reach", name)
		}
	}
	return n.Pass("scripts run by policy, and reach nothing more than the application itself")
}

// own puts the prefix of our keys where it belongs.
func own(args []string) []string {
	filled := make([]string, len(args))
	for i, arg := range args {
		filled[i] = strings.Replace(arg, "{prefix}", engine.GuestPrefix, 1)
	}
	return filled
}
