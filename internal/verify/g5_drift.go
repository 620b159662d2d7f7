package verify

import (
	"maps"
	"slices"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

var settingsAreRendered = Check{
	ID: "RD-501", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "The engine runs with exactly the settings that the policy makes",
	Why:        "A setting that was changed while the engine runs, or that a newer engine reads in another way, can put data on a disk, open a way in, or lift a bound.",
	Mend:       "Restart the gateway: an engine takes its settings at its start only. If it differs again right after, the engine's version is one that redoubt doesn't know: report it.",
	References: []string{"45 CFR 164.312(c)(1)", "NIST SP 800-53r5 CM-6", "NIST SP 800-53r5 CM-5"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Saw("CONFIG GET * of %s, process %d: %d settings", a.Version, a.PID, len(a.Settings))
		if differences := a.SettingsDrift(); len(differences) > 0 {
			return drifted(n, "settings", differences)
		}
		for _, name := range slices.Sorted(maps.Keys(engine.Wanted(a.Version, a.Policy))) {
			n.Fact(name, a.Settings[name])
		}
		return n.Pass("all settings that the policy makes are in force")
	}),
}

var usersAreRendered = Check{
	ID: "RD-502", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "The engine knows exactly the users and rights that the policy makes",
	Why:        "A further user, a further right or a password that nobody gave out is a way in that no configuration file shows.",
	Mend:       "Restart the gateway: it makes the users anew. Find out who could reach the engine's socket meanwhile: only root and the engine's own user can.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.308(a)(4)", "NIST SP 800-53r5 AC-3", "NIST SP 800-53r5 AC-6"},
	Needs:      []Need{needEngine},
	Run: auditing(func(a engine.Audit, n *Notes) Finding {
		n.Saw("ACL LIST, passwords by the first 12 digits of their SHA-256:")
		for _, user := range a.Users {
			n.Saw("%s", user)
		}
		if len(a.Users) == 0 {
			return n.Fail("it is told of no user, and there is always one")
		}
		if len(a.UsersDrift) > 0 {
			return drifted(n, "users", a.UsersDrift)
		}
		return n.Pass("the users and their rights are those of the policy")
	}),
}

func drifted(n *Notes, what string, differences []engine.Difference) Finding {
	for _, d := range differences {
		n.Saw("%s", d)
	}
	return n.Fail("%s differ from the policy: %s", what, differences[0])
}
