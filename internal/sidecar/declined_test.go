package sidecar

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// TestWhatAGatewayDeclinesIsTold, to the application, in the log and to who asks: the
// gateway is there, and why it doesn't serve stands nowhere else on this host.
func TestWhatAGatewayDeclinesIsTold(t *testing.T) {
	const why = "refuses this host: it has its 2 connections already (limits.per_identity)"
	l := &lanes{socket: startEngine(t)}
	declining := filepath.Join(t.TempDir(), "s")
	door, err := net.Listen("unix", declining)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	go func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			conn.Write(tunnel.Sorry(why))
			conn.(*net.UnixConn).CloseWrite()
		}
	}()
	var full atomic.Bool
	log := new(journal)
	car, _ := startSidecar(t, Options{Log: logTo(log), Gateways: one(func(ctx context.Context) (net.Conn, error) {
		if full.Load() {
			return new(net.Dialer).DialContext(ctx, "unix", declining)
		}
		return l.dial(ctx)
	})})
	served := dialCar(t, car).login()
	if s, err := car.Serving(t.Context(), false); s == nil || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	full.Store(true)
	want := errorLine(errAwayRefused + "the gateway " + why)
	blocked := dialCar(t, car).login()
	blocked.expect(want, "BLPOP", "nothing", "1") // a lane of its own
	newcomer := dialCar(t, car)
	newcomer.expect(want, "AUTH", "another", password)
	if s, err := car.Serving(t.Context(), false); s != nil || err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%v, %v", s, err)
	}
	served.expect("+PONG\r\n", "PING")
	dialUnix(t, l.socket).login().do("CLIENT", "KILL", "TYPE", "normal") // its lane too
	waitFor(t, func() bool { return served.do("PING") == want })
	if n := strings.Count(log.String(), "limits.per_identity"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
	full.Store(false)
	if s, err := car.Serving(t.Context(), false); s == nil || err != nil {
		t.Errorf("it serves again: %v, %v", s, err)
	}

	idle, _ := startSidecar(t, Options{Gateways: one(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", declining)
	})})
	if s, err := idle.Serving(t.Context(), true); s != nil || err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("nobody has asked yet: %v, %v", s, err)
	}
}
