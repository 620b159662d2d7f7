package secret

import (
	"log/slog"
	"slices"
	"time"

	"github.com/redoubt-cache/redoubt/internal/passwords"
)

// A Follower tells what a digests file says at any moment. What the file can't
// be believed in is said in the log, once, and the last good set stays.
type Follower struct {
	path    string
	log     *slog.Logger
	set     passwords.Set
	refused string    // why the file is not believed as it is; "": it is
	latest  time.Time // a clock that is set back does not bring an ended password back
}

// Follow reads the file, which must be good.
func Follow(path string, log *slog.Logger) (*Follower, error) {
	set, err := Read(path)
	if err != nil {
		return nil, err
	}
	return &Follower{path: path, log: log, set: set}, nil
}

// Good is the passwords that are good now. It reads the file each time, which is
// a few bytes, so that no change of it, its mode or its owner goes unseen. One
// goroutine calls it at a time.
func (f *Follower) Good() []passwords.Digest {
	set, err := Read(f.path)
	switch {
	case err != nil && err.Error() != f.refused:
		f.refused = err.Error()
		f.log.Error("the passwords' digests are not believed, the last good ones stay", "cause", err)
	case err == nil:
		if f.refused != "" {
			f.log.Info("the passwords' digests are believed again", "file", f.path)
		}
		f.refused = ""
		if !slices.Equal(set, f.set) {
			f.set, f.latest = set, time.Time{} // somebody has just looked at the ends
		}
	}
	return f.at(time.Now())
}

func (f *Follower) at(now time.Time) []passwords.Digest {
	now = now.Round(0) // by the wall clock, whatever the monotonic one says
	if now.After(f.latest) {
		f.latest = now
	}
	return f.set.Good(f.latest)
}
