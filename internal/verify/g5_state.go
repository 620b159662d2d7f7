package verify

import (
	"context"
	"slices"
	"strings"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var configurationIsRead = Check{
	ID: "RD-507", Goal: evidence.NoChange, From: OnBoth,
	Title:      "What runs has read the configuration that lies on this host",
	Why:        "A file that was edited after the start documents a cache that doesn't exist, until the next restart makes it so without anybody's notice.",
	Mend:       "Restart the gateway or the sidecar if the file is right (systemctl restart); else put back the file that it was started with.",
	References: []string{"45 CFR 164.316(b)(1)", "NIST SP 800-53r5 CM-6", "NIST SP 800-53r5 CM-5"},
	Run: func(_ context.Context, t *Target, n *Notes) Finding {
		file, running := "", ""
		switch {
		case t.Cache != nil && t.Cache.Fingerprint != "":
			file, running = t.Cache.Fingerprint, t.Cache.Running
		case t.App != nil && t.App.Fingerprint != "":
			file, running = t.App.Fingerprint, t.App.Running
		default:
			return n.Skip("redoubt up has no configuration file: its flags are its configuration")
		}
		if running == "" {
			return n.Skip("the process that runs with this configuration doesn't answer (redoubt status says more)")
		}
		n.Saw("fingerprint of the file: %s, of what the process has read: %s", file, running)
		if file != running {
			return n.Fail("the file has changed since the process was started")
		}
		return n.Pass("the process runs with what the file says now")
	},
}

// builtIn are modules that are part of an engine and can't be left out.
var builtIn = []string{"vectorset", "lua"} // Redis 8.0 and later; Valkey 9.1

var noModules = Check{
	ID: "RD-510", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "No module is loaded into the engine",
	Why:        "A module is machine code with the engine's memory at its hands, and brings commands that no rule of ours knows.",
	Mend:       "Find out what loads it: our configuration has no loadmodule line. Use the distribution's engine, without a vendor's additions (engine.binary).",
	References: []string{"NIST SP 800-53r5 CM-7", "NIST SP 800-53r5 SI-7"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Saw("INFO modules of %s names %d", a.Version, len(a.Modules))
		for _, module := range a.Modules {
			name, _, _ := strings.Cut(strings.TrimPrefix(module, "name="), ",")
			n.Fact("module "+name, module)
			if !slices.Contains(builtIn, name) {
				return n.Fail("the module %s is loaded", name)
			}
		}
		return n.Pass("none but what is built into this engine")
	}),
}

var noReplication = Check{
	ID: "RD-511", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "The engine copies its data to no other one, and takes none from another",
	Why:        "A replica is a whole copy of the cache, on a host that nobody has locked down; a primary replaces all that the cache holds.",
	Mend:       "Restart the gateway, and find out who could reach the engine's socket.",
	References: []string{"45 CFR 164.312(c)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 AC-4"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Fact("role", a.Info["role"])
		n.Fact("connected_slaves", a.Info["connected_slaves"])
		if a.Info["role"] != "master" || a.Info["connected_slaves"] != "0" {
			return n.Fail("INFO replication says role %q, %s replicas", a.Info["role"], a.Info["connected_slaves"])
		}
		return n.Pass("INFO replication: it stands alone")
	}),
}
