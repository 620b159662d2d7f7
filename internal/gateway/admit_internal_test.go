package gateway

import (
	"net"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestHandshakesAreSharedFairly walks random arrivals and departures of a few
// sources and checks what the comment of handshakes promises.
func TestHandshakesAreSharedFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "most")
		h := newHandshakes(most)
		var inside []*handshake
		held := func(source netip.Prefix) (n int) {
			for _, e := range inside {
				if e.source == source && e.ousted == "" {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			if len(inside) > 0 && rapid.IntRange(0, 3).Draw(t, "leave") == 0 {
				i := rapid.IntRange(0, len(inside)-1).Draw(t, "which")
				h.leave(inside[i])
				inside = append(inside[:i], inside[i+1:]...)
				continue
			}
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 4).Draw(t, "source"))})
			source := tunnel.SourceBlock(addr)
			before := map[netip.Prefix]int{}
			total, busiest := 0, 0
			for _, e := range inside {
				if n := held(e.source); n > 0 {
					before[e.source] = n
					busiest = max(busiest, n)
				}
			}
			for _, n := range before {
				total += n
			}
			ours, theirs := net.Pipe()
			defer ours.Close()
			defer theirs.Close()
			entry := h.enter(ours, addr)
			if entry == nil && (total < most || before[source]+2 <= busiest) {
				t.Fatalf("refused with %d of %d held, %d of its own, %d of the busiest", total, most, before[source], busiest)
			}
			for s, n := range before {
				if n == 1 && held(s) == 0 {
					t.Fatalf("%s lost its only one", s)
				}
				if lost := n - held(s); lost > 1 || lost == 1 && (n != busiest || total < most) {
					t.Fatalf("%s lost %d of %d", s, lost, n)
				}
			}
			if entry != nil {
				inside = append(inside, entry)
			}
			if h.count > most {
				t.Fatalf("%d held, %d allowed", h.count, most)
			}
		}
		for _, e := range inside {
			h.leave(e)
		}
		if h.count != 0 || len(h.bySource) != 0 {
			t.Fatalf("all left, and %d remain, of %d sources", h.count, len(h.bySource))
		}
	})
}

func TestAHostsWholeIPv6NetworkIsOneSource(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8:1:2::1"), netip.MustParseAddr("2001:db8:1:2:ffff::1")
	if tunnel.SourceBlock(a) != tunnel.SourceBlock(b) || tunnel.SourceBlock(a) == tunnel.SourceBlock(netip.MustParseAddr("2001:db8:1:3::1")) {
		t.Error("a source is not a /64")
	}
	if tunnel.SourceBlock(netip.MustParseAddr("10.0.0.1")) == tunnel.SourceBlock(netip.MustParseAddr("10.0.0.2")) {
		t.Error("two IPv4 hosts are one source")
	}
}

func TestPeersForgetsWhoHasGone(t *testing.T) {
	id, err := identity.New("clinic", identity.App, "web")
	if err != nil {
		t.Fatal(err)
	}
	p := newPeers(2, 2)
	for range 3 {
		for i := range 3 {
			if err := p.enter(tunnel.Peer{ID: id}); (err == nil) != (i < 2) {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
		p.leave(id)
		p.leave(id)
	}
	if p.count != 0 || len(p.each) != 0 {
		t.Errorf("%d, %v remain", p.count, p.each)
	}
}

func FuzzLooksLike(f *testing.F) {
	for _, s := range []string{"*1\r\n$", "GET /", "GET k", "\x16\x03\x01\x00\x00", "SSH-2", "auth "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first [5]byte
		copy(first[:], b)
		if looksLike(first) == "" {
			t.Error("nothing to say")
		}
	})
}
