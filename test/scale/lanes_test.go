//go:build slow && linux

package scale_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// BenchmarkLanes is a gateway with a thousand application hosts: real sidecars,
// each with a certificate and a source address of its own, all in this process.
// What a lane costs there, and how long until all are back when the gateway has
// been restarted and they come at once. Both ends of each handshake, and the
// engine, are on this machine's cores.
func BenchmarkLanes(b *testing.B) {
	const hosts = 1000
	for b.Loop() {
		s := newSite(b)
		fleet := make([]*host, hosts)
		for i := range fleet {
			fleet[i] = s.host(i)
		}
		engine := child(b, s.gateway.PID())
		gateBefore, engineBefore, cpuBefore := s.gateway.examine(b), mustExamine(b, engine, ""), cpu(b, s.gateway.PID())
		began := time.Now()
		together(fleet, func(h *host) { h.arrive(b) })
		arrived := time.Since(began)
		if b.Failed() {
			return
		}
		spent := cpu(b, s.gateway.PID()) - cpuBefore
		gate := s.gateway.examine(b)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(arrived.Seconds(), "first-arrival-s")
		b.ReportMetric(spent.Seconds()*1000/hosts, "gateway-CPU-ms/handshake")
		b.ReportMetric(each(gateBefore.RSS, gate.RSS, hosts), "gateway-RSS-KB/lane")
		b.ReportMetric(each(int64(gateBefore.Heap), int64(gate.Heap), hosts), "gateway-heap-KB/lane")
		b.ReportMetric(float64(gate.Goroutines-gateBefore.Goroutines)/hosts, "gateway-goroutines/lane")
		b.ReportMetric(float64(gate.Files-gateBefore.Files)/hosts, "gateway-files/lane")
		b.ReportMetric(each(engineBefore.RSS, mustExamine(b, engine, "").RSS, hosts), "engine-RSS-KB/lane")
		// A value of 64 KB each way: what the buffers grow to that stay.
		value := strings.Repeat("v", 64_000)
		for _, h := range fleet {
			h.app.Want("+OK\r\n", "SET", "k", value)
			h.app.Want(fmt.Sprintf("$%d\r\n%s\r\n", len(value), value), "GET", "k")
		}
		b.ReportMetric(each(gateBefore.RSS, s.gateway.examine(b).RSS, hosts), "gateway-RSS-KB/lane-after-64KB")
		reconnect(b, s, fleet)
	}
}

// reconnect restarts the gateway, and measures from when it is ready until each
// sidecar has its lane again.
func reconnect(b *testing.B, s *site, fleet []*host) {
	for _, h := range fleet {
		h.forget()
	}
	if code := s.gateway.Stop(); code != 0 {
		b.Fatalf("the gateway ended with %d\n%s", code, s.gateway.Output())
	}
	for _, h := range fleet {
		h.await(b, h.left)
	}
	s.startGateway()
	began := time.Now()
	took := make([]float64, len(fleet))
	var mu sync.Mutex
	n := 0
	together(fleet, func(h *host) {
		h.await(b, h.back)
		mu.Lock()
		defer mu.Unlock()
		took[n] = time.Since(began).Seconds()
		n++
	})
	for _, h := range fleet {
		h.app.Want("+PONG\r\n", "PING")
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "back-half-s")
	b.ReportMetric(took[len(took)*99/100], "back-99%-s")
	b.ReportMetric(took[len(took)-1], "back-all-s")
	b.ReportMetric(cpu(b, s.gateway.PID()).Seconds()*1000/float64(len(fleet)), "gateway-CPU-ms/return")
}

func together(fleet []*host, do func(*host)) {
	var wait sync.WaitGroup
	for _, h := range fleet {
		wait.Go(func() { do(h) })
	}
	wait.Wait()
}

// host is an application host: a sidecar and an application's connection to it.
type host struct {
	site       *site
	car        *sidecar.Sidecar
	app        *lab.Client
	left, back chan struct{} // the sidecar says that the cache is away, or there again
}

// host starts a sidecar that has a certificate of its own.
func (s *site) host(number int) *host {
	s.t.Helper()
	name := fmt.Sprintf("host-%d", number)
	s.Issue(name, identity.App)
	credentials, err := tunnel.LoadCredentials(tunnel.Files{Certificate: filepath.Join(s.Dir, name, "tls.pem"), CA: filepath.Join(s.Dir, name, "ca.crt")})
	if err != nil {
		s.t.Fatal(err)
	}
	gateway, err := identity.New(lab.SiteName, identity.Gateway, "cache")
	if err != nil {
		s.t.Fatal(err)
	}
	h := &host{site: s, left: make(chan struct{}, 100), back: make(chan struct{}, 100)}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(2+number/250), byte(1+number%250))}}
	h.car, err = sidecar.New(sidecar.Options{
		Listen: "127.0.0.1:0",
		Log:    slog.New(news{h: h}),
		// As tunnel.Dialer does, but from an address of its own.
		Gateways: []sidecar.Gateway{{Name: "cache", Dial: func(ctx context.Context) (net.Conn, error) {
			raw, err := dialer.DialContext(ctx, "tcp", s.Address)
			if err != nil {
				return nil, err
			}
			conn := tls.Client(eventloop.NewWire(raw), credentials.ClientConfig(gateway))
			if err := conn.HandshakeContext(ctx); err != nil {
				raw.Close()
				return nil, err
			}
			return conn, nil
		}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.car.Run(ctx, func() {})
	}()
	s.t.Cleanup(func() { stop(); <-ended })
	h.app = lab.Connect(s.t, h.car.Addr().String(), "")
	return h
}

// arrive has the application authenticate, which makes the lane.
func (h *host) arrive(b *testing.B) {
	const attempts = 100 // as an application would that can't do without
	for range attempts {
		reply := h.app.Do("AUTH", h.site.Password)
		if reply == "+OK\r\n" {
			return
		}
		if !strings.HasPrefix(reply, "-LOADING ") {
			b.Errorf("AUTH: %q", reply)
			return
		}
	}
	b.Error("the cache could not be reached")
}

func (h *host) await(b *testing.B, event chan struct{}) {
	select {
	case <-event:
	case <-time.After(60 * time.Second):
		b.Error("a sidecar waited for a minute")
	}
}

// forget drops what the log has told so far.
func (h *host) forget() {
	for {
		select {
		case <-h.left:
		case <-h.back:
		default:
			return
		}
	}
}

// news is a sidecar's log that is read for whether the cache can be reached.
type news struct{ h *host }

func (n news) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "the cache cannot be reached":
		n.h.left <- struct{}{}
	case "the cache can be reached again":
		n.h.back <- struct{}{}
	}
	return nil
}

func (news) Enabled(context.Context, slog.Level) bool { return true }
func (n news) WithAttrs([]slog.Attr) slog.Handler     { return n }
func (n news) WithGroup(string) slog.Handler          { return n }
