package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// admitted says whether a source may speak to us at all.
func admitted(networks []netip.Prefix, source netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(source) })
}

// handshakes are the connections whose peers have not yet proved who they are:
// all that a stranger can hold of us, each for HandshakeTimeout at most. When
// they are as many as allowed, the newest of the source that has the most makes
// room, which may be the newcomer itself. So
//   - a source that has at least two fewer than the busiest always gets in, and
//     one that has a single handshake never loses it, however many the busiest
//     opens and however slowly it goes on;
//   - a host that connects anew with all it has, after an outage, may use all
//     there is, and its oldest, which are nearest their end, stay.
//
// A fixed share for each source would fail the second where it kept the first.
// A queue (leaving newcomers in the kernel's backlog) would fail the first: they
// would stand behind the slow ones.
type handshakes struct {
	mu       sync.Mutex
	most     int
	count    int
	closed   bool
	bySource map[netip.Prefix][]*handshake // each in order of arrival
}

// handshake is one connection among them.
type handshake struct {
	conn   net.Conn
	source netip.Prefix
	ousted string // why it was taken away; under handshakes.mu
}

func newHandshakes(most int) *handshakes {
	return &handshakes{most: most, bySource: map[netip.Prefix][]*handshake{}}
}

// enter takes a connection in, or returns nil when there is no room for it.
func (h *handshakes) enter(conn net.Conn, source netip.Addr) *handshake {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	block := tunnel.SourceBlock(source)
	if h.count >= h.most {
		busiest := h.busiest()
		if len(h.bySource[block])+1 >= len(h.bySource[busiest]) { // taking one away would be no fairer
			return nil
		}
		theirs := h.bySource[busiest]
		newest := theirs[len(theirs)-1]
		h.oust(newest, tooMany)
	}
	entry := &handshake{conn: conn, source: block}
	h.bySource[block] = append(h.bySource[block], entry)
	h.count++
	return entry
}

// oust must be called with mu held.
func (h *handshakes) oust(entry *handshake, why string) {
	entry.ousted = why
	entry.conn.Close() // its handler sees the error and leaves
	h.remove(entry)
}

// bound sets how many there may be. Those that are more keep their places.
func (h *handshakes) bound(most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.most = most
}

// cut takes away the places of those whose source may not stay.
func (h *handshakes) cut(stays func(netip.Addr) bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, theirs := range h.bySource {
		for _, entry := range slices.Clone(theirs) {
			if !stays(tunnel.Source(entry.conn)) {
				h.oust(entry, why)
			}
		}
	}
}

// busiest looks at every source: only when all places are taken, and there are
// no more sources than places.
func (h *handshakes) busiest() (busiest netip.Prefix) {
	for source, theirs := range h.bySource {
		if len(theirs) > len(h.bySource[busiest]) {
			busiest = source
		}
	}
	return busiest
}

// remove must be called with mu held.
func (h *handshakes) remove(entry *handshake) {
	theirs := h.bySource[entry.source]
	i := slices.Index(theirs, entry)
	if i < 0 {
		return // ousted before
	}
	h.count--
	if len(theirs) == 1 {
		delete(h.bySource, entry.source)
		return
	}
	h.bySource[entry.source] = slices.Delete(theirs, i, i+1)
}

// leave gives the place back and says why it had been taken away before; "": it hadn't.
func (h *handshakes) leave(entry *handshake) (ousted string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(entry)
	return entry.ousted
}

// close ends all of them and lets no more in.
func (h *handshakes) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, theirs := range h.bySource {
		for _, entry := range theirs {
			entry.conn.Close()
		}
	}
}

// peers counts connections by proved identity, and knows of each that has some
// the certificate that lasts longest.
type peers struct {
	mu    sync.Mutex
	count int
	each  map[identity.ID]*standing

	most, mostEach int

	opened int64 // all that ever were
}

// standing is what one identity has here.
type standing struct {
	count  int         // connections
	newest tunnel.Peer // the certificate that lasts longest of those it has shown
	ends   time.Time   // when the first of its connections' certificates ends
}

func newPeers(most, mostEach int) *peers {
	return &peers{most: most, mostEach: mostEach, each: map[identity.ID]*standing{}}
}

// bound sets how many there may be. Those that are more stay.
func (p *peers) bound(most, mostEach int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most, p.mostEach = most, mostEach
}

// enter counts a connection, or says which limit it would break.
func (p *peers) enter(peer tunnel.Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.each[peer.ID]
	if s == nil {
		s = &standing{ends: peer.NotAfter}
	}
	if peer.NotAfter.After(s.newest.NotAfter) {
		s.newest = peer // counted or not, it was shown
	}
	if s.count >= p.mostEach {
		return fmt.Errorf("this identity has its %d connections already (limits.per_identity)", p.mostEach)
	}
	if p.count >= p.most {
		return fmt.Errorf("there are %d connections already (limits.connections)", p.most)
	}
	if peer.NotAfter.Before(s.ends) {
		s.ends = peer.NotAfter
	}
	p.count++
	p.opened++
	s.count++
	p.each[peer.ID] = s
	return nil
}

func (p *peers) leave(id identity.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	s := p.each[id]
	if s.count--; s.count == 0 {
		delete(p.each, id)
	}
}
