//go:build linux

package bench

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/resp"
	"github.com/redoubt-cache/redoubt/test/lab"
)

// BenchmarkRatio compares tunnels with redis-benchmark as the generator, as most
// who measure Redis do: its figures can be held against theirs. An iteration is
// a round: plain, a peer, plain, the next peer. The metrics are medians of what
// each peer reached of the plain run just before it.
//
//	go test -run NONE -bench Ratio -benchtime 5x ./internal/bench
//
// A peer whose client must speak TLS itself (the engine's own) is left to
// "redoubt bench".
func BenchmarkRatio(b *testing.B) {
	engine, err := find(peers()[0].program)
	if err != nil {
		b.Fatal(err)
	}
	raiseFileLimit()
	s, err := newSite(lab.Redoubt(b), engine)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	running, err := s.startAll(b.Context(), chosenPeers([]string{"redoubt", "stunnel", "haproxy", "ghostunnel"}), &Report{})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"c50", "set", "c500", "p16", "c1", "64k", "churn"} {
		loads, err := Named([]string{name})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { benchmarkRatio(b, running, loads[0]) })
	}
}

func benchmarkRatio(b *testing.B, running []candidate, l Load) {
	for _, c := range running {
		fill(b, c.target, l)
	}
	ratios, plain := map[string][]float64{}, []float64{}
	for b.Loop() {
		for _, c := range running[1:] {
			// A slow peer would take minutes for what plain does in a second.
			n, of := requests(l), running[0].target
			before := redisBenchmark(b, of, l, n)
			if c.name != "redoubt" {
				n /= 5
			}
			ratios[c.name] = append(ratios[c.name], redisBenchmark(b, c.target, l, n)/before)
			plain = append(plain, before)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(plain), "plain-requests/s")
	for name, all := range ratios {
		b.ReportMetric(median(all), name)
		b.ReportMetric(slices.Min(all), name+"-low")
		b.ReportMetric(slices.Max(all), name+"-high")
	}
}

func requests(l Load) int {
	switch {
	case l.Pipeline > 1:
		return 1_500_000
	case l.Connections == 1, l.ValueSize > 1000, l.Churn:
		return 25_000
	}
	return 150_000
}

// fill writes the key that redis-benchmark reads.
func fill(b *testing.B, t target, l Load) {
	setup, err := dial(b.Context(), t)
	if err != nil {
		b.Fatal(err)
	}
	defer setup.wire.Close()
	if err := setup.do(resp.AppendCommand(nil, "SET", "key:__rand_int__", strings.Repeat("x", l.ValueSize)), []byte("+OK\r\n")); err != nil {
		b.Fatal(err)
	}
}

// redisBenchmark is one run; it returns requests/s. The password in its
// arguments is of a deployment that lives for this benchmark.
func redisBenchmark(b *testing.B, t target, l Load, n int) float64 {
	host, port, _ := strings.Cut(t.address, ":")
	what := "get"
	if l.Set {
		what = "set"
	}
	args := []string{"-h", host, "-p", port, "-a", t.password, "--csv", "-t", what, "-c", strconv.Itoa(l.Connections),
		"-P", strconv.Itoa(l.Pipeline), "-d", strconv.Itoa(l.ValueSize), "-n", strconv.Itoa(n)}
	if l.Churn {
		args = append(args, "-k", "0")
	}
	out, err := exec.CommandContext(b.Context(), "redis-benchmark", args...).Output()
	if err != nil {
		b.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) < 2 {
		b.Fatalf("redis-benchmark says %q", out)
	}
	rate, err := strconv.ParseFloat(strings.Trim(fields[1], `"`), 64)
	if err != nil || rate == 0 {
		b.Fatalf("redis-benchmark says %q", out)
	}
	return rate
}
