//go:build slow

package engines_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
	"github.com/redoubt-cache/redoubt/internal/up"
	"github.com/redoubt-cache/redoubt/internal/verify"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// TestVerifyPassesOnEveryEngine: each generation writes its settings and users in a way
// of its own, and has commands of its own; nothing of that is drift.
func TestVerifyPassesOnEveryEngine(t *testing.T) {
	each(t, func(t *testing.T, b lab.Binary) {
		for _, uses := range [][]engine.Use{{engine.Cache}, {engine.Locks, engine.Queues}} {
			t.Run(fmt.Sprint(uses), func(t *testing.T) {
				d, target := deployed(t, b, engine.Policy{Uses: uses, Memory: 64 << 20, MaxValue: 16 << 20})
				passed := 0
				for _, c := range verify.Run(t.Context(), target, verify.Checks(), verify.Options{}).Checks {
					switch {
					case d.Engine.Version().String() == "valkey 8.0.1" && c.ID == "RD-506" && slices.Contains(uses, engine.Locks):
						// Before 8.0.6 a script has getfenv (CVE-2025-46818): found as it should be.
						if c.Outcome != evidence.Fail {
							t.Errorf("a flaw of this release is not found: %s, %s", c.Outcome, c.Detail)
						}
					case c.ID == "RD-603": // no command made this CA, so none is on record
					case c.ID == "RD-512": // whether this very release has all fixes is not this test's claim
					case c.Outcome == evidence.Fail:
						t.Errorf("%s fails: %s\n%s", c.ID, c.Detail, c.Evidence)
					case c.Outcome == evidence.Pass:
						passed++
					}
				}
				if passed < 35 {
					t.Errorf("only %d checks passed", passed)
				}
				t.Logf("%s: %d checks passed", d.Engine.Version(), passed)
			})
		}
	}, lab.TooOld)
}

// deployed runs a whole deployment in this process, which is what verify looks at.
func deployed(t *testing.T, b lab.Binary, p engine.Policy) (*up.Deployment, *verify.Target) {
	t.Helper()
	if err := errors.Join(sandbox.NoCoreFile(), sandbox.Ourselves()); err != nil { // as the commands do
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	d, err := up.New(up.Options{Dir: dir, Listen: "127.0.0.1:0", Gateway: "127.0.0.1:0", Binary: b.Path, Policy: p, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait(); d.Close() })
	for _, run := range []func(context.Context, func()) error{d.Engine.Run, d.Gateway.Run, d.Sidecar.Run} {
		ready := make(chan struct{})
		running.Go(func() {
			if err := run(ctx, func() { close(ready) }); err != nil {
				t.Error(err)
			}
		})
		select {
		case <-ready:
		case <-t.Context().Done():
			t.Fatal("not ready")
		}
	}
	running.Go(func() { d.KeepCertificates(ctx) })
	target, err := up.Target(dir)
	if err != nil {
		t.Fatal(err)
	}
	target.Cache.PID, target.App.PID = os.Getpid(), os.Getpid()
	target.Cache.Listen = d.Gateway.Addr().String()
	target.App.Listen, target.App.Bound = d.Sidecar.Addr().String(), d.Sidecar.Addr().String()
	target.Cache.Own(d.Engine)
	target.Doors = []tunnel.Endpoint{up.GatewayEndpoint(d.Gateway.Addr().String())}
	return d, target
}
