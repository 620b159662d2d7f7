package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// watchEvery is how often the files are looked at. A revocation takes effect
// within a second, this and what loading takes included.
const watchEvery = 250 * time.Millisecond

// Reload takes in what the files say now. When that could not work, or knows
// less than what is in force, the error says why and all stays as it is, but for
// revocations: those are taken in if they are good, whatever is wrong beside.
// Of credentials without files it changes nothing.
func (c *Credentials) Reload() error {
	if c.files == (Files{}) { // Replace is their way
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.state.Load()
	next, err := load(c.files, c.rules)
	if err == nil && next.id != c.id {
		err = fmt.Errorf("%s is the certificate of %s, and this is %s (restart to become another)", c.files.Certificate, next.id, c.id)
	}
	if err != nil {
		next = c.revoking(before)
	}
	if next == nil {
		return fmt.Errorf("tunnel credentials: %w", err)
	}
	if err := next.revoked.follow(before.revoked, next.roots); err != nil {
		return fmt.Errorf("tunnel credentials: %s: %w", c.files.CRL, err)
	}
	c.state.Store(next)
	close(c.changed)
	c.changed = make(chan struct{})
	if err != nil {
		return fmt.Errorf("tunnel credentials: %w", err)
	}
	return nil
}

// revoking is what is in force with the revocations that the file has now; nil
// if those are no good or no news.
func (c *Credentials) revoking(before *snapshot) *snapshot {
	revoked, lists, err := readRevocations(c.files.CRL, before.roots)
	if err != nil || revoked.equal(before.revoked) {
		return nil
	}
	next := *before
	next.revoked, next.lists = revoked, lists
	return &next
}

// Changed returns a channel that is closed when something else is in force than
// at the time of the call.
func (c *Credentials) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Watch takes in what changes in the files, until ctx ends: a part of the
// process that never fails. What can't be taken in is told to the log, and so is
// the end of the certificate as it comes near.
func (c *Credentials) Watch(ctx context.Context, log *slog.Logger) {
	w := watch{credentials: c, log: log, told: c.state.Load(), seen: c.look(), nearly: warnFirst}
	w.reload() // what changed since the files were loaded
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.turn(time.Now())
		}
	}
}

// watch is what Watch remembers.
type watch struct {
	credentials *Credentials
	log         *slog.Logger
	told        *snapshot // what the log knows to be in force
	seen        stamps
	complaint   string    // why the files were not taken in; "" when they were
	forgetful   string    // why the newest lists' numbers could not be written down
	revoked     string    // the last complaint of our own certificate's revocation
	overdue     time.Time // the last one told, of lists
	end         time.Time // of the certificate that warnings are about
	nearly      int       // the next warning comes when a nearly-th of its life is left
}

func (w *watch) turn(now time.Time) {
	// What is wrong may pass by itself: a date that comes, a file's mode.
	if seen := w.credentials.look(); seen != w.seen || w.complaint != "" {
		w.seen = seen // as it was before the files were read: a change since is seen next time
		w.reload()
	}
	w.tell()
	w.warn(now)
}

func (w *watch) reload() {
	err := w.credentials.Reload()
	if err != nil && err.Error() != w.complaint {
		w.log.Error("the certificate files are not taken in, what was in force stays", "cause", err)
	}
	if w.complaint = ""; err != nil {
		w.complaint = err.Error()
	}
	w.remember()
}

// remember writes down which lists are in force, so that no older ones are taken
// after a restart.
func (w *watch) remember() {
	err := w.credentials.remember()
	if err != nil && err.Error() != w.forgetful {
		w.log.Error("it can't be written down which list of revoked certificates is in force: after a restart an older one would be believed", "cause", err)
	}
	if w.forgetful = ""; err != nil {
		w.forgetful = err.Error()
	}
}

// tell tells what has come into force, through whomever.
func (w *watch) tell() {
	before, now := w.told, w.credentials.state.Load()
	if before == now {
		return
	}
	w.told = now
	w.remember()
	if !now.pair.Leaf.Equal(before.pair.Leaf) {
		w.log.Info("a new certificate is in use", "identity", now.id, "until", now.pair.Leaf.NotAfter)
	}
	if !now.pool.Equal(before.pool) {
		w.log.Info("other CAs are believed", "count", len(now.roots))
	}
	if had, has := before.revoked.count(), now.revoked.count(); had != has {
		w.log.Info("the list of revoked certificates has changed", "before", had, "now", has)
	}
}

// warnFirst is the part of a certificate's life that is left at the first
// warning: its renewal is overdue then, which is tried from a third on. Each
// further warning comes when what is left has halved.
const warnFirst = 4

// issuedBack is how far our CA's certificates reach back before their issue: no
// part of their life (pki.ClockSkew).
const issuedBack = 5 * time.Minute

func (w *watch) warn(now time.Time) {
	w.warnOfRevocations(now)
	leaf := w.credentials.state.Load().pair.Leaf
	if !leaf.NotAfter.Equal(w.end) {
		w.end, w.nearly = leaf.NotAfter, warnFirst
	}
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)-issuedBack
	if w.nearly == 0 || left > max(life, 0)/time.Duration(w.nearly) {
		return
	}
	if left <= 0 {
		w.log.Error("this host's certificate has expired: no peer takes it any more", "identity", w.credentials.id, "expired", leaf.NotAfter)
		w.nearly = 0
		return
	}
	w.log.Warn("this host's certificate ends soon and has not been renewed", "identity", w.credentials.id, "until", leaf.NotAfter, "left", left.Round(time.Second))
	w.nearly *= 2
}

func (w *watch) warnOfRevocations(now time.Time) {
	s := w.credentials.state.Load()
	revoked := ""
	if err := s.ownRevoked(); err != nil {
		revoked = err.Error()
	}
	if revoked != "" && revoked != w.revoked {
		w.log.Error("this host's own certificate is revoked", "cause", revoked)
	}
	w.revoked = revoked
	if since := s.revoked.overdue(now); !since.Equal(w.overdue) {
		if w.overdue = since; !since.IsZero() {
			w.log.Error("the list of revoked certificates has ended, and no newer one came: who was revoked since is let in", "file", w.credentials.files.CRL, "ended", since)
		}
	}
}

// stamps are what changes with the files.
type stamps [4]stamp

type stamp struct {
	inode    uint64
	size     int64
	modified time.Time
}

func (c *Credentials) look() stamps {
	var s stamps
	for i, path := range []string{c.files.Certificate, c.files.Key, c.files.CA, c.files.CRL} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{size: info.Size(), modified: info.ModTime()}
			if sys, ok := info.Sys().(*syscall.Stat_t); ok {
				s[i].inode = sys.Ino
			}
		}
	}
	return s
}
