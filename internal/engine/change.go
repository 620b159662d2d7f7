package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Another policy for an engine that runs. The supervisor puts it in force over its own
// connection, between two signs of life, so that nothing else that it tells the engine
// comes between. What a policy takes away holds for connections that exist from the same
// moment on: the engine looks at a user's rights with each command, those in a MULTI
// once more at EXEC. Who has something under way that no command is needed for, and that
// is now closed (a subscription, invalidations), is ended.
//
// Bounds are settings of the engine, which nobody may change: no user has CONFIG SET. For
// the moment of one command the supervisor gives that right to itself, and then has the
// rights again that it always has. That opens nothing: who holds the supervisor's
// password may change users anyhow, and with that give itself whatever it likes
// (docs/decisions/0181).

// order is a policy that somebody wants in force.
type order struct {
	policy Policy
	done   chan<- error // has room for the one answer
}

// ErrAway says that the engine doesn't answer now.
var ErrAway = errors.New("engine: it doesn't answer just now (its supervisor restarts it; the log says why): try again when redoubt status says that it is up")

// Change puts another policy in force, or changes nothing and says why. What is fixed for
// the life of an engine, the number of clients, must be as it is. What has been begun isn't
// given up at the end of ctx: each of its few commands has a bound of its own.
func (e *Engine) Change(ctx context.Context, p Policy) error {
	p, warning, err := p.suits()
	if err != nil {
		return err
	}
	if warning != "" {
		e.options.Log.Warn(warning)
	}
	e.auditing.Lock() // who audits sees the one or the other
	defer e.auditing.Unlock()
	was := e.inForce()
	if p.MaxClients != was.MaxClients {
		return fmt.Errorf("engine: the number of clients is %d for as long as the engine runs", was.MaxClients)
	}
	e.mu.Lock()
	up := e.answers
	e.mu.Unlock()
	if !up {
		return ErrAway
	}
	done := make(chan error, 1)
	select {
	case e.orders <- order{p, done}:
	case <-ctx.Done():
		return ErrAway
	}
	err = <-done
	switch {
	case errors.Is(err, errBusy):
		return errors.New("engine: a script keeps it busy, so that it can't be told anything: try again when that is over")
	case err != nil:
		return fmt.Errorf("engine: the other policy could not be put in force: %w", err)
	}
	opened, closed := turned(was, p)
	e.options.Log.Info("the engine's policy has changed", "opened", opened, "closed", closed, "memory", p.Memory, "max_value", p.MaxValue)
	return nil
}

// Suits says why an engine with the policy could not run here.
func (p Policy) Suits() error {
	_, _, err := p.suits()
	return err
}

// suits says whether an engine with the policy could run here, and gives it with its
// defaults.
func (p Policy) suits() (_ Policy, warning string, err error) {
	if err := p.Validate(); err != nil {
		return p, "", err
	}
	p = p.withDefaults()
	warning, err = p.fits(room())
	return p, warning, err
}

func (e *Engine) inForce() Policy {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.policy
}

// turned is what another policy opens and closes, by name.
func turned(from, to Policy) (opened, closed []string) {
	was, is := from.switches(), to.switches()
	lacks := func(list []Opening, o Opening) bool {
		return !slices.ContainsFunc(list, func(other Opening) bool { return other.Name == o.Name })
	}
	for _, o := range is {
		if lacks(was, o) {
			opened = append(opened, o.Name)
		}
	}
	for _, o := range was {
		if lacks(is, o) {
			closed = append(closed, o.Name)
		}
	}
	return opened, closed
}

// obey puts a policy in force and answers. Its error is one that the supervisor can't
// live with: an engine that refuses something is told what it had before.
func (u *users) obey(ctx context.Context, o order) error {
	err := u.put(ctx, u.policy, o.policy)
	var refused refusedError
	switch {
	case err == nil:
		u.policy = o.policy
		u.engine.mu.Lock()
		u.engine.policy = o.policy
		u.engine.mu.Unlock()
	case errors.As(err, &refused):
		if back := u.put(ctx, u.policy, u.policy); back != nil {
			o.done <- errors.Join(err, back)
			return back
		}
		o.done <- err
		return nil
	}
	o.done <- err
	return err
}

// put tells the engine a policy. Each step may be repeated; until the last is done the
// engine has neither wholly (torn), and follow tells it again what it ought to have.
func (u *users) put(ctx context.Context, from, to Policy) error {
	again := u.torn
	u.torn = true
	// Settings first: they are what an engine may refuse.
	if err := u.set(ctx, from, to, again); err != nil {
		return err
	}
	for _, user := range appUsers(u.engine.rights(to), u.has) {
		words := append([]string{u.secret.acl, "SETUSER", user[0]}, user[1:]...)
		if err := u.control.do(ctx, pingPatience, words...); err != nil {
			return err
		}
	}
	if again {
		from = MostOpen() // nobody knows what was open meanwhile
	}
	if err := u.endClosed(ctx, from, to); err != nil {
		return err
	}
	u.torn = false
	return nil
}

// set changes the settings that differ, all at once; with all, every one that a policy
// makes and that can be set.
func (u *users) set(ctx context.Context, from, to Policy, all bool) (err error) {
	was, is := boundsByName(from), boundsByName(to)
	words := []string{u.secret.config, "SET"}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if name != "maxclients" && (all || was[name] != is[name]) {
			words = append(words, name, is[name])
		}
	}
	if len(words) == 2 {
		return nil
	}
	own := func(ctx context.Context, rights string) error {
		return u.control.do(ctx, pingPatience, append([]string{u.secret.acl, "SETUSER", supervisor}, strings.Fields(rights)...)...)
	}
	if err := own(ctx, supervisorRights+" +config|set"); err != nil {
		return err
	}
	defer func() {
		// Whatever came of it, and whoever waits: the right is taken back.
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingPatience)
		defer cancel()
		switch back := own(patient, supervisorRights); {
		case errors.Is(back, errBusy): // nor can it be used now; follow takes it back
			err = errBusy
		case back != nil:
			// Not err, which may be one to live with: with the right out it is none.
			err = fmt.Errorf("the right to change settings could not be taken back: %s", back)
		}
	}()
	return u.control.do(ctx, pingPatience, words...)
}

// boundsByName is the settings that the policy's numbers make.
func boundsByName(p Policy) map[string]string {
	settings := map[string]string{}
	for _, line := range bounds(p) {
		name, value, _ := strings.Cut(line, " ")
		settings[name] = value
	}
	return settings
}

// endClosed ends the connections that have something under way which is closed now.
func (u *users) endClosed(ctx context.Context, from, to Policy) error {
	_, closed := turned(from, to)
	flags := ""
	if slices.Contains(closed, "pubsub") {
		flags += "P"
	}
	if slices.Contains(closed, "tracking") {
		flags += "t"
	}
	if flags == "" {
		return nil
	}
	var ids []int64
	err := u.control.clients(ctx, func(c connection) {
		if c.user != supervisor && strings.ContainsAny(c.flags, flags) {
			ids = append(ids, c.id)
		}
	})
	if err != nil {
		return err
	}
	ended, err := u.end(ctx, ids)
	if err == nil && ended > 0 {
		u.log.Info("connections that held what is closed now were ended", "connections", ended)
	}
	return err
}
