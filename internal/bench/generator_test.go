package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// stall makes one request, the n-th, wait.
func stall(at int64, d time.Duration) func(int64, string) string {
	return func(n int64, right string) string {
		if n == at {
			<-time.After(d)
		}
		return right
	}
}

// TestAnOpenLoopChargesAStallToAllWhoWaited: one connection, 2,000 requests a
// second, one of which takes 100 ms. The 200 that were due meanwhile waited for
// 50 ms on average, a tenth of all. A generator that counts only the one slow
// answer would have it in 0.05 % of the requests.
func TestAnOpenLoopChargesAStallToAllWhoWaited(t *testing.T) {
	s := serve(t, stall(500, 100*time.Millisecond))
	open := Load{Name: "open", Connections: 1, Pipeline: 1, ValueSize: 16, Rate: 2000}
	r, err := measure(t.Context(), s.target(), open, 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if p99 := r.latency.ValueAtPercentile(99); p99 < int64(80*time.Millisecond) {
		t.Errorf("p99 is %v: the stall of 100 ms is hidden", time.Duration(p99))
	}
	if p95 := r.latency.ValueAtPercentile(95); p95 < int64(40*time.Millisecond) {
		t.Errorf("p95 is %v: those who waited are hidden", time.Duration(p95))
	}
	if n := r.latency.TotalCount(); n != 2000 {
		t.Errorf("%d latencies of 2000 requests that were due", n)
	}
}

// TestAnOpenLoopCountsWhatWasNeverAnswered: a peer that stops answering must
// not look better than a slow one.
func TestAnOpenLoopCountsWhatWasNeverAnswered(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(n int64, right string) string {
		if n == 100 {
			<-release
		}
		return right
	})
	defer close(release)
	open := Load{Name: "open", Connections: 1, Pipeline: 1, ValueSize: 16, Rate: 1000}
	r, err := measure(t.Context(), s.target(), open, 0, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.latency.TotalCount(); n != 500 {
		t.Errorf("%d latencies of 500 requests that were due", n)
	}
	if p50 := time.Duration(r.latency.ValueAtPercentile(50)); p50 < grace {
		t.Errorf("p50 is %v, and four of five were never answered", p50)
	}
	if r.count > 100 {
		t.Errorf("%d answers counted, at most 100 came", r.count)
	}
}

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	s := serve(t, nil)
	open := Load{Name: "open", Connections: 10, Pipeline: 1, ValueSize: 16, Rate: 1000}
	r, err := measure(t.Context(), s.target(), open, 100*time.Millisecond, 400*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.latency.TotalCount(); n != 400 {
		t.Errorf("%d requests in 400 ms at 1000/s", n)
	}
	if asked := s.asked.Load(); asked != 501 { // one SET before
		t.Errorf("the server was asked %d times", asked)
	}
}

func TestAClosedLoopCountsWhatTheServerAnswered(t *testing.T) {
	for _, l := range []Load{
		{Name: "get", Connections: 3, Pipeline: 1, ValueSize: 256},
		{Name: "pipeline", Connections: 3, Pipeline: 16, ValueSize: 256},
		{Name: "set", Connections: 3, Pipeline: 2, ValueSize: 1000, Set: true},
		{Name: "large", Connections: 3, Pipeline: 4, ValueSize: 300_000},
		{Name: "large set", Connections: 3, Pipeline: 4, ValueSize: 300_000, Set: true},
		{Name: "churn", Connections: 3, Pipeline: 1, ValueSize: 256, Churn: true},
	} {
		t.Run(l.Name, func(t *testing.T) {
			s := serve(t, nil)
			r, err := measure(t.Context(), s.target(), l, 0, 100*time.Millisecond)
			for longer := time.Second; err != nil && strings.Contains(err.Error(), "not one answer") && longer < time.Minute; longer *= 5 {
				s = serve(t, nil) // a busy machine is given longer
				r, err = measure(t.Context(), s.target(), l, 0, longer)
			}
			if err != nil {
				t.Fatal(err)
			}
			// Those that came after the end, those asked in turn, and one SET before.
			underWay := int64(2*l.Connections*l.Pipeline + 1)
			if asked := s.asked.Load(); r.count > asked || r.count < asked-underWay {
				t.Errorf("counted %d, the server answered %d", r.count, asked)
			}
			if n := r.latency.TotalCount(); n != r.count {
				t.Errorf("%d latencies, %d answers", n, r.count)
			}
		})
	}
}

func TestWrongAnswersEndTheRun(t *testing.T) {
	l := Load{Name: "get", Connections: 2, Pipeline: 1, ValueSize: 16}
	for _, c := range []struct {
		name, answer, want string
	}{
		{"an error", "-NOPERM this user has no permissions\r\n", `the error "NOPERM this user has no permissions"`},
		{"another value", "$16\r\nzzzzzzzzzzzzzzzz\r\n", "not the one that belongs"},
		{"a missing value", "$-1\r\n", "not the one that belongs"},
		{"two replies", strings.Repeat("$16\r\nabcdefghijklmnop\r\n", 2), "more was answered than asked"},
		{"an end", "", "the connection was closed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(n int64, right string) string {
				if n == 50 {
					return c.answer
				}
				return right
			})
			_, err := measure(t.Context(), s.target(), l, 0, time.Minute)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAnErrorAmongPipelinedAnswersIsTold(t *testing.T) {
	s := serve(t, func(n int64, right string) string {
		if n == 100 {
			return "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
		}
		return right
	})
	_, err := measure(t.Context(), s.target(), Load{Connections: 1, Pipeline: 16, ValueSize: 64}, 0, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "OOM command not allowed") {
		t.Errorf("%v", err)
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	s := serve(t, nil)
	for _, l := range []Load{{Connections: 2, Pipeline: 1}, {Connections: 2, Pipeline: 1, Rate: 10}, {Connections: 2, Pipeline: 1, Churn: true}} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := measure(ctx, s.target(), l, 0, time.Hour)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestASilentPeerIsAnError(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(n int64, right string) string {
		if n > 1 {
			<-release
		}
		return right
	})
	defer close(release)
	_, err := measure(t.Context(), s.target(), Load{Connections: 2, Pipeline: 1}, 0, 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "not one answer") {
		t.Errorf("%v", err)
	}
}

// TestTheLoopAllocatesNothing, since it shares its cores with what it measures.
func TestTheLoopAllocatesNothing(t *testing.T) {
	g := &generator{exchange: newExchange(Load{Pipeline: 16, ValueSize: 256}, ""), conns: make([]conn, 1), recorder: newRecorder(), end: time.Hour, due: newTimetable(Load{Rate: 1, Connections: 1})}
	g.started, g.load.Rate = time.Now(), 1 // so that an answer makes the connection idle, and nothing is sent
	if n := testing.AllocsPerRun(100, func() {
		g.conns[0].busy, g.conns[0].got = true, 0
		if err := g.take(0, g.exchange.reply); err != nil {
			t.Fatal(err)
		}
		g.due.take()
	}); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}
