package lockdown

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/firewall"
	"github.com/redoubt-cache/redoubt/internal/host"
)

// A Change is one thing that is not as it is to be.
type Change struct {
	Part   Part
	What   string // a path, or what else is changed
	Have   string // its text; "" if it isn't there
	Want   string
	IsText bool // Have and Want are whole files, or lists of rules
}

// A Plan is what Apply would do.
type Plan struct {
	Changes []Change
	// Against are what sshd would do otherwise than is wanted, and the drop-in can't
	// change: who set it, a Match, an earlier file or sshd's arguments, must take it away.
	Against []host.SSHFault
	Notes   []string // what a person should know before, or has to see to

	files    []saved // of the changes that are files, as they are
	wanted   []file
	settings []setting
	swaps    []string
	filter   bool  // the table in force is another one
	keeper   bool  // the service that keeps it isn't running
	refused  error // why Apply changes nothing
}

// State is what a host knows of itself.
type State struct {
	Applied    bool
	Host       string
	Program    string // as Want has it
	Without    []Part
	Unfinished bool
	Until      time.Time     // the deadline of what waits for Confirm; zero: nothing does
	Left       time.Duration // until then; 0: it is past
	WentBack   time.Time     // when something was not confirmed; zero: never
}

// Known reads the host's record.
func Known() (s State, err error) {
	r, err := read()
	if r == nil || err != nil {
		return s, err
	}
	s.Applied, s.Host, s.Program, s.Without, s.Unfinished = true, r.Host, r.Program, r.Without, r.Unfinished
	if r.Pending != nil {
		s.Until, s.Left = r.Pending.until(), r.Pending.left()
	}
	if r.WentBack != nil {
		s.WentBack = *r.WentBack
	}
	return s, nil
}

// Look compares the host with what it is to be, and changes nothing.
func Look(ctx context.Context, w Want) (*Plan, error) {
	p := new(Plan)
	for _, f := range w.files() {
		have, err := save(f.part, f.path)
		if err != nil {
			return nil, err
		}
		if have.is(f) {
			continue
		}
		p.files, p.wanted = append(p.files, have), append(p.wanted, f)
		p.Changes = append(p.Changes, fileChange(have, f))
	}
	for _, s := range w.settings() {
		have, known, err := s.read()
		if err != nil {
			return nil, err
		}
		switch {
		case !known:
			p.note("this kernel has no %s", s.path)
		case have == s.want:
		case readOnly(s.path):
			p.note("%s is %q and not %q: in a container it is set on the machine outside", s.path, have, s.want)
		default:
			p.settings = append(p.settings, s)
			p.Changes = append(p.Changes, Change{Part: s.part, What: s.path, Have: have, Want: s.want})
		}
	}
	if !slices.Contains(w.Without, Swap) {
		swaps, err := host.Swaps()
		if err != nil {
			return nil, err
		}
		for _, s := range swaps {
			if !s.Encrypted {
				p.swaps = append(p.swaps, s.Path)
				p.Changes = append(p.Changes, Change{Part: Swap, What: "swap on " + s.Path, Have: "on", Want: "off"})
			}
		}
	}
	if !slices.Contains(w.Without, Firewall) {
		have, want, err := w.Rules.ReadBack(ctx)
		if err != nil && !errors.Is(err, firewall.ErrNoTable) {
			return nil, err
		}
		if p.filter = err != nil || !slices.Equal(have, want); p.filter {
			p.Changes = append(p.Changes, Change{Part: Firewall, What: "the packet filter in force (table inet redoubt)", Have: lines(have), Want: lines(want), IsText: true})
		}
		if p.keeper = withSystemd() && !active(ctx, keeperUnit); p.keeper {
			p.Changes = append(p.Changes, Change{Part: Firewall, What: keeperUnit, Have: "not running", Want: "running"})
		}
		if err := p.lookForSSH(ctx, w); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return slices.Index(Parts, a.Part) - slices.Index(Parts, b.Part) })
	ssh, err := p.askSSH(ctx, w)
	if err != nil {
		return nil, err
	}
	p.forewarn(ctx, w, ssh)
	return p, nil
}

// askSSH holds what sshd says it would do for everybody who could come against what is
// wanted. While the drop-in isn't there yet, only what it won't mend counts.
func (p *Plan) askSSH(ctx context.Context, w Want) (*host.SSH, error) {
	if slices.Contains(w.Without, SSH) {
		return nil, nil
	}
	ssh, err := host.AskSSH(ctx, w.Rules.Bastions)
	if errors.Is(err, host.ErrNoSSHD) {
		return nil, nil
	}
	if errors.Is(err, host.ErrSSHDNotStarted) {
		p.note("%v", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sshd can't be asked what it is set to: %w", err)
	}
	lies := !slices.ContainsFunc(p.wanted, func(f file) bool { return f.path == host.SSHDropInPath })
	for _, fault := range ssh.Faults(w.Forwards...) {
		if fault.Lasts || lies {
			p.Against = append(p.Against, fault)
		}
	}
	for _, left := range ssh.Unasked {
		p.note("sshd was not asked about all that could come, so nothing proves that it does what is wanted there: %s", left)
	}
	return ssh, nil
}

// readOnly says whether nobody can write there, as in a container.
func readOnly(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		f.Close()
	}
	return errors.Is(err, syscall.EROFS)
}

func fileChange(have saved, f file) Change {
	c := Change{Part: f.part, What: f.path, Have: string(have.Text), Want: f.text, IsText: true}
	if have.Kind == symlink {
		c.Have = "a link to " + have.Link + "\n"
	}
	if f.link != "" {
		c.Want = "a link to " + f.link + "\n"
	}
	if have.Kind == regular && c.Have == c.Want { // its mode, or owner
		c.Have, c.Want, c.IsText = have.Mode.String(), f.mode.String()+", root's", false
	}
	return c
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
