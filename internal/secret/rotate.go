package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
	"github.com/redoubt-cache/redoubt/internal/statedir"
)

// A Rotation is what Rotate did.
type Rotation struct {
	Name   string    `json:"name"`  // of the new password
	Until  time.Time `json:"until"` // when those before it end, at the latest
	AppEnv string    `json:"file"`
}

// A step is a change that stands by itself: the process may end behind it.
type step struct {
	name string
	do   func() error
}

// Rotate gives the application a new password. Those before it are good until
// the overlap is over. taken, if there is one, is called when the new password
// is in the digests file, and returns once the cache takes it; only then the
// application's file has it.
func (f Files) Rotate(overlap time.Duration, now time.Time, taken func(pw string) error) (Rotation, error) {
	if overlap < 0 {
		return Rotation{}, errors.New("the overlap is negative")
	}
	lock, err := f.lock()
	if err != nil {
		return Rotation{}, err
	}
	defer lock.Close()
	set, err := Read(f.Digests)
	if err != nil {
		return Rotation{}, err
	}
	fresh := statedir.NewPassword()
	digest := passwords.Of([]byte(fresh))
	end := now.Add(overlap).Truncate(time.Second)
	for _, s := range f.steps(set, fresh, end, now, taken) {
		if err := s.do(); err != nil {
			return Rotation{}, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return Rotation{Name: digest.Name(), Until: end, AppEnv: f.AppEnv}, nil
}

// steps is a rotation, in the order that makes each cut harmless: a password is
// good before the application has it, and ends only after the application has
// another (docs/decisions/0062).
func (f Files) steps(set passwords.Set, fresh string, end, now time.Time, taken func(string) error) []step {
	digest := passwords.Of([]byte(fresh))
	both := f.sweep(set, end).Living(now).With(digest)
	steps := []step{{"make the new password good", func() error {
		if _, err := f.env(fresh); err != nil { // before anything is changed
			return err
		}
		return f.write(both)
	}}}
	if taken != nil {
		steps = append(steps, step{"see the cache take it", func() error { return taken(fresh) }})
	}
	if f.Password != "" {
		steps = append(steps, step{"keep it", func() error {
			return statedir.WriteFile(f.Password, []byte(fresh+"\n"), 0o600)
		}})
	}
	return append(steps,
		step{"give it to the application", func() error {
			env, err := f.env(fresh)
			if err != nil {
				return err
			}
			return statedir.RewriteFile(f.AppEnv, env, 0o600)
		}},
		step{"have the others end", func() error { return f.write(both.EndOthers(end, digest).Living(now)) }})
}

// sweep has those passwords end that are left of rotations which were cut: they
// have no end, and neither the application's file nor the deployment has them.
func (f Files) sweep(set passwords.Set, end time.Time) passwords.Set {
	given, err := f.given()
	if err != nil {
		return set // there is none yet, or it is refused later on
	}
	inUse := []passwords.Digest{passwords.Of([]byte(given))}
	if _, has := set.Has(inUse[0]); !has {
		return set // the file of another deployment: it says nothing of this one
	}
	if f.Password != "" {
		kept, err := statedir.ReadPassword(f.Password)
		if err != nil {
			return set
		}
		inUse = append(inUse, passwords.Of([]byte(kept)))
	}
	return set.EndOthers(end, inUse...)
}

// lock keeps other rotations out until it is closed.
func (f Files) lock() (*os.File, error) {
	lock, err := statedir.LockDir(filepath.Dir(f.Digests))
	if errors.Is(err, statedir.ErrInUse) {
		return nil, fmt.Errorf("%s: %w, which changes the passwords: let it end, then try again", f.Digests, err)
	}
	return lock, err
}

// Retire ends an overlap now: every password that has an end is no longer good.
// It says how many those were.
func (f Files) Retire() (ended int, err error) {
	lock, err := f.lock()
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	set, err := Read(f.Digests)
	if err != nil {
		return 0, err
	}
	lasting := set.Retire()
	if len(lasting) == len(set) {
		return 0, fmt.Errorf("%s has no password with an end: there is no overlap (redoubt secret rotate begins one)", f.Digests)
	}
	return len(set) - len(lasting), f.write(lasting)
}
