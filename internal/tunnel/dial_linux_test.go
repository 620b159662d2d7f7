package tunnel_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// listen accepts on a port of its own until the test ends and gives each
// connection to f.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := tunnel.Listen(t.Context(), "127.0.0.1:0")
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer conn.Close(); f(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().String()
}

// gatewayAt serves an echo as a gateway, over further protocols too.
func gatewayAt(t *testing.T, c *tunnel.Credentials, further ...string) string {
	return listen(t, func(raw net.Conn) {
		conn := tls.Server(raw, c.ServerConfig(further...))
		io.Copy(conn, conn)
	})
}

func nobodyAt(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func TestRenewalTakesTheFirstGatewayThatIsThereAndRight(t *testing.T) {
	d := deploy(t, "clinic")
	first, second, third := d.credentials(identity.Gateway, "first"), d.credentials(identity.Gateway, "second"), d.credentials(identity.Gateway, "third")
	dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: []tunnel.Endpoint{
		{Address: nobodyAt(t), ID: first.ID()},
		{Address: gatewayAt(t, third, tunnel.Renew), ID: second.ID()}, // somebody else answers there
		{Address: gatewayAt(t, third, tunnel.Renew), ID: third.ID()},
		{Address: gatewayAt(t, first, tunnel.Renew), ID: first.ID()}, // not needed any more
	}}
	conn, err := dialer.DialRenew(t.Context())
	must(t, err)
	defer conn.Close()
	peer, err := dialer.Credentials.Peer(conn.ConnectionState())
	if err != nil || peer.ID != third.ID() {
		t.Errorf("reached %s, %v", peer.ID, err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestRenewalTellsOfEachGatewayWhyItWasPassedOver(t *testing.T) {
	d := deploy(t, "clinic")
	away, wrong := d.credentials(identity.Gateway, "away"), d.credentials(identity.Gateway, "wrong")
	dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: []tunnel.Endpoint{
		{Address: nobodyAt(t), ID: away.ID()},
		{Address: gatewayAt(t, wrong, tunnel.Renew), ID: away.ID()},
	}}
	conn, err := dialer.DialRenew(t.Context())
	if err == nil {
		conn.Close()
		t.Fatal("reached somebody")
	}
	for _, part := range []string{"gateway away at " + dialer.Endpoints[0].Address, "connection refused",
		dialer.Endpoints[1].Address, "the server is spiffe://clinic/gateway/wrong, not spiffe://clinic/gateway/away"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %q", err, part)
		}
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error("the cause is lost")
	}
}

// TestASilentGatewayCostsABoundedTime: it accepts and says nothing.
func TestASilentGatewayCostsABoundedTime(t *testing.T) {
	d := deploy(t, "clinic")
	good := d.credentials(identity.Gateway, "good")
	dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: []tunnel.Endpoint{
		{Address: listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }), ID: good.ID()},
		{Address: gatewayAt(t, good, tunnel.Renew), ID: good.ID()},
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	conn, err := dialer.DialRenew(ctx)
	must(t, err)
	conn.Close()
	if took := time.Since(begun); took < tunnel.AttemptTimeout {
		t.Errorf("took %s", took)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	d := deploy(t, "clinic")
	reached := make(chan struct{}, 2)
	silent := listen(t, func(c net.Conn) { reached <- struct{}{}; io.Copy(io.Discard, c) })
	id := d.id(identity.Gateway, "cache")
	dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: []tunnel.Endpoint{{Address: silent, ID: id}, {Address: silent, ID: id}}}
	ctx, cancel := context.WithCancel(t.Context())
	bound := lab.Promised(t, time.Second)
	cancelled := make(chan time.Time, 1)
	go func() { <-reached; cancelled <- time.Now(); cancel() }()
	if _, err := dialer.DialRenew(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took, most := time.Since(<-cancelled), bound(); took > most {
		t.Errorf("took %s, more than %s", took, most)
	}
}

func TestOnlyAnApplicationHostDials(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	for says, dialer := range map[string]tunnel.Dialer{
		"only an application host's": {Credentials: gateway},
		"no credentials":             {},
	} {
		if _, err := dialer.Dial(t.Context(), tunnel.Endpoint{Address: gatewayAt(t, gateway), ID: gateway.ID()}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

// TestACacheThatMustBeTheOnlyOneRefusesWhoHasSeveral, in words at the host's end.
func TestACacheThatMustBeTheOnlyOneRefusesWhoHasSeveral(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	locks := tunnel.Endpoint{ID: gateway.ID(), Address: listen(t, func(raw net.Conn) {
		cfg := gateway.ServerConfig()
		tunnel.OnSeveral(cfg, func() bool { return true })
		conn := tls.Server(raw, cfg)
		io.Copy(conn, conn)
	})}
	plain := tunnel.Endpoint{ID: gateway.ID(), Address: gatewayAt(t, gateway)}
	for name, c := range map[string]struct {
		endpoints []tunnel.Endpoint
		to        tunnel.Endpoint
		says      string
	}{
		"a host with one":                {[]tunnel.Endpoint{locks}, locks, ""},
		"a host with several":            {[]tunnel.Endpoint{plain, locks}, locks, "its cache holds locks or queues"},
		"a host with several, elsewhere": {[]tunnel.Endpoint{plain, locks}, plain, ""},
	} {
		dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: c.endpoints}
		conn, err := dialer.Dial(t.Context(), c.to)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestARefusalComesWithTheFirstReadAndHasWords: the application host's
// certificate is of a CA that the gateway does not believe.
func TestARefusalComesWithTheFirstReadAndHasWords(t *testing.T) {
	d, other := deploy(t, "clinic"), deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	cfg := d.credentials(identity.App, "web").ClientConfig(gateway.ID())
	stranger := other.forge([]string{"spiffe://clinic/app/web"}, nil)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	conn, err := tls.Dial("tcp", gatewayAt(t, gateway), cfg)
	must(t, err) // RFC 8446 §2: the client is done before the server has looked
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	if words := tunnel.Refusal(err); !strings.Contains(words, "refused this host's certificate") {
		t.Errorf("%v became %q", err, words)
	}
	if words := tunnel.Refusal(io.EOF); words != "" {
		t.Errorf("the end became %q", words)
	}
}

// TestBothEndsNoticeAVanishedPeer reads the options back from the kernel, which
// is what can be had without waiting half a minute.
func TestBothEndsNoticeAVanishedPeer(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	accepted := make(chan map[string]int, 1)
	address := listen(t, func(raw net.Conn) {
		accepted <- options(t, raw)
		io.Copy(io.Discard, tls.Server(raw, gateway.ServerConfig()))
	})
	dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web")}
	conn, err := dialer.Dial(t.Context(), tunnel.Endpoint{Address: address, ID: gateway.ID()})
	must(t, err)
	defer conn.Close()
	userTimeouts := map[string]int{"dialled": 30_000, "accepted": 120_000} // ms
	for end, got := range map[string]map[string]int{"dialled": options(t, conn.(*tls.Conn).NetConn()), "accepted": <-accepted} {
		for name, want := range map[string]int{"keepalive": 1, "idle": 15, "interval": 5, "count": 3, "user timeout": userTimeouts[end], "no delay": 1} {
			if got[name] != want {
				t.Errorf("%s: %s is %d, want %d", end, name, got[name], want)
			}
		}
	}
}

func options(t *testing.T, conn net.Conn) map[string]int {
	if wire, ok := conn.(*eventloop.Wire); ok {
		conn = wire.Conn
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return nil
	}
	got := map[string]int{}
	err = raw.Control(func(fd uintptr) {
		for name, o := range map[string][2]int{
			"keepalive": {unix.SOL_SOCKET, unix.SO_KEEPALIVE}, "idle": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
			"interval": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, "count": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
			"user timeout": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}, "no delay": {unix.IPPROTO_TCP, unix.TCP_NODELAY},
		} {
			value, err := unix.GetsockoptInt(int(fd), o[0], o[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got[name] = value
		}
	})
	if err != nil {
		t.Error(err)
	}
	return got
}

func TestNotServedMeansByEveryGateway(t *testing.T) {
	d := deploy(t, "clinic")
	gateway := d.credentials(identity.Gateway, "cache")
	without, nobody := tunnel.Endpoint{Address: gatewayAt(t, gateway), ID: gateway.ID()}, tunnel.Endpoint{Address: nobodyAt(t), ID: gateway.ID()}
	for _, c := range []struct {
		endpoints []tunnel.Endpoint
		want      bool
	}{{[]tunnel.Endpoint{without}, true}, {[]tunnel.Endpoint{without, without}, true}, {[]tunnel.Endpoint{without, nobody}, false}, {[]tunnel.Endpoint{nobody, without}, false}} {
		dialer := tunnel.Dialer{Credentials: d.credentials(identity.App, "web"), Endpoints: c.endpoints}
		_, err := dialer.DialRenew(t.Context())
		if got := tunnel.NotServed(err); err == nil || got != c.want {
			t.Errorf("%v: %v, want %v", err, got, c.want)
		}
	}
	if tunnel.NotServed(nil) {
		t.Error("nothing is wrong")
	}
}
