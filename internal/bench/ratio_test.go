//go:build linux

package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	ratios, plain := map[string][]float64{}, []run{}
	ours := []run{}
	for b.Loop() {
		for _, c := range running[1:] {
			// A slow peer would take minutes for what plain does in a second.
			n, of := requests(l), running[0].target
			before := redisBenchmark(b, of, l, n)
			if c.name != "redoubt" {
				n /= 5
			}
			r := redisBenchmark(b, c.target, l, n)
			ratios[c.name] = append(ratios[c.name], r.rate/before.rate)
			plain = append(plain, before)
			if c.name == "redoubt" {
				ours = append(ours, r)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(medianOf(plain, func(r run) float64 { return r.rate }), "plain-requests/s")
	for name, runs := range map[string][]run{"plain": plain, "redoubt": ours} {
		b.ReportMetric(medianOf(runs, func(r run) float64 { return r.client }), name+"-client-µs")
		b.ReportMetric(medianOf(runs, func(r run) float64 { return r.servers }), name+"-servers-µs")
	}
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

// run is what one run came to.
type run struct {
	rate            float64 // requests/s
	client, servers float64 // µs of CPU a request: redis-benchmark's, and all that we started for the peers
}

func medianOf(runs []run, of func(run) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return median(values)
}

// redisBenchmark is one run. The password in its arguments is of a deployment
// that lives for this benchmark.
func redisBenchmark(b *testing.B, t target, l Load, n int) run {
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
	cmd := exec.CommandContext(b.Context(), "redis-benchmark", args...)
	before := readCPUTime()
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	servers := float64(readCPUTime().ours-before.ours) * 1e6 / userHZ
	client := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) < 2 {
		b.Fatalf("redis-benchmark says %q", out)
	}
	rate, err := strconv.ParseFloat(strings.Trim(fields[1], `"`), 64)
	if err != nil || rate == 0 {
		b.Fatalf("redis-benchmark says %q", out)
	}
	return run{rate, float64(client.Microseconds()) / float64(n), servers / float64(n)}
}

// BenchmarkFloor is what 64 KB cost by themselves where they pass a tunnel: the
// cipher at each end, and each way through the kernel with both ends on this
// machine.
func BenchmarkFloor(b *testing.B) {
	const size, record = 64 << 10, 16 << 10
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	sealed := gcm.Seal(nil, nonce, make([]byte, record), nil)
	out := make([]byte, 0, record+gcm.Overhead())
	b.Run("encrypt", func(b *testing.B) {
		for b.Loop() {
			for range size / record {
				gcm.Seal(out, nonce, out[:record], nil)
			}
		}
	})
	b.Run("decrypt", func(b *testing.B) {
		for b.Loop() {
			for range size / record {
				if _, err := gcm.Open(out, nonce, sealed, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(b.TempDir(), "s")} {
		b.Run(network, func(b *testing.B) {
			listener, err := net.Listen(network, address)
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			var reader sync.WaitGroup
			reader.Go(func() {
				if conn, err := listener.Accept(); err == nil {
					io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, size))
					conn.Close()
				}
			})
			conn, err := net.Dial(network, listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, size)
			for b.Loop() {
				if _, err := conn.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			conn.Close()
			reader.Wait()
		})
	}
}
