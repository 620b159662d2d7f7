package verify

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/passwords"
)

var settingsAreRendered = Check{
	ID: "RD-501", Goal: evidence.NoChange, From: OnCache, Cheap: true,
	Title:      "Every setting that the policy makes is in force in the engine",
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
		n.Saw("settings that the policy doesn't make and the engine has by itself, of which nothing is claimed: %d", len(a.Settings)-len(engine.Wanted(a.Version, a.Policy)))
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

var passwordsAreTheFiles = Check{
	ID: "RD-508", Goal: evidence.NoChange, From: OnCache,
	Title:      "The passwords that open the cache are those of the digests file, and one alone has no end",
	Why:        "A digest that somebody added opens the cache while it runs, with no restart and no change of its configuration. A rotation leaves one password without an end; a second one is nobody's.",
	Mend:       "Run redoubt secret list, find out who added what, and redoubt secret rotate: then all but the new password have an end.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.308(a)(4)", "NIST SP 800-53r5 IA-5", "NIST SP 800-53r5 CM-5"},
	Needs:      []Need{needRoot, needEngine},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		a, err := t.audit(ctx)
		if err != nil {
			return n.Skip("%v", err)
		}
		text, err := os.ReadFile(t.Cache.Digests)
		if err != nil {
			return n.Skip("%v", err)
		}
		set, err := passwords.Parse(text)
		if err != nil {
			return n.Fail("%s: %v", t.Cache.Digests, err)
		}
		lasting, good := 0, map[string]bool{}
		for _, e := range set {
			if e.Until.IsZero() {
				lasting++
			}
			if e.Until.IsZero() || time.Now().Before(e.Until) {
				good[e.Digest.User()] = true
			}
		}
		n.Saw("%s: good passwords: %d, of which without an end: %d", t.Cache.Digests, len(good), lasting)
		for _, line := range a.Users {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "user "), " ")
			if strings.HasPrefix(name, "default-") && !good[name] {
				return n.Fail("the engine has a user for a password that the file doesn't have: %s", name)
			}
			delete(good, name)
		}
		if len(good) > 0 {
			return n.Fail("passwords of the file that the engine doesn't know: %d", len(good))
		}
		if lasting != 1 {
			return n.Fail("passwords without an end: %d", lasting)
		}
		return n.Pass("the engine knows the file's passwords, of which one has no end")
	},
}
