package engine

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// changes puts another policy in force, or ends the test.
func (r *running) changes(p Policy) {
	r.t.Helper()
	if err := r.Change(r.t.Context(), p); err != nil {
		r.t.Fatalf("%+v: %v", p, err)
	}
}

// drifts is how the engine differs from the policy that is in force.
func (r *running) drifts() (found []string) {
	r.t.Helper()
	a, err := r.Audit(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, d := range append(a.SettingsDrift(), a.UsersDrift...) {
		found = append(found, d.String())
	}
	return found
}

func refusedWith(code string, reply any) bool {
	r, is := reply.(refusal)
	return is && strings.HasPrefix(string(r), code)
}

// TestWhatIsTakenAwayHoldsAtOnce, for connections that exist, whatever they have under
// way; the cache stays, and so do connections that have nothing of the kind.
func TestWhatIsTakenAwayHoldsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: Policy{Uses: []Use{Locks, PubSub}}})
	pid := r.PID()
	c, twin, queued, subscribed, tracking, pattern := r.app(), as(r, password), r.app(), r.app(), r.app(), as(r, password)
	c.do("SET", "k", "kept")
	for _, some := range []*client{c, twin} {
		if got := some.do("EVAL", "return 'ran'", "0"); got != "ran" {
			t.Fatal(got)
		}
	}
	queued.do("MULTI")
	if got := queued.do("EVAL", "return redis.call('SET', 'k', 'stolen')", "0"); got != "QUEUED" {
		t.Fatal(got)
	}
	subscribed.do("SUBSCRIBE", "news")
	pattern.do("PSUBSCRIBE", "*")
	tracking.do("HELLO", "3")
	if got := tracking.do("CLIENT", "TRACKING", "ON", "BCAST"); got != "OK" {
		t.Fatal(got)
	}

	r.changes(Policy{Deny: []string{"pubsub", "tracking", "keys"}})
	for what, command := range map[string][]string{
		"scripts": {"EVAL", "return 1", "0"}, "loading of scripts": {"SCRIPT", "LOAD", "return 1"}, "pub/sub": {"PUBLISH", "news", "x"},
		"subscriptions": {"SUBSCRIBE", "news"}, "tracking": {"CLIENT", "TRACKING", "ON"}, "KEYS": {"KEYS", "*"},
	} {
		for _, some := range []*client{c, twin} {
			if got := some.do(command...); !refusedWith("NOPERM", got) {
				t.Errorf("%s on a connection of before: %v", what, got)
			}
		}
	}
	if got := queued.do("EXEC"); !refusedWith("NOPERM", got) && !strings.Contains(fmt.Sprint(got), "NOPERM") && !strings.Contains(fmt.Sprint(got), "ACL") {
		t.Errorf("what was queued before: %v", got)
	}
	for what, some := range map[string]*client{"a subscription": subscribed, "a pattern": pattern, "tracking": tracking} {
		if got := some.reply(); got != io.EOF {
			t.Errorf("%s of before goes on: %v", what, got)
		}
	}
	if got := c.do("GET", "k"); got != "kept" || r.PID() != pid {
		t.Errorf("the cache: %v, pid %d, was %d", got, r.PID(), pid)
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as the policy says: %q", found)
	}

	r.changes(Policy{Allow: []string{"functions", "scripting"}})
	if got := c.do("EVAL", "return 'ran'", "0"); got != "ran" {
		t.Errorf("what is opened, on a connection of before: %v", got)
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as the policy says: %q", found)
	}
}

// TestBoundsChangeAndNobodyMaySetThem: the right for it is there for the moment of one
// command.
func TestBoundsChangeAndNobodyMaySetThem(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: Policy{Memory: 64 * mib, MaxValue: 4 * mib}})
	c := r.app()
	c.do("SET", "k", "kept")
	large := strings.Repeat("x", 6<<20)
	r.changes(Policy{Uses: []Use{Queues}, Memory: 128 * mib, MaxValue: 16 * mib})
	if got := c.do("SET", "large", large); got != "OK" {
		t.Errorf("a value that is allowed now: %.100v", got)
	}
	a, err := r.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a.Settings["maxmemory"] != fmt.Sprint(128*mib) || a.Settings["maxmemory-policy"] != "noeviction" || len(a.SettingsDrift()) > 0 || len(a.UsersDrift) > 0 {
		t.Errorf("%s, %s, %v, %v", a.Settings["maxmemory"], a.Settings["maxmemory-policy"], a.SettingsDrift(), a.UsersDrift)
	}
	own := r.own()
	r.mu.Lock()
	config := r.secret.config
	r.mu.Unlock()
	if got := own.do(config, "SET", "maxmemory", "1"); !refusedWith("NOPERM", got) {
		t.Errorf("our own user may set: %v", got)
	}
	if got := c.do("GET", "k"); got != "kept" {
		t.Error(got)
	}
	r.changes(Policy{Memory: 64 * mib, MaxValue: 4 * mib})
	if _, err := c.conn.Write(appendCommand(nil, "SET", "large", large)); err == nil {
		if got := c.reply(); got != io.EOF && !refusedWith("ERR", got) {
			t.Errorf("a value that is too large now: %.100v", got)
		}
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as the policy says: %q", found)
	}
}

// TestAPolicyThatTheEngineRefusesChangesNothing: what it had taken of it is taken back.
func TestAPolicyThatTheEngineRefusesChangesNothing(t *testing.T) {
	t.Parallel()
	poisoned := Policy{Uses: []Use{Locks}, Memory: 100 * mib, MaxValue: 4 * mib}.withDefaults()
	r := start(t, Options{Policy: Policy{Memory: 64 * mib, MaxValue: 4 * mib}}, func(r *running) {
		rights := r.rights
		r.rights = func(p Policy) []string {
			if p.Memory == poisoned.Memory {
				return append(rights(p), "+no-such-command")
			}
			return rights(p)
		}
	})
	c, pid := r.app(), r.PID()
	err := r.Change(t.Context(), poisoned)
	if err == nil || !strings.Contains(err.Error(), "could not be put in force") {
		t.Errorf("%v", err)
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as it was: %q", found)
	}
	if got := c.do("EVAL", "return 1", "0"); !refusedWith("NOPERM", got) {
		t.Errorf("a right of the refused policy: %v", got)
	}
	if s := r.Status(); r.PID() != pid || !slices.Equal(s.Uses, []Use{Cache}) {
		t.Errorf("pid %d, was %d; %v", r.PID(), pid, s.Uses)
	}
}

// TestAPolicyWaitsForNoScript: an engine that a script keeps busy can't be told anything,
// so nothing changes, then or later.
func TestAPolicyWaitsForNoScript(t *testing.T) {
	t.Parallel()
	r := start(t, Options{Policy: Policy{Allow: []string{"scripting"}}})
	busy, other := r.app(), r.app()
	busy.send(string(appendCommand(nil, "EVAL", "local s = redis.call('TIME')[1] while redis.call('TIME')[1] - s < 6 do end return 'ran'", "0")))
	waitFor(t, "the engine says that it is busy", func() bool { return refusedWith("BUSY", other.do("PING")) })
	if err := r.Change(t.Context(), Policy{Uses: []Use{Queues}}); err == nil || !strings.Contains(err.Error(), "a script keeps it busy") {
		t.Errorf("%v", err)
	}
	if got := busy.reply(); got != "ran" {
		t.Errorf("the script: %v", got)
	}
	waitFor(t, "the engine is as it was", func() bool { return len(r.drifts()) == 0 })
	if s := r.Status(); !slices.Equal(s.Uses, []Use{Cache}) {
		t.Error(s.Uses)
	}
}

// TestTheNextLifeBeginsWithThePolicyInForce, and so do passwords that come later.
func TestTheNextLifeBeginsWithThePolicyInForce(t *testing.T) {
	t.Parallel()
	r, words := rotating(t, password)
	r.changes(Policy{Allow: []string{"scripting"}})
	words.set(password, "the next one")
	waitFor(t, "the next password is taken", func() bool { return takes(r, "the next one") })
	if got := as(r, "the next one").do("EVAL", "return 'ran'", "0"); got != "ran" {
		t.Errorf("with a password that came later: %v", got)
	}
	first := r.PID()
	syscall.Kill(first, syscall.SIGKILL)
	waitFor(t, "the next life", func() bool { return r.Status().Up && r.PID() != first })
	if got := r.app().do("EVAL", "return 'ran'", "0"); got != "ran" {
		t.Errorf("in the next life: %v", got)
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as the policy says: %q", found)
	}
}

func TestAWrongPolicyChangesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	for says, p := range map[string]Policy{
		"unknown use":           {Uses: []Use{"rocketry"}},
		"number of clients":     {MaxClients: 77},
		"it must lie between":   {Memory: 1},
		"but this machine":      {Memory: mostMemory},
		"drop one of the two":   {Uses: []Use{PubSub}, Deny: []string{"pubsub"}},
		`allow cannot name "x"`: {Allow: []string{"x"}},
	} {
		if err := r.Change(t.Context(), p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", p, err, says)
		}
	}
	if found := r.drifts(); len(found) > 0 {
		t.Errorf("the engine isn't as it was: %q", found)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := r.Change(ctx, Policy{Deny: []string{"keys"}}); err != ErrAway {
		t.Errorf("with no engine: %v", err)
	}
}
