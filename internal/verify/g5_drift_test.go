package verify

import (
	"context"
	"maps"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// TestAnEngineIsJudgedByWhatItTells: an answer from which settings or users are missing
// is no good one, and neither is one that only calls itself good.
func TestAnEngineIsJudgedByWhatItTells(t *testing.T) {
	v := engine.Version{Product: "redis", Major: 7, Patch: 15}
	sound := engine.Wanted(v, engine.Policy{})
	other := maps.Clone(sound)
	other["save"] = "900 1"
	for name, c := range map[string]struct {
		audit           engine.Audit
		settings, users evidence.Outcome
	}{
		"sound":           {engine.Audit{Version: v, Settings: sound, Users: []string{"user redoubt on"}}, evidence.Pass, evidence.Pass},
		"nothing":         {engine.Audit{Version: v}, evidence.Fail, evidence.Fail},
		"another setting": {engine.Audit{Version: v, Settings: other}, evidence.Fail, evidence.Fail},
		"another policy":  {engine.Audit{Version: v, Policy: engine.Policy{MaxClients: 7}, Settings: sound}, evidence.Fail, evidence.Fail},
	} {
		target := &Target{Cache: &Cache{Audit: func(context.Context) (engine.Audit, error) { return c.audit, nil }}}
		for check, want := range map[*Check]evidence.Outcome{&settingsAreRendered: c.settings, &usersAreRendered: c.users} {
			if f := check.Run(t.Context(), target, new(Notes)); f.outcome != want {
				t.Errorf("%s, %s: %s, %q, want %s", name, check.ID, f.outcome, f.detail, want)
			}
		}
	}
}
