package lockdown

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var (
	// ErrNeverApplied says that this host has no record.
	ErrNeverApplied = errors.New("redoubt host apply was never run here, or has been undone")
	// ErrNothingPending says that nothing waits for Confirm.
	ErrNothingPending = errors.New("nothing waits to be confirmed")
	// ErrAgainst says that sshd is set otherwise by what Apply doesn't touch.
	ErrAgainst = errors.New("sshd does otherwise all the same")
)

// Options are what Apply is told.
type Options struct {
	// Within is how long a change of packet filter or sshd waits for Confirm before it
	// goes back. 0: it doesn't wait; for machines that nobody is logged in to yet.
	Within time.Duration
	// Told hears of each step as it begins.
	Told func(step string)
}

// Apply makes the host what it is to be, and returns what it changed, and until when
// that waits for Confirm (zero: it doesn't). Applied again it changes nothing. After an
// error, or killed half-way, it can be run again, or Undo.
func Apply(ctx context.Context, w Want, o Options) (done *Plan, until time.Time, err error) {
	r, unlock, err := open()
	if err != nil {
		return nil, until, err
	}
	defer unlock()
	if r != nil && r.Pending != nil && r.Pending.left() == 0 {
		if err := r.goBack(ctx); err != nil {
			return nil, until, err
		}
	}
	p, err := Look(ctx, w)
	if err != nil {
		return nil, until, err
	}
	if p.refused != nil {
		return nil, until, fmt.Errorf("nothing was changed: %w", p.refused)
	}
	if r == nil {
		r = &record{Settings: map[string]string{}}
		if r.Filter, err = firewall.Loaded(ctx); err != nil {
			return nil, until, err
		}
	}
	if len(p.Changes) == 0 && !r.Unfinished {
		if r.Pending != nil {
			until = r.Pending.until()
		}
		if r.Host != "" && !slices.Equal(r.Without, w.Without) { // less, or more, is asked for from now on
			r.Without = w.Without
			err = r.write()
		}
		return p, until, errors.Join(err, p.against())
	}
	if err := p.rehearse(ctx, w); err != nil {
		return nil, until, err
	}
	if err := r.before(ctx, w, p, o.Within); err != nil {
		return nil, until, err
	}
	if r.Pending != nil {
		if err := guard(ctx, r.Pending); err != nil {
			return nil, until, fmt.Errorf("what would put the host back can't be started, so nothing was changed: %w", err)
		}
		until = r.Pending.until()
	}
	if err := p.carryOut(ctx, w, r.Unfinished, o.Told); err != nil {
		return p, until, err
	}
	left, err := Look(ctx, w)
	if err != nil {
		return p, until, err
	}
	if len(left.Changes) > 0 {
		return p, until, fmt.Errorf("%s: it is not in force after all: something else on this host sets it", left.Changes[0].What)
	}
	r.Unfinished = false
	return p, until, errors.Join(r.write(), left.against())
}

// against is an error that names what the drop-in can't change.
func (p *Plan) against() error {
	if len(p.Against) == 0 {
		return nil
	}
	var all []string
	for _, fault := range p.Against {
		all = append(all, fault.String())
	}
	return fmt.Errorf("%w, and apply changes only what is its own: take away what sets it, and have sshd read its files again: %s", ErrAgainst, strings.Join(all, "; "))
}

// rehearse has the programs that will read the files read them first.
func (p *Plan) rehearse(ctx context.Context, w Want) error {
	for _, f := range p.wanted {
		switch f.path {
		case host.SSHDropInPath:
			if err := checkSSHD(ctx, f.text); err != nil {
				return fmt.Errorf("sshd would not take the drop-in, so nothing was changed: %w", err)
			}
		case FilterPath:
			if err := w.Rules.Check(ctx); err != nil {
				return fmt.Errorf("the packet filter can't be loaded, so nothing was changed: %w", err)
			}
		}
	}
	return nil
}

// before writes down what is there.
func (r *record) before(ctx context.Context, w Want, p *Plan, within time.Duration) error {
	r.Host, r.Program, r.Without, r.Unfinished, r.WentBack = w.Rules.Host, w.Program, w.Without, true, nil
	for _, s := range p.files {
		keep(&r.Files, s)
	}
	for _, s := range p.settings {
		if _, known := r.Settings[s.path]; !known {
			have, _, err := s.read()
			if err != nil {
				return err
			}
			r.Settings[s.path] = have
		}
	}
	for _, path := range p.swaps {
		if !slices.Contains(r.Swaps, path) {
			r.Swaps = append(r.Swaps, path)
		}
	}
	if within > 0 && slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Part.locksOut() }) {
		if r.Pending == nil { // else it goes back to what was confirmed last
			filter, err := firewall.Loaded(ctx)
			if err != nil {
				return err
			}
			r.Pending = &pending{Filter: filter}
		}
		r.Pending.Deadline, r.Pending.Boot = sinceBoot()+within, bootID()
		for _, s := range p.files {
			if s.Part.locksOut() {
				keep(&r.Pending.Files, s)
			}
		}
	}
	return r.write()
}

// carryOut makes the changes, part by part. If an earlier one was killed on its way,
// what was written then may not have been read by its program yet.
func (p *Plan) carryOut(ctx context.Context, w Want, again bool, told func(string)) error {
	for _, part := range Parts {
		if slices.Contains(w.Without, part) {
			continue
		}
		wrote := again
		for _, f := range p.wanted {
			if f.part == part {
				told(f.path)
				if err := put(f); err != nil {
					return err
				}
				wrote = true
			}
		}
		if err := p.activate(ctx, w, part, wrote, told); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	told("systemd reads its units again")
	if err := reloadUnits(ctx); err != nil {
		return err
	}
	if p.keeper {
		told(keeperUnit + " is started")
		return command(ctx, "", "systemctl", "start", keeperUnit)
	}
	return nil
}

func (p *Plan) activate(ctx context.Context, w Want, part Part, wrote bool, told func(string)) error {
	switch part {
	case Kernel:
		for _, s := range p.settings {
			told(s.path)
			if err := s.write(s.want); err != nil {
				return err
			}
		}
	case Swap:
		for _, path := range p.swaps {
			told("swapoff " + path)
			if err := command(ctx, "", "swapoff", path); err != nil {
				return err
			}
		}
	case SSH:
		if wrote {
			told("sshd reads its configuration again")
			return reloadSSHD(ctx)
		}
	case Firewall:
		if wrote || p.filter {
			told("the packet filter is loaded")
			return w.Rules.Load(ctx)
		}
	}
	return nil
}

// Confirm lets stay what Apply changed. Past the deadline it goes back all the same,
// should it still be there.
func Confirm(ctx context.Context) error {
	r, unlock, err := open()
	if err != nil {
		return err
	}
	defer unlock()
	if r == nil || r.Pending == nil {
		return ErrNothingPending
	}
	if r.Pending.left() == 0 {
		if err := r.goBack(ctx); err != nil {
			return err
		}
		return ErrNothingPending
	}
	r.Pending = nil
	return r.write()
}

// goBack puts packet filter and sshd back as they were before what is pending.
func (r *record) goBack(ctx context.Context) error {
	errs := restore(r.Pending.Files)
	errs = append(errs, firewall.Restore(ctx, r.Pending.Filter), reloadSSHD(ctx), reloadUnits(ctx), endKeeper(ctx))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	now := time.Now().Round(time.Second)
	r.Pending, r.WentBack, r.Unfinished = nil, &now, false
	return r.write()
}

// restore puts files back, the last that was changed first.
func restore(files []saved) (errs []error) {
	for _, s := range slices.Backward(files) {
		errs = append(errs, s.restore())
	}
	return errs
}

// Undo puts the host back as the first Apply found it, and forgets.
func Undo(ctx context.Context) error {
	r, unlock, err := open()
	if err != nil {
		return err
	}
	defer unlock()
	if r == nil {
		return ErrNeverApplied
	}
	errs := restore(r.Files)
	for path, value := range r.Settings {
		errs = append(errs, setting{path: path}.write(value))
	}
	for _, path := range r.Swaps {
		errs = append(errs, swapOn(ctx, path))
	}
	errs = append(errs, firewall.Restore(ctx, r.Filter), reloadSSHD(ctx), reloadUnits(ctx), endKeeper(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("not all is back; redoubt host undo can be run again: %w", err)
	}
	return forget()
}

// Boot is the host's start: what nobody confirmed before goes back, then the packet
// filter is loaded. Where that can't be, the host is closed but for ssh, as far as nft
// can at all, and the error ends the unit that the gateway's requires. told hears of a
// record that can't be read: then nothing goes back, and the filter is loaded.
func Boot(ctx context.Context, told func(string)) error {
	r, unlock, err := open()
	if err != nil {
		told(err.Error())
	} else {
		defer unlock()
		if r != nil && r.Pending != nil && r.Pending.Boot != bootID() {
			return r.goBack(ctx) // the table too, whatever it was
		}
	}
	if err := loadFile(ctx, FilterPath); err != nil {
		return errors.Join(err, loadFile(ctx, closedPath))
	}
	return nil
}

func loadFile(ctx context.Context, path string) error { return command(ctx, "", "nft", "-f", path) }
