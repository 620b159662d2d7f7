//go:build linux

package bench

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// BenchmarkGenerator says what a request costs the generator beside what it
// costs redis-benchmark, which docs/performance.md tells. Run it with
// -benchtime=1x: one iteration is one run of both.
func BenchmarkGenerator(b *testing.B) {
	for _, name := range []string{"c50", "set", "c500", "p16", "c1", "64k", "churn"} {
		loads, err := Named([]string{name})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/ours", func(b *testing.B) { benchmarkOurs(b, loads[0]) })
		b.Run(name+"/redis-benchmark", func(b *testing.B) { benchmarkTheirs(b, loads[0]) })
	}
}

func plainTarget(b *testing.B) target {
	engine, err := find(peers()[0].program)
	if err != nil {
		b.Fatal(err)
	}
	s, err := newSite("", engine)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	t, err := startPlain(b.Context(), s, engine)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

func report(b *testing.B, requests int64, cpu, elapsed time.Duration) {
	b.ReportMetric(float64(cpu.Microseconds())/float64(requests), "µs-CPU/request")
	b.ReportMetric(float64(requests)/elapsed.Seconds(), "requests/s")
	b.ReportMetric(0, "ns/op")
}

func benchmarkOurs(b *testing.B, l Load) {
	t := plainTarget(b)
	for b.Loop() {
		before := used(b)
		r, err := measure(b.Context(), t, l, 0, 2*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		report(b, r.count, used(b)-before, 2*time.Second)
	}
}

func used(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchmarkTheirs(b *testing.B, l Load) {
	t := plainTarget(b)
	what, n := "get", 100_000
	if l.Set {
		what = "set"
	}
	if l.Pipeline > 1 {
		n = 1_000_000
	}
	if l.ValueSize > 1000 || l.Connections == 1 || l.Churn {
		n = 25_000
	}
	// It takes a password as an argument only, which we don't do even here.
	setup, err := dial(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	defer setup.wire.Close()
	value := strings.Repeat("x", l.ValueSize)
	for _, request := range [][]byte{resp.AppendCommand(nil, "SET", "key:__rand_int__", value), resp.AppendCommand(nil, "CONFIG", "SET", "requirepass", "")} {
		if err := setup.do(request, []byte("+OK\r\n")); err != nil {
			b.Fatal(err)
		}
	}
	port := t.address[len("127.0.0.1:"):]
	for b.Loop() {
		args := []string{"-p", port, "-t", what, "-c", strconv.Itoa(l.Connections), "-P", strconv.Itoa(l.Pipeline), "-d", strconv.Itoa(l.ValueSize), "-n", strconv.Itoa(n)}
		if l.Churn {
			args = append(args, "-k", "0")
		}
		cmd := exec.CommandContext(b.Context(), "redis-benchmark", args...)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		elapsed := time.Since(began)
		u := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		report(b, int64(n), time.Duration(u.Utime.Nano()+u.Stime.Nano()), elapsed)
	}
}
