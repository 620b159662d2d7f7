//go:build slow && linux

package scale_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/bench"
)

// BenchmarkSizes: values from a byte to 64 MB, in a deployment that is fresh for
// each, so that the most memory that it ever had is this size's.
func BenchmarkSizes(b *testing.B) {
	const rounds = 3
	for _, set := range []bool{false, true} {
		for _, size := range []int{1, 16, 256, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20} {
			l := bench.Load{Connections: max(1, min(20, 64<<20/size)), Pipeline: 1, ValueSize: size, Set: set}
			d := time.Second
			if size >= 16<<20 {
				d *= 2 // or there are too few requests to count
			}
			name := "GET"
			if set {
				name = "SET"
			}
			b.Run(fmt.Sprintf("%s/%s", name, inUnits(size)), func(b *testing.B) {
				for b.Loop() {
					s := newSite(b)
					sidecar := s.startSidecar()
					direct := &arm{name: "plain", address: newPlain(b, s.Password).address}
					through := &arm{name: "redoubt", address: sidecar.address}
					for range rounds {
						direct.measure(b, s.Password, l, d)
						through.measure(b, s.Password, l, d)
					}
					rate := median(through.rates)
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(float64(l.Connections), "connections")
					b.ReportMetric(rate, "req/s")
					b.ReportMetric(rate*float64(size)/1e6, "MB/s")
					b.ReportMetric(median(direct.rates)*float64(size)/1e6, "plain-MB/s")
					compare(b, "of-plain", through, direct)
					others(b, direct, through)
					b.ReportMetric(float64(sidecar.examine(b).Peak)/(1<<20), "sidecar-peak-MB")
					b.ReportMetric(float64(s.gateway.examine(b).Peak)/(1<<20), "gateway-peak-MB")
				}
			})
		}
	}
}

func inUnits(size int) string {
	switch {
	case size >= 1<<20:
		return fmt.Sprintf("%dMB", size>>20)
	case size >= 1<<10:
		return fmt.Sprintf("%dKB", size>>10)
	}
	return fmt.Sprintf("%dB", size)
}
