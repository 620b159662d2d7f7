//go:build slow && linux

package scale_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/bench"
)

// BenchmarkLoops: what a request costs each process when a sidecar has one event loop,
// or two; and from that, by a model, what hosts with more processors could carry.
//
// The model: application and cache have a host each, of so many processors. A loop of
// the sidecar or of the gateway (one for each four processors, at least one) fills one
// at most, and so does the engine. A host has no more to give than its processors; the
// application itself takes as much for a request as the sidecar. The network is no limit.
func BenchmarkLoops(b *testing.B) {
	const rounds = 5
	for _, l := range []bench.Load{
		{Name: "c500", Connections: 500, Pipeline: 1, ValueSize: 256},
		{Name: "p16", Connections: 50, Pipeline: 16, ValueSize: 256},
	} {
		b.Run(l.Name, func(b *testing.B) {
			for b.Loop() {
				s := newSite(b)
				arms := []*loopsArm{{loops: 1}, {loops: 2}}
				for _, a := range arms {
					a.process = s.startSidecar(fmt.Sprint("loops: ", a.loops))
				}
				for range rounds {
					for _, a := range arms {
						a.measure(b, s, l)
					}
				}
				b.ReportMetric(0, "ns/op")
				for _, a := range arms {
					a.report(b)
				}
				one := arms[0]
				b.ReportMetric(median(arms[1].sidecar)/median(one.sidecar), "sidecar-2/1")
				b.ReportMetric(arms[1].ours()/one.ours(), "both-ends-2/1")
				for _, n := range []int{4, 8, 16} {
					for _, loops := range []int{1, 2, 4} {
						if loops <= n/2 {
							b.ReportMetric(one.carried(n, loops), fmt.Sprintf("model-%d-cores-%d-loops-req/s", n, loops))
						}
					}
				}
			}
		})
	}
}

// loopsArm is a sidecar with so many loops; the rest is µs of CPU a request, by round.
type loopsArm struct {
	loops                    int
	process                  *process
	sidecar, gateway, engine []float64
	rates                    []float64
}

func (a *loopsArm) measure(b *testing.B, s *site, l bench.Load) {
	const warmup, duration = 500 * time.Millisecond, 2 * time.Second
	pids := []int{a.process.PID(), s.gateway.PID(), child(b, s.gateway.PID())}
	var before [3]time.Duration
	for i, pid := range pids {
		before[i] = cpu(b, pid)
	}
	r, err := bench.Measure(b.Context(), a.process.address, s.Password, l, warmup, duration)
	if err != nil {
		b.Fatal(err)
	}
	requests := r.Rate * (warmup + duration).Seconds()
	for i, to := range []*[]float64{&a.sidecar, &a.gateway, &a.engine} {
		*to = append(*to, float64((cpu(b, pids[i])-before[i]).Microseconds())/requests)
	}
	a.rates = append(a.rates, r.Rate)
}

func (a *loopsArm) report(b *testing.B) {
	name := fmt.Sprint(a.loops, "-loops-")
	b.ReportMetric(median(a.rates), name+"req/s")
	b.ReportMetric(median(a.sidecar), name+"sidecar-µs")
	b.ReportMetric(median(a.gateway), name+"gateway-µs")
	b.ReportMetric(median(a.engine), name+"engine-µs")
}

// ours is what a request costs both ends.
func (a *loopsArm) ours() float64 { return median(a.sidecar) + median(a.gateway) }

// carried is the model's requests a second.
func (a *loopsArm) carried(cores, loops int) float64 {
	s, g, e := median(a.sidecar), median(a.gateway), median(a.engine)
	application := min(float64(loops)/s, float64(cores)/(2*s))
	cache := min(float64(max(1, cores/4))/g, 1/e, float64(cores)/(g+e))
	return 1e6 * min(application, cache)
}
