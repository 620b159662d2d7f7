package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// A Guest is a user of the engine for a short time: what "redoubt verify" attacks
// it as. It may do exactly what the application may, but on keys of its own.
type Guest struct {
	User     string `json:"user"`
	Password string `json:"password"` // random, in memory on both sides
	Socket   string `json:"socket"`   // path of the engine's socket
}

// GuestPrefix begins every key that a guest may touch.
const GuestPrefix = "redoubt:verify:"

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
	g.Socket = e.socket
	e.guests[g.User] = time.Now().Add(guestLife)
	e.mu.Unlock()

	words := append([]string{secret.acl, "SETUSER", g.User, "reset"}, e.rights...)
	words = append(words, "resetkeys", "~"+GuestPrefix+"*", "resetchannels", "&"+GuestPrefix+"*", "#"+passwords.Of([]byte(g.Password)).String())
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
