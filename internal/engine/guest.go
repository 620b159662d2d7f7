package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// A Guest is a user of the engine for a short time: what "redoubt verify" attacks
// it as. It may do what the application may, but on keys of its own, and nothing of
// what has no key and reaches others' (notForGuests).
type Guest struct {
	User     string `json:"user"`
	Password string `json:"password"` // random, in memory on both sides
	Socket   string `json:"socket"`   // path of the engine's socket
}

// GuestPrefix begins every key that a guest may touch.
const GuestPrefix = "redoubt:verify:"

// notForGuests are commands that the permission of a key doesn't hold back: they see,
// or change, what is others'. A guest loses those that the policy opens; the others it
// keeps as the application has them, so that one that is open by mistake is found.
var notForGuests = []struct {
	categories []string // by which the application may have them or not, beside their names
	commands   []string
}{
	{[]string{"@read"}, []string{"scan", "randomkey", "dbsize"}},
	{[]string{"@read", "@dangerous"}, []string{"keys"}},
	{[]string{"@write", "@dangerous"}, []string{"flushdb"}},
	{[]string{"@write"}, []string{"pfmerge"}}, // without sources its key isn't checked (seen on 7.0.15), and is made
	{[]string{"@pubsub"}, []string{
		"publish", "spublish", "subscribe", "psubscribe", "ssubscribe",
		"pubsub|channels", "pubsub|numpat", "pubsub|numsub", "pubsub|shardchannels", "pubsub|shardnumsub",
	}},
	// Invalidations name the keys that others write (BCAST), and may be sent to others.
	{[]string{"@connection"}, []string{"client|tracking", "client|caching"}},
	// Code that all run.
	{[]string{"@scripting"}, []string{"script|load", "function|load", "function|list"}},
}

// guestRights is the application's rights on the guest's keys and channels.
func guestRights(v Version, p Policy, rights []string) []string {
	words := slices.Clone(rights)
	for _, group := range notForGuests {
		for _, name := range group.commands {
			if p.Opens(v, name, group.categories) {
				words = append(words, "-"+name)
			}
		}
	}
	return append(words, "resetkeys", "~"+GuestPrefix+"*", "resetchannels", "&"+GuestPrefix+"*")
}

// guestLife is how long a guest may stay that was not dismissed: its verification
// died.
const guestLife = 2 * time.Minute

const guestName = "redoubt-verify-" // and random digits

// NewGuest makes a guest. Dismiss it when it is done.
func (e *Engine) NewGuest(ctx context.Context) (Guest, error) {
	c, secret, err := e.supervise(ctx)
	if err != nil {
		return Guest{}, err
	}
	defer c.close()
	var b [32]byte
	rand.Read(b[:])
	g := Guest{User: guestName + hex.EncodeToString(b[:4])}
	rand.Read(b[:])
	g.Password = hex.EncodeToString(b[:])

	e.mu.Lock()
	policy := e.policy
	g.Socket = e.socket
	e.guests[g.User] = time.Now().Add(guestLife)
	e.mu.Unlock()

	words := append([]string{secret.acl, "SETUSER", g.User, "reset"}, guestRights(e.version, policy, e.rights(policy))...)
	words = append(words, "#"+passwords.Of([]byte(g.Password)).String())
	if err := c.do(ctx, pingPatience, words...); err != nil {
		return Guest{}, fmt.Errorf("engine: make a guest: %w", err)
	}
	return g, nil
}

// Dismiss ends a guest and its connections.
func (e *Engine) Dismiss(ctx context.Context, user string) error {
	e.mu.Lock()
	_, is := e.guests[user]
	e.mu.Unlock()
	if !is { // nobody else is ended by this road
		return fmt.Errorf("engine: %q is no guest", user)
	}
	c, secret, err := e.supervise(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	return e.dismiss(ctx, c, secret.acl, user)
}

func (e *Engine) dismiss(ctx context.Context, c *control, acl, user string) error {
	if err := c.do(ctx, pingPatience, acl, "DELUSER", user); err != nil {
		return fmt.Errorf("engine: end a guest: %w", err)
	}
	e.mu.Lock()
	delete(e.guests, user)
	e.mu.Unlock()
	return nil
}

// dismissLate ends the guests that nobody has dismissed. It goes over the
// connection that the supervisor holds anyhow: to fail there ends the engine.
func (e *Engine) dismissLate(ctx context.Context, c *control, acl string) error {
	e.mu.Lock()
	guests := maps.Clone(e.guests)
	e.mu.Unlock()
	for user, until := range guests {
		if time.Now().After(until) {
			if err := e.dismiss(ctx, c, acl, user); err != nil {
				return err
			}
		}
	}
	return nil
}
