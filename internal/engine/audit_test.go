package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// rewritten starts an engine with one thing of its configuration changed.
func rewritten(t *testing.T, from, to string) *running {
	return start(t, Options{}, func(r *running) {
		rendered := r.configuration
		r.configuration = func(s secrets, good []passwords.Digest) string {
			text := rendered(s, good)
			if !strings.Contains(text, from) {
				t.Errorf("the configuration has no %q", from)
			}
			return strings.Replace(text, from, to, 1)
		}
	})
}

// TestAnAuditFindsWhatDiffers: nothing in what we start, and in what somebody has
// changed exactly that.
func TestAnAuditFindsWhatDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     string // all differences, a line each
	}{
		"nothing":        {"port 0", "port 0", ""},
		"a setting":      {"tracking-table-max-keys 100000", "tracking-table-max-keys 7", `"tracking-table-max-keys 100000" is wanted, the engine has "tracking-table-max-keys 7"`},
		"a save point":   {`save ""`, "save 900 1", `"save " is wanted, the engine has "save 900 1"`},
		"a limit":        {"pubsub 32mb", "pubsub 64mb", `client-output-buffer-limit`},
		"a user":         {"user redoubt ", "user mallory on nopass ~* +@all\nuser redoubt ", `the engine has "user mallory on nopass`},
		"a right":        {" -dump ", " +dump ", `"user default on`},
		"our own rights": {"+client|kill", "+client|kill +config|set", `"user redoubt on`},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := rewritten(t, c.from, c.to).Audit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range append(a.SettingsDrift(), a.UsersDrift...) {
				got = append(got, d.String())
			}
			all := strings.Join(got, "\n")
			if (c.want == "") != (all == "") || !strings.Contains(all, c.want) || len(got) > 1 {
				t.Fatalf("differences:\n%s\nwant %s", all, c.want)
			}
			if strings.Contains(all, digest(password)) || strings.Contains(strings.Join(a.Users, " "), digest(password)) {
				t.Fatal("the audit repeats a whole digest")
			}
			if strconv.Itoa(a.PID) != a.Info["process_id"] || a.Settings["maxmemory"] == "" {
				t.Fatalf("pid %d, INFO %v", a.PID, a.Info)
			}
		})
	}
}

// TestAGuestMayWhatTheApplicationMay, on keys of its own, until it is dismissed,
// or until its time is over.
func TestAGuestMayWhatTheApplicationMay(t *testing.T) {
	r := start(t, Options{})
	g, err := r.NewGuest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guest := r.raw()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"AUTH", g.User, g.Password}, "OK"},
		{[]string{"SET", GuestPrefix + "a", "1"}, "OK"},
		{[]string{"SET", "a patient's", "1"}, "NOPERM"},
		{[]string{"GET", "a patient's"}, "NOPERM"},
		{[]string{"EVAL", "return 1", "0"}, "NOPERM"},
		{[]string{"DUMP", GuestPrefix + "a"}, "NOPERM"},
	} {
		got := fmt.Sprint(guest.do(c.args...))
		if !strings.HasPrefix(got, c.want) {
			t.Fatalf("%v: %q, want %s", c.args[0], got, c.want)
		}
	}
	if a, err := r.Audit(t.Context()); err != nil || len(a.UsersDrift) > 0 {
		t.Fatalf("a guest is no drift: %v %v", a.UsersDrift, err)
	}
	if err := r.Dismiss(t.Context(), "default"); err == nil {
		t.Fatal("the application was dismissed")
	}
	if err := r.Dismiss(t.Context(), g.User); err != nil {
		t.Fatal(err)
	}
	late, err := r.NewGuest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Engine.mu.Lock()
	r.guests[late.User] = time.Now()
	r.Engine.mu.Unlock()
	waitFor(t, "the guest that nobody dismissed is gone", func() bool {
		r.Engine.mu.Lock()
		defer r.Engine.mu.Unlock()
		return len(r.guests) == 0
	})
}

// TestAGuestReachesNothingOfOthers: every command that the engine knows is sent as a
// guest, with others' keys and without, and not in a transaction. No reply names what
// is others', and nothing of theirs has changed.
func TestAGuestReachesNothingOfOthers(t *testing.T) {
	t.Parallel()
	all := everyCommand(t, start(t, Options{}, everyDoorOpen))
	for name, policy := range map[string]Policy{"plain": {}, "most open": MostOpen()} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Options{Policy: policy})
			app, heard := r.app(), r.app()
			const key, hidden = "patient:1", "HIDDEN"
			app.do("SET", key, hidden)
			app.do("HSET", "patient:2"+hidden, "field", hidden)
			if got := fmt.Sprint(heard.do("SUBSCRIBE", "channel"+hidden)); !strings.Contains(got, hidden) {
				t.Fatalf("SUBSCRIBE: %s", got)
			}
			g, err := r.NewGuest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for command, arity := range all {
				for _, fill := range []string{key, "0", "*", "channel" + hidden} {
					args := strings.Split(command, "|")
					for len(args) < max(arity, -arity) {
						args = append(args, fill)
					}
					guest := r.raw()
					if got := guest.do("AUTH", g.User, g.Password); got != "OK" {
						t.Fatalf("AUTH: %v", got)
					}
					got := fmt.Sprint(guest.do(args...))
					guest.conn.Close()
					// An error repeats what it was sent.
					if strings.Contains(strings.ReplaceAll(got, fill, ""), hidden) || command == "dbsize" && !strings.HasPrefix(got, "NOPERM") {
						t.Errorf("%q: %s", args, got)
					}
				}
			}
			if got := fmt.Sprintf("%v %v %v", app.do("GET", key), app.do("HGET", "patient:2"+hidden, "field"), app.do("DBSIZE")); got != hidden+" "+hidden+" 2" {
				t.Errorf("others' keys have changed: %s", got)
			}
			if got := fmt.Sprint(app.do("PUBLISH", "channel"+hidden, "a message")); got != "1" {
				t.Errorf("the subscriber is gone: %s", got)
			}
			if got := fmt.Sprint(heard.reply()); !strings.Contains(got, "a message") {
				t.Errorf("a guest was heard: %s", got)
			}
		})
	}
}

// TestAGuestKeepsWhatThePolicyCloses, that is to say the application's own refusal: one
// that is open by mistake is open to the guest too, who finds it.
func TestAGuestKeepsWhatThePolicyCloses(t *testing.T) {
	v := Version{productRedis, 7, 0, 15}
	for _, c := range []struct {
		policy Policy
		want   map[string]bool
	}{
		{Policy{}, map[string]bool{"-keys": true, "-flushdb": true, "-scan": true, "-publish": true, "-client|tracking": true, "-script|load": false, "-flushall": false}},
		{Policy{Deny: []string{"keys", "flushdb", "pubsub", "tracking"}, Allow: []string{"scripting"}}, map[string]bool{"-keys": false, "-flushdb": false, "-scan": true, "-publish": false, "-client|tracking": false, "-script|load": true}},
	} {
		words := guestRights(v, c.policy, nil)
		for word, want := range c.want {
			if slices.Contains(words, word) != want {
				t.Errorf("%+v: %s, want %v: %v", c.policy, word, want, words)
			}
		}
	}
}
