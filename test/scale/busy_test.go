//go:build slow && linux

package scale_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/bench"
)

// BenchmarkBusyBesideIdle: 500 connections that ask all the time, alone and
// beside 10,000 that are silent, of a plain engine and through Redoubt. The four
// take turns, so that what disturbs one disturbs all.
func BenchmarkBusyBesideIdle(b *testing.B) {
	const silent, rounds = 10_000, 5
	busy := bench.Load{Connections: 500, Pipeline: 1, ValueSize: 256}
	for b.Loop() {
		s := newSite(b)
		alone, crowded := s.startSidecar(), s.startSidecar()
		plainAlone, plainCrowded := newPlain(b, s.Password), newPlain(b, s.Password)
		gather(b, used(crowded.address, silent, s.Password))
		gather(b, used(plainCrowded.address, silent, s.Password))
		arms := []*arm{
			{name: "plain", address: plainAlone.address}, {name: "redoubt", address: alone.address},
			{name: "plain-beside-idle", address: plainCrowded.address}, {name: "redoubt-beside-idle", address: crowded.address},
		}
		for range rounds {
			for _, a := range arms {
				a.measure(b, s.Password, busy, time.Second)
			}
		}
		b.ReportMetric(0, "ns/op")
		for _, a := range arms {
			b.ReportMetric(median(a.rates), a.name+"-req/s")
			b.ReportMetric(median(a.p99), a.name+"-p99-ms")
		}
		compare(b, "redoubt/plain", arms[1], arms[0])
		compare(b, "redoubt/plain-beside-idle", arms[3], arms[2])
		compare(b, "redoubt-beside-idle/alone", arms[3], arms[1])
		compare(b, "plain-beside-idle/alone", arms[2], arms[0])
		others(b, arms...)
	}
}

// arm is one of several that are measured in turn.
type arm struct {
	name, address      string
	rates, p99, others []float64
}

func (a *arm) measure(b *testing.B, password string, l bench.Load, d time.Duration) {
	b.Helper()
	r, err := bench.Measure(b.Context(), a.address, password, l, d/4, d)
	if err != nil {
		b.Fatalf("%s: %v", a.name, err)
	}
	a.rates = append(a.rates, r.Rate)
	a.p99 = append(a.p99, r.Latency[slices.Index(bench.Percentiles(), 99)]/1000)
	a.others = append(a.others, r.Foreign)
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// compare divides run by run, since both of a pair ran within seconds, and
// reports the median, the lowest and the highest.
func compare(b *testing.B, name string, of, to *arm) {
	var ratios []float64
	for i := range of.rates {
		ratios = append(ratios, of.rates[i]/to.rates[i])
	}
	b.ReportMetric(median(ratios), name)
	b.ReportMetric(slices.Min(ratios), name+"-lowest")
	b.ReportMetric(slices.Max(ratios), name+"-highest")
}

// others is the alarm: what of the cores other processes had in the run in the
// middle.
func others(b *testing.B, arms ...*arm) {
	var shares []float64
	for _, a := range arms {
		shares = append(shares, a.others...)
	}
	b.ReportMetric(median(shares), "others-of-cores")
}
