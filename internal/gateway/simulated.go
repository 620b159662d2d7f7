//go:build simulation

package gateway

import (
	"fmt"
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// ByHand is a gateway's loop that a simulation turns (test/simulation). Its tunnel
// connections are without TLS.
type ByHand struct {
	loops *loops
	loop  *loop
}

// NewByHand makes one. judge says why its peers may not stay.
func NewByHand(judge func() error) (*ByHand, error) {
	l, err := newLoops(func(*about) error { return judge() }, func(*relay) {})
	if err != nil {
		return nil, err
	}
	l.all = l.all[:1]
	return &ByHand{l, l.all[0]}, nil
}

// plain is a wire without TLS. Its end is FIN, which the relay sends in any case.
type plain struct{ *eventloop.Wire }

func (plain) CloseWrite() error { return nil }

// Relay hands a connection over, as after a handshake.
func (b *ByHand) Relay(peer, engine net.Conn) error {
	wire := eventloop.NewWire(peer)
	r, err := newRelay(about{}, plain{wire}, wire, engine)
	if err == nil {
		b.loops.add(r)
	}
	return err
}

// Ready says whether a turn would do something now.
func (b *ByHand) Ready() bool {
	l := b.loop
	return l.poller.Pending() || len(l.next) > 0 || l.timed() && !time.Now().Before(l.tick)
}

// Due is when there is something to do without an event; negative: never.
func (b *ByHand) Due() time.Duration {
	if !b.loop.timed() {
		return -1
	}
	return max(0, time.Until(b.loop.tick))
}

// Turn is one.
func (b *ByHand) Turn() { b.loop.turn() }

// Judge has all peers judged anew.
func (b *ByHand) Judge() { b.loops.judge() }

// Drain begins one.
func (b *ByHand) Drain(timeout time.Duration) { b.loops.beginDrain(timeout) }

// Live is how many connections it has.
func (b *ByHand) Live() int { return b.loop.live }

// Kill ends the process.
func (b *ByHand) Kill() {
	for _, p := range b.loop.places {
		if r := p.relay; r != nil {
			r.wire.Close()
			eventloop.Close(r.engineFD)
		}
	}
	for _, r := range b.loop.mail.fresh {
		r.wire.Close()
		eventloop.Close(r.engineFD)
	}
	chunks.Put((*[chunkSize]byte)(b.loop.buf))
}

// Check says which bound of a connection's memory is broken.
func (b *ByHand) Check() error {
	for _, p := range b.loop.places {
		switch r := p.relay; {
		case r == nil:
		case len(r.held) > chunkSize:
			return fmt.Errorf("gateway: %d bytes held for an engine", len(r.held))
		case r.wire.Unsent() > maxUnsent+chunkSize:
			return fmt.Errorf("gateway: %d bytes held for a peer", r.wire.Unsent())
		}
	}
	return nil
}
