//go:build linux

package bench

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	baseBinary = flag.String("base", "", "the binary that BenchmarkBetween compares with")
	newBinary  = flag.String("new", "", "the one that it compares")
	betweenOn  = flag.String("loads", "c50,c500,p16,c1,64k,set64k,churn", "the loads that it puts on both")
)

// BenchmarkBetween tells whether a change made Redoubt faster: two binaries, each a
// whole "redoubt up", under the same load in turn. An iteration is a round. Figures are
// medians: of the CPU that sidecar and gateway (not the engine) took for a request, of
// the rate, and of p99. It needs -base and -new.
//
//	go test -run NONE -bench Between -benchtime 5x ./internal/bench -base /tmp/old -new /tmp/new
func BenchmarkBetween(b *testing.B) {
	if *baseBinary == "" || *newBinary == "" {
		b.Skip("which binaries? -base and -new say")
	}
	engine, err := find(peers()[0].program)
	if err != nil {
		b.Fatal(err)
	}
	raiseFileLimit()
	arms := []*arm{{name: "base", binary: *baseBinary}, {name: "new", binary: *newBinary}}
	for _, a := range arms {
		s, err := newSite(a.binary, engine)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.close() })
		if a.target, err = startRedoubt(b.Context(), s, a.binary); err != nil {
			b.Fatal(err)
		}
		a.pid = s.processes[0].cmd.Process.Pid
	}
	loads, err := Named(strings.Split(*betweenOn, ","))
	if err != nil {
		b.Fatal(err)
	}
	for _, l := range loads {
		b.Run(l.Name, func(b *testing.B) {
			for b.Loop() {
				for _, a := range arms {
					a.measure(b, l)
				}
			}
			b.ReportMetric(0, "ns/op")
			for _, a := range arms {
				a.report(b)
			}
		})
	}
}

// arm is one of the two, and what was measured of it under a load.
type arm struct {
	name, binary   string
	target         target
	pid            int
	cpu, rate, p99 []float64
}

func (a *arm) measure(b *testing.B, l Load) {
	a.target.byUnix = l.Unix
	before := cpuOf(b, a.pid)
	const warmup, duration = 300 * time.Millisecond, 1500 * time.Millisecond
	recorder, err := measure(b.Context(), a.target, l, warmup, duration)
	if err != nil {
		b.Fatal(err)
	}
	spent := cpuOf(b, a.pid) - before
	r := newRun(1, recorder, duration)
	a.cpu = append(a.cpu, spent.Seconds()*1e6/(r.Rate*(warmup+duration).Seconds()))
	a.rate = append(a.rate, r.Rate)
	a.p99 = append(a.p99, (&PeerResult{Latency: r.Latency}).latencyAt(99))
}

func (a *arm) report(b *testing.B) {
	b.ReportMetric(median(a.cpu), a.name+"-µs")
	b.ReportMetric(median(a.rate), a.name+"/s")
	b.ReportMetric(median(a.p99), a.name+"-p99-µs")
	b.Logf("%s: µs a request %.2f, requests/s %.0f", a.name, a.cpu, a.rate)
	a.cpu, a.rate, a.p99 = nil, nil, nil
}

// cpuOf is how long a process's threads have run.
func cpuOf(b *testing.B, pid int) (sum time.Duration) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, t := range tasks {
		text, failed := os.ReadFile(t)
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, malformed := strconv.ParseInt(string(first), 10, 64)
		err = cmp.Or(err, failed, malformed)
		sum += time.Duration(ns)
	}
	if err != nil || sum == 0 {
		b.Fatalf("the CPU time of process %d: %v", pid, err)
	}
	return sum
}
