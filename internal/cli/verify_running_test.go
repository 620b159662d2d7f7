package cli

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/admin"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/sidecar"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// TestAProcessIsWhoTheKernelSaysItIs: one that was taken tells root's verify of another
// process and another address. The first it can't, and the second is found out.
func TestAProcessIsWhoTheKernelSaysItIs(t *testing.T) {
	const another = 1
	lies := facts{PID: another, Fingerprint: "right", Gateway: &gateway.Status{Address: "127.0.0.1:1"}, Sidecar: &sidecar.Status{Address: "127.0.0.1:2"}}
	server := admin.Server{
		Socket: filepath.Join(t.TempDir(), "admin.sock"), Log: slog.New(slog.DiscardHandler),
		Report: func(context.Context) admin.Report { return admin.Report{Facts: &lies} },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for _, target := range []*verify.Target{
		{Vantage: evidence.CacheHost, Deployment: "clinic", Cache: &verify.Cache{Listen: "127.0.0.1:6379"}},
		{Vantage: evidence.AppHost, Deployment: "clinic", App: &verify.App{Bound: "127.0.0.1:6379"}},
	} {
		c := new(verifyCmd)
		c.running(t.Context(), target, server.Socket)
		if c.unheard != nil {
			t.Fatal(c.unheard)
		}
		pid, declared := 0, ""
		if target.Cache != nil {
			pid, declared = target.Cache.PID, target.Cache.Listen
		} else {
			pid, declared = target.App.PID, target.App.Bound
		}
		if pid != os.Getpid() || declared != "127.0.0.1:6379" {
			t.Errorf("%s: it is taken at its word: process %d, %s", target.Vantage, pid, declared)
		}
		for _, r := range verify.Run(t.Context(), target, verify.Checks(), verify.Options{Cheap: true}).Checks {
			if r.ID == "RD-102" && (r.Outcome != evidence.Fail || !strings.Contains(r.Detail, "kernel knows of no such socket")) {
				t.Errorf("%s: %s %s", target.Vantage, r.Outcome, r.Detail)
			}
		}
	}
}
