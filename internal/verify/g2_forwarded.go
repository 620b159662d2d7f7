package verify

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/host"
)

var nothingPassesItOn = Check{
	ID: "RD-215", Goal: evidence.Access, From: OnBoth,
	Title:      "No port of another program of this host leads from the network to the cache, or to what our processes tell",
	Why:        "A forwarder (socat, ssh -L, ssh -D, a proxy) on a network address makes the port on loopback, or a socket that is root's, everybody's: in the clear, and without a certificate. A way out that is dialled from within (ssh -R) has no port here, and isn't seen.",
	Mend:       "End the program that is named, and what starts it; an application reaches the cache through the sidecar of its own host.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 SC-8", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot, needRoles},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		foreign, err := t.foreignListeners(ctx)
		if err != nil {
			return n.Skip("what listens on this host can't be looked at: %v", err)
		}
		said := make([]string, len(foreign))
		failed := make([]error, len(foreign))
		var all sync.WaitGroup
		ways, places := t.waysIn(), make(chan struct{}, outsideAtOnce)
		for i, s := range foreign {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				said[i], failed[i] = speaks(ctx, s.Local, ways)
			})
		}
		all.Wait()
		if ctx.Err() != nil {
			return n.Skip("not all of %d listeners could be tried: %v", len(foreign), ctx.Err())
		}
		n.Saw("ports of other programs that can be reached from the network, each spoken to as Redis, as Redis within TLS, over HTTP, and as a proxy: %d", len(foreign))
		untried := ""
		for i, s := range foreign {
			by, own := speakerOf(s.Inode)
			switch {
			case said[i] != "":
				n.Saw("%s, %s: it speaks %s", s.Local, by, said[i])
				if !own {
					return n.Fail("%s speaks %s at %s", by, said[i], s.Local)
				}
			case failed[i] != nil && t.stillListens(ctx, s):
				n.Saw("%s, %s: not tried: %v", s.Local, by, failed[i])
				untried = fmt.Sprintf("%s at %s", by, s.Local)
			}
		}
		if untried != "" {
			return n.Skip("who listens could not be spoken to: %s", untried)
		}
		return n.Pass("nothing that listens on a network address leads to us: %d", len(foreign))
	},
}

// foreignListeners are the TCP sockets that take connections from the network and are
// not our own processes'.
func (t *Target) foreignListeners(ctx context.Context) (list []host.Socket, err error) {
	ours := map[string]bool{}
	for _, p := range t.ours(ctx) {
		sockets, err := p.sockets()
		if err != nil {
			return nil, err
		}
		for inode := range sockets {
			ours[inode] = true
		}
	}
	all, err := host.Sockets("/proc/net", "tcp", "tcp6")
	if err != nil {
		return nil, err
	}
	own, err := host.Addresses()
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.State != host.Listening || s.Local.Addr().IsLoopback() || ours[s.Inode] {
			continue
		}
		s.Local = netip.AddrPortFrom(withZone(foundAt(s.Local.Addr(), own)), s.Local.Port())
		list = append(list, s)
	}
	return list, nil
}

// stillListens says whether a listener is there, which couldn't be connected to.
func (t *Target) stillListens(ctx context.Context, s host.Socket) bool {
	now, err := t.foreignListeners(ctx)
	return err != nil || slices.ContainsFunc(now, func(o host.Socket) bool { return o.Inode == s.Inode })
}

// withZone is a link-local address of this host with its interface, without which it
// leads nowhere (RFC 4007).
func withZone(a netip.Addr) netip.Addr {
	if !a.Is6() || !a.IsLinkLocalUnicast() {
		return a
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		addresses, _ := i.Addrs()
		for _, at := range addresses {
			if p, err := netip.ParsePrefix(at.String()); err == nil && p.Addr() == a {
				return a.WithZone(i.Name)
			}
		}
	}
	return a
}

// foundAt is an address at which a listener is found: one of the host's own, if it
// listens on all of them.
func foundAt(at netip.Addr, own []netip.Addr) netip.Addr {
	if !at.IsUnspecified() {
		return at
	}
	for _, a := range own {
		if a.Is4() == at.Is4() {
			return a
		}
	}
	if at.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// engines are programs that speak Redis for themselves: what they hold is theirs.
var engines = []string{"redis-server", "valkey-server", "redis-check-rdb", "keydb-server"}

// speakerOf names the process that has a socket open; itself says that it is an engine,
// which speaks Redis without leading to us.
func speakerOf(inode string) (name string, itself bool) {
	p, found := havingOpen(inode)
	if !found {
		return "a process that isn't seen from here", false
	}
	exe, _ := os.Readlink(p.path("exe"))
	exe = strings.TrimSuffix(exe, " (deleted)")
	return fmt.Sprintf("%s (process %d)", exe, p.pid), slices.Contains(engines, filepath.Base(exe))
}

// spokenWithin bounds one attempt to get a word out of a listener.
const spokenWithin = time.Second

// A way is one in which a listener may lead to a cache or to one of our processes.
type way struct {
	as      string
	through []step // to a proxy, which then leads on
	tls     bool
	request string
	is      func(answer string) bool
}

// A step is what is said to a proxy, and how its answer of so many bytes must begin.
type step struct {
	say    []byte
	length int
	begins string
}

// waysIn are those that are tried.
func (t *Target) waysIn() []way {
	ways := []way{
		{as: "Redis in the clear", request: "PING\r\n", is: isRedis},
		{as: "what a process of ours tells on its admin socket", request: "GET /status HTTP/1.0\r\n\r\n", is: func(a string) bool {
			return strings.Contains(a, `"facts"`) && strings.Contains(a, `"problems"`)
		}},
		{as: "the metrics of a process of ours", request: "GET /metrics HTTP/1.0\r\n\r\n", is: func(a string) bool { return strings.Contains(a, "redoubt_ready") }},
		{as: "Redis within TLS that asks for no certificate", tls: true, request: "PING\r\n", is: isRedis},
	}
	if t.App == nil {
		return ways
	}
	to, err := netip.ParseAddrPort(t.App.Listen)
	if err != nil || !to.Addr().Unmap().Is4() { // a unix socket, which no proxy leads to
		return ways
	}
	ip, port := to.Addr().Unmap().As4(), binary.BigEndian.AppendUint16(nil, to.Port())
	for as, through := range map[string][]step{
		"SOCKS 5 (RFC 1928), as ssh -D does":       {{[]byte{5, 1, 0}, 2, "\x05\x00"}, {slices.Concat([]byte{5, 1, 0, 1}, ip[:], port), 10, "\x05\x00"}},
		"SOCKS 4":                                  {{slices.Concat([]byte{4, 1}, port, ip[:], []byte{0}), 8, "\x00\x5a"}},
		"a proxy's HTTP (CONNECT, RFC 9110 9.3.6)": {{fmt.Appendf(nil, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to), 12, "HTTP/1."}},
	} {
		ways = append(ways, way{as: as + ", and leads to the sidecar", through: through, request: "PING\r\n", is: isRedis})
	}
	return ways
}

// speaks says in which way a listener leads to a cache or to one of our processes; "":
// in none that was tried. An error says that it wasn't connected to.
func speaks(ctx context.Context, at netip.AddrPort, ways []way) (as string, err error) {
	answers := make([]string, len(ways))
	failed := make([]error, len(ways))
	var all sync.WaitGroup
	for i, w := range ways {
		all.Go(func() { answers[i], failed[i] = w.ask(ctx, at.String()) })
	}
	all.Wait()
	for i, w := range ways {
		if w.is(answers[i]) {
			return w.as, nil
		}
	}
	return "", errors.Join(failed...)
}

// isRedis says whether an answer to PING is a Redis's, to who has not logged in.
func isRedis(answer string) bool {
	answer = afterHead(answer)
	return slices.ContainsFunc([]string{"+PONG", "-NOAUTH", "-LOADING", "-DENIED", "-BUSY", "-MASTERDOWN", "-MISCONF"}, func(word string) bool {
		return strings.HasPrefix(answer, word)
	})
}

// afterHead is what follows the rest of a proxy's answer to CONNECT.
func afterHead(answer string) string {
	if _, rest, ok := strings.Cut(answer, "\r\n\r\n"); ok {
		return rest
	}
	return answer
}

// ask is what comes back for the request, as far as it comes soon. An error says that
// no connection came about.
func (w way) ask(ctx context.Context, address string) (answer string, err error) {
	const most = 64 << 10
	ctx, cancel := context.WithTimeout(ctx, spokenWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { conn.Close() }()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	for _, s := range w.through {
		got := make([]byte, s.length)
		if _, err := conn.Write(s.say); err != nil {
			return "", nil
		}
		if _, err := io.ReadFull(conn, got); err != nil || !strings.HasPrefix(string(got), s.begins) {
			return "", nil
		}
	}
	if w.tls {
		cfg := attacker(nil)
		cfg.NextProtos = nil
		secured := tls.Client(conn, cfg)
		if secured.HandshakeContext(ctx) != nil {
			return "", nil
		}
		conn = secured
	}
	if _, err := io.WriteString(conn, w.request); err != nil {
		return "", nil
	}
	var got strings.Builder
	buffer := make([]byte, 4<<10)
	for got.Len() < most {
		n, err := conn.Read(buffer)
		got.Write(buffer[:n])
		if err != nil || w.is(got.String()) {
			break
		}
	}
	return got.String(), nil
}
