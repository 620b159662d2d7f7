package gateway_test

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// from dials as a sidecar of another loopback address does.
func (r *rig) from(address string, protocols ...string) (*tls.Conn, error) {
	r.t.Helper()
	conn := r.before(address, protocols...)
	return conn, conn.Handshake()
}

// before is the same before its handshake.
func (r *rig) before(address string, protocols ...string) *tls.Conn {
	r.t.Helper()
	cfg := r.app.ClientConfig(r.gateway)
	if protocols != nil {
		cfg.NextProtos, cfg.VerifyConnection = protocols, nil // which asks for a sidecar's
	}
	return tls.Client(r.raw(address), cfg)
}

// until asks the gateway how it fares until it is as it must be.
func (r *rig) until(what string, is func(gateway.Status) bool) {
	r.t.Helper()
	late := time.After(patience)
	for !is(r.Status()) {
		select {
		case <-late:
			r.t.Fatalf("%s didn't come about: %+v", what, r.Status())
		case <-time.After(time.Millisecond):
		}
	}
}

// renews has a gateway answer who renews with its own bytes, until that ends.
func renews(o *gateway.Options) {
	o.Renew = func(_ context.Context, conn tunnel.Conn) {
		b := make([]byte, 1)
		for {
			if _, err := conn.Read(b); err != nil {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
}

func networks(list ...string) (prefixes []netip.Prefix) {
	for _, n := range list {
		prefixes = append(prefixes, netip.MustParsePrefix(n))
	}
	return prefixes
}

// TestANetworkThatIsNoLongerAdmittedIsCut: what it had open ends, whatever it was, and
// nobody else's.
func TestANetworkThatIsNoLongerAdmittedIsCut(t *testing.T) {
	path, _ := redis(t)
	var settings gateway.Settings
	g := start(t, path, func(o *gateway.Options) {
		renews(o)
		o.Admit = networks("127.0.0.1/32", "127.0.0.2/32")
		settings = o.Settings
	})
	lane, err := g.from("127.0.0.2")
	must(t, err)
	if got := ask(t, lane, "PING"); got != "+PONG" {
		t.Fatal(got)
	}
	renewal, err := g.from("127.0.0.2", tunnel.Renew)
	must(t, err)
	_, err = renewal.Write([]byte("a"))
	must(t, err)
	_, err = renewal.Read(make([]byte, 1))
	must(t, err)
	before := g.Status().Handshakes
	stranger := g.raw("127.0.0.2") // says nothing yet
	g.until("a stranger's handshake", func(s gateway.Status) bool { return s.Handshakes > before })
	stays := g.dial()
	if got := ask(t, stays, "PING"); got != "+PONG" {
		t.Fatal(got)
	}

	settings.Admit = networks("127.0.0.1/32")
	must(t, g.Change(settings))
	closed(t, stranger)
	g.line("connection refused", "source=127.0.0.2", "not admitted")
	closed(t, renewal.NetConn())
	closed(t, lane.NetConn())
	g.line("connection closed", "source=127.0.0.2", "cut: its network is not admitted")
	if _, err := g.from("127.0.0.2"); err == nil {
		t.Error("a network that is not admitted got in")
	}
	if got := ask(t, stays, "PING"); got != "+PONG" {
		t.Errorf("a connection of another network: %s", got)
	}

	settings.Admit = nil
	must(t, g.Change(settings))
	again, err := g.from("127.0.0.2")
	must(t, err)
	if got := ask(t, again, "PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestACacheThatIsToBeAloneCutsWhoHasSeveral, who says so in its handshake.
func TestACacheThatIsToBeAloneCutsWhoHasSeveral(t *testing.T) {
	path, _ := redis(t)
	var settings gateway.Settings
	g := start(t, path, func(o *gateway.Options) { settings = o.Settings })
	several, err := g.from("127.0.0.1", tunnel.Relay, tunnel.Several)
	must(t, err)
	single := g.dial()
	for _, conn := range []*tls.Conn{several, single} {
		if got := ask(t, conn, "PING"); got != "+PONG" {
			t.Fatal(got)
		}
	}
	settings.Alone = true
	must(t, g.Change(settings))
	closed(t, several.NetConn())
	g.line("connection closed", "cut:", "several gateways")
	if _, err := g.from("127.0.0.1", tunnel.Relay, tunnel.Several); err == nil {
		t.Error("a host with several gateways got in")
	}
	if got := ask(t, single, "PING"); got != "+PONG" {
		t.Errorf("a host with one gateway: %s", got)
	}
	settings.Alone = false
	must(t, g.Change(settings))
	if _, err := g.from("127.0.0.1", tunnel.Relay, tunnel.Several); err != nil {
		t.Error(err)
	}
}

// TestOtherLimitsHoldForWhoComes, and end nobody who is there.
func TestOtherLimitsHoldForWhoComes(t *testing.T) {
	path, _ := redis(t)
	for name, lower := range map[string]func(*gateway.Limits){
		"limits.connections":  func(l *gateway.Limits) { l.Connections = 1 },
		"limits.per_identity": func(l *gateway.Limits) { l.PerIdentity = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			var before gateway.Settings
			g := start(t, path, func(o *gateway.Options) { before = o.Settings })
			first, second := g.dial(), g.dial()
			g.until("two connections", func(s gateway.Status) bool { return s.Connections == 2 })
			after := before
			lower(&after.Limits)
			must(t, g.Change(after))
			if got := g.Status().Most; got != after.Limits.Connections {
				t.Errorf("status tells of a limit of %d", got)
			}
			g.dial()
			g.line("connection refused", name)
			for _, conn := range []*tls.Conn{first, second} {
				if got := ask(t, conn, "PING"); got != "+PONG" {
					t.Errorf("who was there: %s", got)
				}
			}
			must(t, g.Change(before))
			if got := ask(t, g.dial(), "PING"); got != "+PONG" {
				t.Error(got)
			}
		})
	}
}

func TestWrongSettingsChangeNothing(t *testing.T) {
	path, _ := redis(t)
	var good gateway.Settings
	g := start(t, path, func(o *gateway.Options) { good = o.Settings })
	there := g.dial()
	for says, change := range map[string]func(*gateway.Settings){
		"not a network":           func(s *gateway.Settings) { s.Admit = []netip.Prefix{{}} },
		"limits must be positive": func(s *gateway.Settings) { s.Limits.Connections = 0; s.Admit = networks("10.0.0.0/8") },
	} {
		wrong := good
		change(&wrong)
		if err := g.Change(wrong); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
	for _, conn := range []*tls.Conn{there, g.dial()} {
		if got := ask(t, conn, "PING"); got != "+PONG" {
			t.Error(got)
		}
	}
	if got := g.Status().Most; got != good.Limits.Connections {
		t.Errorf("a limit of %d", got)
	}
}

// TestNobodySlipsInWhileSettingsChange: whoever is on the way in when its network is
// taken out is cut, at whatever step it was.
func TestNobodySlipsInWhileSettingsChange(t *testing.T) {
	path, _ := redis(t)
	var open gateway.Settings
	g := start(t, path, func(o *gateway.Options) { renews(o); open = o.Settings })
	shut := open
	shut.Admit = networks("127.0.0.1/32")
	for round := range 15 {
		must(t, g.Change(open))
		protocol := []string{tunnel.Relay, tunnel.Renew}[round%2]
		conns := make(chan *tls.Conn, 8)
		var dialling sync.WaitGroup
		for range cap(conns) {
			conn := g.before("127.0.0.2", protocol)
			dialling.Go(func() {
				if conn.Handshake() == nil {
					conns <- conn
				}
			})
		}
		go func() { dialling.Wait(); close(conns) }()
		first, ok := <-conns // some are in, some are on their way
		must(t, g.Change(shut))
		if !ok {
			t.Fatal("nobody got in while all were admitted")
		}
		closed(t, first.NetConn())
		for conn := range conns {
			closed(t, conn.NetConn())
		}
	}
}
