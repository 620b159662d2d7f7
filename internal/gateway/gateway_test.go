package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

func TestRedisAnswersThroughTheTunnel(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	conn := g.dial()
	if got := ask(t, conn, "SET", "MARKKEY", "MARKVALUE"); got != "+OK" {
		t.Fatalf("SET: %s", got)
	}
	if got := ask(t, conn, "STRLEN", "MARKKEY"); got != ":9" {
		t.Fatalf("STRLEN: %s", got)
	}
	conn.Close()
	g.line("connection opened", "peer=spiffe://clinic/app/web", "source=127.0.0.1")
	g.line("connection closed", "peer=spiffe://clinic/app/web", `reason="peer closed"`, "bytes_in=", "bytes_out=9", "duration=")
	if text, _ := g.log.all(); strings.Contains(text, "MARK") {
		t.Errorf("the log repeats what was carried:\n%s", text)
	}
}

// TestAnApplicationsOwnTLSIsServedToo: no ALPN, a CA file and a certificate are
// what Redis client libraries have settings for.
func TestAnApplicationsOwnTLSIsServedToo(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	cfg := g.app.ClientConfig(g.gateway)
	cfg.NextProtos, cfg.VerifyConnection = nil, nil
	conn, err := tls.Dial("tcp", g.Addr().String(), cfg)
	must(t, err)
	defer conn.Close()
	if got := ask(t, conn, "PING"); got != "+PONG" {
		t.Error(got)
	}
}

func TestATakenPortIsKnownAtOnceAndNamed(t *testing.T) {
	g := start(t, "/nowhere", nil)
	_, err := gateway.New(gateway.Options{
		Listen: g.Addr().String(), Credentials: g.host("spiffe://clinic/gateway/second"),
		Settings: gateway.Settings{Limits: gateway.Limits{Connections: 1, PerIdentity: 1, Handshakes: 1, HandshakeTimeout: 1}},
		Dial:     func(context.Context) (net.Conn, error) { return nil, io.EOF }, Log: discard(),
	})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), g.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	g := start(t, "/nowhere", nil)
	good := gateway.Options{
		Listen: "127.0.0.1:0", Credentials: g.host("spiffe://clinic/gateway/second"),
		Settings: gateway.Settings{Limits: gateway.Limits{Connections: 1, PerIdentity: 1, Handshakes: 1, HandshakeTimeout: 1}},
		Dial:     func(context.Context) (net.Conn, error) { return nil, io.EOF }, Log: discard(),
	}
	for says, change := range map[string]func(*gateway.Options){
		"credentials":             func(o *gateway.Options) { o.Credentials = nil },
		"a way to the engine":     func(o *gateway.Options) { o.Dial = nil },
		"a log":                   func(o *gateway.Options) { o.Log = nil },
		"can't serve":             func(o *gateway.Options) { o.Credentials = g.app },
		"not a network":           func(o *gateway.Options) { o.Admit = []netip.Prefix{{}} },
		"limits must be positive": func(o *gateway.Options) { o.Limits.Handshakes = 0 },
		"HandshakeTimeout:0s":     func(o *gateway.Options) { o.Limits.HandshakeTimeout = 0 },
		"listen on 192.0.2.1:1":   func(o *gateway.Options) { o.Listen = "192.0.2.1:1" }, // TEST-NET-1: nobody's
		"listen on not-a-port: ":  func(o *gateway.Options) { o.Listen = "not-a-port" },
	} {
		o := good
		change(&o)
		if _, err := gateway.New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want it to say %q", err, says)
		}
	}
}

func TestLimitsCloseWithAWordInTheLogAndLetInAgain(t *testing.T) {
	path, _ := redis(t)
	for name, limits := range map[string]func(*gateway.Limits){
		"limits.connections":  func(l *gateway.Limits) { l.Connections = 2 },
		"limits.per_identity": func(l *gateway.Limits) { l.PerIdentity = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, path, func(o *gateway.Options) { limits(&o.Limits) })
			first, second := g.dial(), g.dial()
			for _, c := range []net.Conn{first, second} {
				if got := ask(t, c, "PING"); got != "+PONG" {
					t.Fatal(got)
				}
			}
			third := g.dial()
			third.Write(make([]byte, 64<<10)) // unread at their end, which must not become a reset
			if why := ask(t, third, "PING"); !strings.HasPrefix(why, "-LOADING redoubt: the gateway refuses this host: ") || !strings.Contains(why, name) {
				t.Errorf("the third: %q", why)
			}
			if _, err := third.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the third: %v, want a clean end", err)
			}
			if _, err := third.Write(make([]byte, 1)); err != nil { // what a reset would break
				t.Errorf("the third, writing on: %v", err)
			}
			third.Close()
			g.line("connection refused", name, "peer=spiffe://clinic/app/web")
			if n := g.dials.Load(); n != 2 {
				t.Errorf("the engine was dialled %d times", n)
			}
			first.Close()
			g.line("connection closed")
			if got := ask(t, g.dial(), "PING"); got != "+PONG" {
				t.Error(got)
			}
		})
	}
}

func TestOneIdentityAtItsLimitLeavesOthersAlone(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.PerIdentity = 1 })
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Fatal(got)
	}
	g.app = g.host("spiffe://clinic/app/other")
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

func TestEngineAwayIsACleanEndAndNotForEver(t *testing.T) {
	path, _ := redis(t)
	away := path + ".away"
	must(t, os.Rename(path, away))
	g := start(t, path, nil)
	said, err := io.ReadAll(g.dial())
	if why := tunnel.Refusal(tunnel.Declined(said)); err != nil || why != "the gateway cannot reach its engine: its log says why" {
		t.Errorf("%q, %v: want the reason, and a clean end", said, err)
	}
	g.line("the engine is away", "peer=spiffe://clinic/app/web", path)
	must(t, os.Rename(away, path))
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

func TestOnlyAUnixSocketIsAnEngine(t *testing.T) {
	g := start(t, "", func(o *gateway.Options) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // an engine on TCP
		must(t, err)
		t.Cleanup(func() { l.Close() })
		addr := l.Addr().String()
		o.Dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
	})
	if said, err := io.ReadAll(g.dial()); err != nil || tunnel.Declined(said) == nil {
		t.Errorf("%q, %v", said, err)
	}
	g.line("only a unix socket will do")
}

func TestEngineKilledEndsItsConnections(t *testing.T) {
	path, server := redis(t)
	g := start(t, path, nil)
	conn := g.dial()
	ask(t, conn, "PING")
	must(t, server.Process.Kill())
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want a clean end", err)
	}
	conn.Close()
	g.line("connection closed", `reason="engine closed"`)
}

func TestAPeerThatResetsIsForgotten(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, func(o *gateway.Options) { o.Limits.Connections = 1 })
	conn := g.dial()
	ask(t, conn, "PING")
	must(t, conn.NetConn().(*eventloop.Wire).Conn.(*net.TCPConn).SetLinger(0))
	conn.NetConn().Close()
	g.line("connection closed", "peer lost", "connection reset")
	if got := ask(t, g.dial(), "PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestOutOfFilesIsWaitedOut takes all descriptors of the process away for a while,
// then all but one, so that accepting works and fails in turn; the log tells of the
// lack's beginning and end only.
func TestOutOfFilesIsWaitedOut(t *testing.T) {
	path, _ := redis(t)
	g := start(t, path, nil)
	const failing, again = "connections can't be accepted", "connections are accepted again"
	address := &syscall.SockaddrInet4{Port: g.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	var strangers []*os.File
	for range 20 {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		must(t, err)
		s := os.NewFile(uintptr(fd), "stranger")
		defer s.Close()
		strangers = append(strangers, s)
	}
	var old syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old))
	few := old
	few.Cur = 256 // else there are a million to take
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	var taken []int
	giveBack := func() {
		for _, fd := range taken {
			syscall.Close(fd)
		}
		taken = nil
	}
	defer giveBack()
	for {
		fd, err := syscall.Dup(2)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	for _, s := range strangers { // the gateway has none to accept them with
		must(t, syscall.Connect(int(s.Fd()), address))
	}
	g.line(failing, "too many open files")
	syscall.Close(taken[0]) // which one stranger after the other gets
	taken = taken[1:]
	for _, s := range strangers {
		must(t, syscall.Shutdown(int(s.Fd()), syscall.SHUT_WR))
	}
	for _, s := range strangers {
		if _, err := io.Copy(io.Discard, s); err != nil {
			t.Error(err)
		}
	}
	giveBack()
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old))
	for over := ""; over == ""; {
		conn := g.dial()
		if got := ask(t, conn, "PING"); got != "+PONG" {
			t.Fatal(got)
		}
		conn.Close()
		text, _ := g.log.all()
		if _, over, _ = strings.Cut(text, again); over != "" && strings.Contains(over, failing) {
			t.Error("it fails again:", over)
		}
	}
	text, _ := g.log.all()
	if f, a := strings.Count(text, failing), strings.Count(text, again); f != a {
		t.Errorf("%d times said that it fails, %d times that it works again", f, a)
	}
}

func TestTooFewFilesForTheLimitsIsSaidAtStart(t *testing.T) {
	g := start(t, "/nowhere", func(o *gateway.Options) { o.Limits.Connections = 1 << 40 })
	g.line("LimitNOFILE", "files_needed=")
}

func TestAnIdleGatewayStopsAtOnce(t *testing.T) {
	g := start(t, "/nowhere", nil)
	begun := time.Now()
	g.stop()
	must(t, g.wait())
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("an idle gateway took %s to stop", took)
	}
	if _, err := net.Dial("tcp", g.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the port still answers: %v", err)
	}
}
