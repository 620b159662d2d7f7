package verify

import (
	"context"
	"crypto/tls"
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
	Title:      "No other program of this host passes the cache, or what our processes tell, on to the network",
	Why:        "A forwarder (socat, ssh -L, a proxy) on a network address makes the port on loopback, or a socket that is root's, everybody's: in the clear, and without a certificate.",
	Mend:       "End the program that is named, and what starts it; an application reaches the cache through the sidecar of its own host.",
	References: []string{"45 CFR 164.312(a)(1)", "45 CFR 164.312(e)(1)", "NIST SP 800-53r5 SC-7", "NIST SP 800-53r5 SC-8", "NIST SP 800-53r5 CM-7"},
	Needs:      []Need{needRoot, needRoles},
	Run: func(ctx context.Context, t *Target, n *Notes) Finding {
		foreign, err := t.foreignListeners(ctx)
		if err != nil {
			return n.Skip("what listens on this host can't be looked at: %v", err)
		}
		said := make([]string, len(foreign))
		places := make(chan struct{}, outsideAtOnce)
		var all sync.WaitGroup
		for i, s := range foreign {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				said[i] = speaks(ctx, s.Local)
			})
		}
		all.Wait()
		if ctx.Err() != nil {
			return n.Skip("not all of %d listeners could be tried: %v", len(foreign), ctx.Err())
		}
		n.Saw("ports of other programs that can be reached from the network, each spoken to as Redis, as Redis within TLS, and over HTTP: %d", len(foreign))
		for i, s := range foreign {
			if said[i] == "" {
				continue
			}
			by, own := speakerOf(s.Inode)
			n.Saw("%s, %s: it speaks %s", s.Local, by, said[i])
			if !own {
				return n.Fail("%s speaks %s at %s", by, said[i], s.Local)
			}
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
		s.Local = netip.AddrPortFrom(foundAt(s.Local.Addr(), own), s.Local.Port())
		list = append(list, s)
	}
	return list, nil
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

// speaks says in which way a listener leads to a cache or to one of our processes; "":
// in none that was tried.
func speaks(ctx context.Context, at netip.AddrPort) string {
	for _, try := range []struct {
		as, request string
		tls         bool
		is          func(answer string) bool
	}{
		{"Redis in the clear", "PING\r\n", false, isRedis},
		{"what a process of ours tells on its admin socket", "GET /status HTTP/1.0\r\n\r\n", false, func(a string) bool {
			return strings.Contains(a, `"facts"`) && strings.Contains(a, `"problems"`)
		}},
		{"the metrics of a process of ours", "GET /metrics HTTP/1.0\r\n\r\n", false, func(a string) bool { return strings.Contains(a, "redoubt_ready") }},
		{"Redis within TLS that asks for no certificate", "PING\r\n", true, isRedis},
	} {
		if try.is(answerOf(ctx, at.String(), try.request, try.tls)) {
			return try.as
		}
	}
	return ""
}

// isRedis says whether an answer to PING is a Redis's, to who has not logged in.
func isRedis(answer string) bool {
	return slices.ContainsFunc([]string{"+PONG", "-NOAUTH", "-LOADING", "-DENIED", "-BUSY", "-MASTERDOWN", "-MISCONF"}, func(word string) bool {
		return strings.HasPrefix(answer, word)
	})
}

// answerOf is what comes back for a request, as far as it comes soon.
func answerOf(ctx context.Context, address, request string, within bool) string {
	const most = 64 << 10
	ctx, cancel := context.WithTimeout(ctx, spokenWithin)
	defer cancel()
	var conn net.Conn
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return ""
	}
	defer func() { conn.Close() }()
	if within {
		cfg := attacker(nil)
		cfg.NextProtos = nil
		secured := tls.Client(conn, cfg)
		if secured.HandshakeContext(ctx) != nil {
			return ""
		}
		conn = secured
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	var got strings.Builder
	buffer := make([]byte, 4<<10)
	for got.Len() < most {
		n, err := conn.Read(buffer)
		got.Write(buffer[:n])
		if err != nil || !strings.HasPrefix(request, "GET") && strings.Contains(got.String(), "\n") {
			break
		}
	}
	return got.String()
}
