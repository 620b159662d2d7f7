//go:build simulation

package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"
)

// ByHand is a sidecar that a simulation turns (test/simulation). It listens nowhere.
type ByHand struct {
	car *Sidecar
	cut context.CancelFunc
	due []time.Time // by loop: when it has something to do without an event; zero: never
}

// NewByHand makes one. What would be done in goroutines is handed to start.
func NewByHand(o Options, start func(func())) (*ByHand, error) {
	c, err := newSidecar(o)
	if err != nil {
		return nil, err
	}
	c.start = start
	for _, l := range c.loops {
		l.buf, l.plain = scratch.buf[:], scratch.plain[:]
	}
	b := &ByHand{car: c, due: make([]time.Time, len(c.loops))}
	c.hard, b.cut = context.WithCancel(context.Background())
	return b, nil
}

// The bounds of what is unread (unread.go) are a 16th in a simulation, so that they are met
// by replies that it can afford.
const (
	bulkyReply    = 16 << 10
	unreadShared  = 64 << 10
	unreadPrivate = 16 << 10
	seizeAt       = 256 << 10
)

// mostDue is above what may be due to a guest on a shared lane when it leaves it: some of
// the largest replies that there are.
const mostDue = 4 << 20

// scratch is for all loops, since only one turns at a time.
var scratch struct{ buf, plain [readSize]byte }

// Loops is how many it has.
func (b *ByHand) Loops() int { return len(b.car.loops) }

// Welcome makes a guest of a connection.
func (b *ByHand) Welcome(fd int) {
	b.car.deal(fd, &net.UnixAddr{Name: "application", Net: "unix"}, nil)
}

// Ready says whether a turn of a loop would do something now.
func (b *ByHand) Ready(loop int) bool {
	l := b.car.loops[loop]
	return l.poll.Pending() || len(l.again) > 0 || !b.due[loop].IsZero() && !time.Now().Before(b.due[loop])
}

// Due is when a loop has something to do without an event; negative: never.
func (b *ByHand) Due(loop int) time.Duration {
	if b.due[loop].IsZero() {
		return -1
	}
	return max(0, time.Until(b.due[loop]))
}

// Turn is a loop's. Guests go on in an order that shuffle makes, not in that of Go's maps.
func (b *ByHand) Turn(loop int, shuffle func(n int, swap func(i, j int))) {
	l := b.car.loops[loop]
	if len(l.again) > 1 {
		slices.SortFunc(l.again, byNumber)
		shuffle(len(l.again), func(i, j int) { l.again[i], l.again[j] = l.again[j], l.again[i] })
	}
	l.turn(l.poll.Wait(0))
	now := time.Now()
	b.due[loop] = time.Time{}
	if d := l.nextDue(now); d >= 0 { // as the loop itself, which then sleeps
		b.due[loop] = now.Add(d)
	}
}

func byNumber(a, b *guest) int { return int(a.known.id - b.known.id) }

// Refresh is Sidecar's.
func (b *ByHand) Refresh() { b.car.Refresh() }

// Cut closes lanes, as CutIf does, which judges by TLS.
func (b *ByHand) Cut(bad func() bool) {
	b.car.each(func(l *loop) {
		for _, e := range l.entities {
			if e.link != nil && bad() {
				l.lose(e.link, errors.New("cut"))
			}
		}
	})
}

// Drain begins one.
func (b *ByHand) Drain() { b.car.each((*loop).drain) }

// End closes what is left.
func (b *ByHand) End() {
	b.cut()
	for _, l := range b.car.loops {
		l.end()
	}
}

// Guests are how many there are.
func (b *ByHand) Guests() (n int) {
	for _, l := range b.car.loops {
		n += len(l.guests)
	}
	return n
}

// Lanes are how many there are, shared and private, or being made.
func (b *ByHand) Lanes() (shared, private int) {
	for _, l := range b.car.loops {
		for _, g := range l.order {
			if g.link != nil {
				shared++
			}
		}
	}
	return shared, int(b.car.own.Load())
}

// Tell describes guests and groups, for who looks for the reason of their waiting.
func (b *ByHand) Tell() (lines []string) {
	for i, l := range b.car.loops {
		for _, g := range slices.SortedFunc(maps.Keys(l.guests), byNumber) {
			lines = append(lines, fmt.Sprintf("loop %d, guest %d: phase %d, stop %d, listed %v, pending %d, in %d (partial %v), out %d, socket %+v, private %v, db %d",
				i, g.known.id-firstID, g.phase, g.stopped(), g.listed, g.pending, len(g.in), g.partial, len(g.out), g.socket, g.own != nil, g.known.db))
		}
		for _, of := range l.order {
			lines = append(lines, fmt.Sprintf("loop %d, group db %d protocol %d: guests %d, lane %v, away %v, trying %v, waiters %d",
				i, of.key.db, of.key.protocol, of.guests, of.link != nil, of.away, of.trying != nil, len(of.waiters)))
			if k := of.link; k != nil {
				lines = append(lines, fmt.Sprintf("  lane: outstanding %d, awaits %v, waiting %d, unsent %d, held %d, succeeded %v",
					k.books.Outstanding(), k.books.Awaits(), k.books.Waiting(), k.wire.Unsent(), len(k.held), k.next != nil))
			}
		}
	}
	return lines
}

// Check says what of that which always holds (guest.go) doesn't.
func (b *ByHand) Check() error {
	private := 0
	for _, l := range b.car.loops {
		listed := l.listed()
		for g := range l.guests {
			if err := l.check(g, listed[g]); err != nil {
				return fmt.Errorf("guest %d: %w", g.known.id-firstID, err)
			}
			if g.own != nil {
				private++
			}
		}
		if err := l.checkGroups(); err != nil {
			return err
		}
	}
	if n := int(b.car.own.Load()); private > n {
		return fmt.Errorf("%d private lanes, %d counted", private, n)
	}
	return nil
}

func (l *loop) checkGroups() error {
	counted := map[*group]int{}
	for g := range l.guests {
		counted[g.group]++
	}
	if len(l.order) != len(l.groups) {
		return fmt.Errorf("%d groups, %d in order", len(l.groups), len(l.order))
	}
	for _, of := range l.order {
		switch k := of.link; {
		case l.groups[of.key] != of:
			return errors.New("a group is in order and not to be found")
		case counted[of] != of.guests:
			return fmt.Errorf("a group counts %d guests and has %d", of.guests, counted[of])
		case k == nil:
		case k.lost, k.group != of, l.entities[k.fd].link != k:
			return errors.New("a group's lane isn't its own")
		case k.books.Waiting() > maxBacklog+len(l.guests)*(maxShared+readSize):
			return fmt.Errorf("%d bytes wait on a shared lane", k.books.Waiting())
		}
	}
	return nil
}

// listed is on how many lists each guest is that is on one.
func (l *loop) listed() map[*guest]int {
	on := map[*guest]int{}
	for _, g := range l.again {
		on[g]++
	}
	for _, o := range l.lines {
		for _, in := range o.line {
			if in.barrier == nil {
				on[in.guest]++
			}
		}
	}
	for _, e := range l.entities {
		if e.link != nil {
			for _, g := range e.link.held {
				on[g]++
			}
		}
	}
	return on
}

func (l *loop) check(g *guest, listed int) error {
	switch {
	case g.phase == gone:
		return errors.New("it is gone and still there")
	case l.entities[g.fd].guest != g:
		return errors.New("its descriptor is another's")
	case g.listed != (listed == 1):
		return fmt.Errorf("listed %v, on %d lists", g.listed, listed)
	case g.barrier != nil && !slices.ContainsFunc(l.lines, func(o *order) bool { return slices.Contains(o.line, inLine{g, g.barrier}) }):
		return errors.New("its barrier stands in no line")
	case g.counted != len(g.out):
		return fmt.Errorf("%d bytes of replies are kept, %d counted", len(g.out), g.counted)
	case g.pending < 0:
		return fmt.Errorf("%d replies are due", g.pending)
	case len(g.in) > largestFrame+readSize:
		return fmt.Errorf("%d bytes of commands are kept", len(g.in))
	case len(g.out) > maxUnread:
		return fmt.Errorf("%d bytes of replies are kept", len(g.out))
	case g.own != nil && g.phase == serving && len(g.out) > seizeAt+unreadShared+2*readSize+saidATurn+mostDue:
		return fmt.Errorf("%d bytes of replies are kept of a private lane", len(g.out))
	case g.own != nil && (g.own.lost || l.entities[g.own.fd].link != g.own):
		return errors.New("its private lane isn't its own")
	}
	return nil
}
