package verify

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/config"
	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// TestAnOutsiderPassesOnlyWhatItTried: silence and refusal keep it out, a connection
// doesn't, and where it had no way or no time, or nothing answered it at all, nothing is
// shown.
func TestAnOutsiderPassesOnlyWhatItTried(t *testing.T) {
	open, refusing, silent := listen(t, "127.0.0.1"), refuses(t), silentPort(t)
	control := listen(t, "127.0.0.2") // to who comes from 127.0.0.1 another host
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const noWay = "255.255.255.255:1" // no TCP goes there (tcp(7))
	for name, c := range map[string]struct {
		ctx       context.Context
		addresses []string
		lacking   []string
		controls  []string
		want      evidence.Outcome
		saw       string
	}{
		"refused":                    {t.Context(), []string{refusing}, nil, []string{control}, evidence.Pass, "refused"},
		"silent":                     {t.Context(), []string{silent}, nil, []string{control}, evidence.Pass, "timeout"},
		"many that are silent":       {t.Context(), slices.Repeat([]string{silent}, 2*outsideAtOnce), nil, []string{control}, evidence.Pass, "timeout"},
		"connected, the last of all": {t.Context(), []string{refusing, silent, open}, []string{"a report"}, nil, evidence.Fail, open + ": connected"},
		"connected, though not all":  {t.Context(), []string{noWay, open}, nil, nil, evidence.Fail, open + ": connected"},
		"no way there":               {t.Context(), []string{refusing, noWay}, nil, []string{control}, evidence.Skip, "not tried"},
		"nowhere to knock":           {t.Context(), nil, nil, []string{control}, evidence.Skip, "no address"},
		"no time":                    {over, []string{refusing}, nil, []string{control}, evidence.Skip, "time is over"},
		"no control":                 {t.Context(), []string{refusing}, nil, nil, evidence.Skip, "--control"},
		"a control that is silent":   {t.Context(), []string{refusing}, nil, []string{control, silent}, evidence.Skip, "doesn't answer either"},
		"this host as its control":   {t.Context(), []string{refusing}, nil, []string{open}, evidence.Skip, "this very host"},
		"not every address known":    {t.Context(), []string{refusing}, []string{"no report of cache-1"}, []string{control}, evidence.Skip, "no report of cache-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := new(Notes)
			v := visit{lacking: c.lacking}
			for _, a := range c.addresses {
				v.addresses = append(v.addresses, netip.MustParseAddrPort(a))
			}
			f := (&Target{Controls: c.controls}).outOfReach(c.ctx, n, v)
			if saw := strings.Join(n.lines, "\n") + f.detail; f.outcome != c.want || !strings.Contains(saw, c.saw) || len(n.lines) < len(c.addresses) {
				t.Fatalf("%s %q, want %s and %q:\n%s", f.outcome, f.detail, c.want, c.saw, saw)
			}
		})
	}
}

// TestAnOutsiderVisitsEveryAddress that a host told of, and knows where none was told.
func TestAnOutsiderVisitsEveryAddress(t *testing.T) {
	now := time.Now()
	at := netip.MustParseAddr
	of := func(v evidence.Vantage, host string, finished time.Time, listens string, addresses ...netip.Addr) *evidence.Report {
		return &evidence.Report{Deployment: "clinic", Vantage: v, Host: host, Finished: finished,
			Network: &evidence.Network{Addresses: addresses, Open: []netip.AddrPort{netip.MustParseAddrPort(listens)}}}
	}
	hosts := &config.Deployment{
		Deployment: "clinic", SSHPort: 22,
		Gateways: []config.Gate{{Name: "cache-1", Port: 6379, Address: sources("198.18.2.2/32")}},
		Apps:     []config.App{{Name: "web-1", Address: sources("198.18.2.3/32")}, {Name: "workers", Network: sources("198.18.4.0/24")}},
	}
	cache := of(evidence.CacheHost, "cache-1", now, "0.0.0.0:6379", at("198.18.2.2"), at("198.18.3.2"))
	web := of(evidence.AppHost, "web-1", now, "[::]:22", at("198.18.2.3"))
	worker := of(evidence.AppHost, "worker-7", now, "[::]:22", at("198.18.4.7"), at("198.18.3.7"))
	stale := *cache
	stale.Finished = now.Add(-reportLife - time.Minute)
	for name, c := range map[string]struct {
		reports []*evidence.Report
		visited []string
		untold  []string
	}{
		"all have told": {[]*evidence.Report{cache, web, worker}, []string{"198.18.2.2", "198.18.3.2", "198.18.2.3", "198.18.4.7", "198.18.3.7"}, nil},
		"nobody has":    {nil, []string{"198.18.2.2", "198.18.2.3"}, []string{"cache-1", "web-1", "workers"}},
		"one is stale":  {[]*evidence.Report{&stale, web, worker}, []string{"198.18.2.2", "198.18.3.2", "198.18.2.3", "198.18.4.7", "198.18.3.7"}, []string{"cache-1"}},
		"as another kind of host": {[]*evidence.Report{of(evidence.AppHost, "cache-1", now, "[::]:22"), web, worker},
			[]string{"198.18.2.2", "198.18.2.3", "198.18.4.7", "198.18.3.7"}, []string{"cache-1"}},
	} {
		var visited, untold []string
		for _, h := range (&Target{Deployment: "clinic", Hosts: hosts, Reports: c.reports}).neighbours(now) {
			for _, a := range h.addresses {
				visited = append(visited, a.String())
			}
			if h.untold != "" {
				untold = append(untold, h.name)
			}
		}
		if !slices.Equal(visited, c.visited) || !slices.Equal(untold, c.untold) {
			t.Errorf("%s: visited %v, untold %v", name, visited, untold)
		}
	}
}

// TestSilenceShowsNothingWhereNothingListens: sshd that is down is no closed door.
func TestSilenceShowsNothingWhereNothingListens(t *testing.T) {
	h := neighbour{name: "cache-1", port: 6379, open: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:6379")}}
	for port, want := range map[int]int{6379: 0, 22: 1, 0: 0} {
		var v visit
		if v.expect(h, port, "it"); len(v.lacking) != want {
			t.Errorf("port %d: %v", port, v.lacking)
		}
	}
}

func sources(prefix string) config.Sources {
	return config.Sources{{Prefix: netip.MustParsePrefix(prefix)}}
}

func listen(t *testing.T, at string) string {
	t.Helper()
	l, err := net.Listen("tcp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// refuses is a port that is bound and doesn't listen.
func refuses(t *testing.T) string {
	t.Helper()
	_, address := bound(t)
	return address
}

// silentPort drops who comes: its queue is full, and nobody accepts (listen(2)).
func silentPort(t *testing.T) string {
	t.Helper()
	fd, address := bound(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", address) // a queue of 0 holds one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return address
}

func bound(t *testing.T) (fd int, address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}
