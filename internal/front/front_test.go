//go:build linux

package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestAFrontThatEndsTakesNoDataAlong: it is killed, and another serves what the engine has.
func TestAFrontThatEndsTakesNoDataAlong(t *testing.T) {
	r := start(t, nil)
	r.want("SET key value", "+OK")
	lost, err := r.dial()
	must(t, err)
	if got, err := ask(lost, "PING"); got != "+PONG" {
		t.Fatalf("%q %v", got, err)
	}
	first := r.Process()
	must(t, syscall.Kill(first.PID, syscall.SIGKILL))
	r.await("another front", func() bool { p := r.Process(); return p.PID != 0 && p.PID != first.PID })
	if _, err := ask(lost, "PING"); err == nil {
		t.Error("a connection through the front that was killed lives on")
	}
	r.want("GET key", "$5")
	if p := r.Process(); p.Restarts != 1 {
		t.Errorf("restarts: %d, want 1", p.Restarts)
	}
	if !strings.Contains(r.log.String(), "front died of SIGKILL") {
		t.Errorf("the log doesn't say how it ended:\n%s", r.log)
	}
	if s := r.Status(); s.Address != r.Addr().String() || s.Opened != 1 || s.Most != 20 {
		t.Errorf("its status: %+v", s)
	}
}

// TestAFrontThatHangsIsEnded by its keeper, so that nobody has to end both.
func TestAFrontThatHangsIsEnded(t *testing.T) {
	r := start(t, func(f *Front) { f.within = 3 * time.Second })
	first := r.Process().PID
	must(t, syscall.Kill(first, syscall.SIGSTOP))
	r.await("another front", func() bool { p := r.Process(); return p.PID != 0 && p.PID != first })
	if !strings.Contains(r.log.String(), "event loops didn't turn") {
		t.Errorf("the log doesn't say why:\n%s", r.log)
	}
}

func TestAStopDrainsTheFront(t *testing.T) {
	r := start(t, nil)
	conn, err := r.dial()
	must(t, err)
	if got, err := ask(conn, "PING"); got != "+PONG" {
		t.Fatalf("%q %v", got, err)
	}
	pid := r.Process().PID
	r.stop()
	must(t, r.wait())
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its process: %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "reason=drained") {
		t.Errorf("the connection was not drained:\n%s", log)
	}
}

// TestWhatChangesReachesTheFront: a host is revoked, and the front cuts it.
func TestWhatChangesReachesTheFront(t *testing.T) {
	r := start(t, nil)
	conn, err := r.dial()
	must(t, err)
	if got, err := ask(conn, "PING"); got != "+PONG" {
		t.Fatalf("%q %v", got, err)
	}
	_, err = r.ca.Revoke(r.app.ID())
	must(t, err)
	list, err := r.ca.Revocations()
	must(t, err)
	must(t, os.WriteFile(r.files.CRL+".new", list, 0o600))
	must(t, os.Rename(r.files.CRL+".new", r.files.CRL))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the revoked host's connection: %v", err)
	}
	r.await("the reason in the log", func() bool { return strings.Contains(r.log.String(), "is revoked") })
}

// TestSettingsChangeInTheFrontThatRunsAndInTheNext one: a network that is admitted no more.
func TestSettingsChangeInTheFrontThatRunsAndInTheNext(t *testing.T) {
	r := start(t, nil)
	conn, err := r.dial()
	must(t, err)
	if got, err := ask(conn, "PING"); got != "+PONG" {
		t.Fatalf("%q %v", got, err)
	}
	s := r.options.Settings
	s.Admit = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	must(t, r.Change(s))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection of a network that isn't admitted any more: %v", err)
	}
	first := r.Process().PID
	must(t, syscall.Kill(first, syscall.SIGKILL))
	r.await("another front", func() bool { p := r.Process(); return p.PID != 0 && p.PID != first })
	if _, err := r.dial(); err == nil {
		t.Error("the next front admits it")
	}
	s.Admit = nil
	must(t, r.Change(s))
	r.await("it is admitted again", func() bool {
		conn, err := r.dial()
		if err != nil {
			return false
		}
		got, _ := ask(conn, "PING")
		return got == "+PONG"
	})
	s.Limits.Connections = 0
	if err := r.Change(s); err == nil {
		t.Error("limits that are wrong are put in force")
	}
	s.Limits.Connections = 200
	must(t, r.Change(s))
	if got := r.Status().Most; got != 200 {
		t.Errorf("limits.connections is %d, want 200", got)
	}
}

// TestAnEngineThatIsAwayIsSaidToBe, to the host that asks, and another connection works
// once it is back.
func TestAnEngineThatIsAwayIsSaidToBe(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	r := start(t, func(f *Front) {
		dial := f.options.Dial
		f.options.Dial = func(ctx context.Context) (net.Conn, error) {
			if away.Load() {
				return nil, errors.New("the engine is not running")
			}
			return dial(ctx)
		}
	})
	conn, err := r.dial()
	must(t, err)
	if got, err := ask(conn, "PING"); err == nil && !strings.Contains(got, "cannot reach its engine") {
		t.Errorf("%q", got)
	}
	r.await("the cause in the log", func() bool { return strings.Contains(r.log.String(), "the engine is not running") })
	away.Store(false)
	r.want("PING", "+PONG")
}

// TestAFrontThatCantStartIsAnError, and no endless try.
func TestAFrontThatCantStartIsAnError(t *testing.T) {
	r := start(t, nil)
	o := r.options
	f, err := New(o)
	must(t, err)
	f.role = "broken"
	if err := f.Run(t.Context(), func() { t.Error("it is ready") }); err == nil || !strings.Contains(err.Error(), "its front doesn't start") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range []toKeeper{{Kind: kindReady}, {Kind: kindLane, Number: 1}, {Kind: kindAlive, Number: 7, Alive: true}, {Kind: kindRenew, Number: 3, Chain: [][]byte{{1}}}} {
		text, err := json.Marshal(m)
		must(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"kind":"status","number":1,"status":{"address":"x","connections":-1}}`))
	f.Add([]byte(`{"kind":"enroll","number":1,"source":"10.0.0.1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parse(text)
		if err != nil {
			return
		}
		if m.Kind != kindReady && m.Number == 0 || m.Kind == kindStatus && m.Status == nil || len(text) > maxMessage {
			t.Errorf("%q: %+v", text, m)
		}
		again, err := json.Marshal(m)
		must(t, err)
		if second, err := parse(again); err != nil || fmt.Sprint(second.Kind, second.Number) != fmt.Sprint(m.Kind, m.Number) {
			t.Errorf("%q: %v", again, err)
		}
	})
}
