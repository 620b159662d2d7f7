package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the largest latency that is told apart; a run is far shorter.
const longest = time.Minute

// recorder counts replies and keeps their latencies, exact to three digits.
type recorder struct {
	count   int64 // replies within the measured time
	latency *hdrhistogram.Histogram
}

func newRecorder() *recorder {
	return &recorder{latency: hdrhistogram.New(1, int64(longest), 3)}
}

// add notes n replies that took d each.
func (r *recorder) add(d time.Duration, n int) {
	// It fails on values beyond the range only.
	_ = r.latency.RecordValues(int64(min(max(d, 0), longest)), int64(n))
}

func (r *recorder) merge(other *recorder) {
	r.count += other.count
	r.latency.Merge(other.latency)
}

// percentiles are those that every report has. Beyond 99.99 a run of some
// seconds has too few requests to say anything, the worst one apart.
var percentiles = [...]float64{50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100}

// microseconds reads the percentiles' latencies.
func (r *recorder) microseconds() (us [len(percentiles)]float64) {
	for i, p := range percentiles {
		us[i] = float64(r.latency.ValueAtPercentile(p)) / 1e3
	}
	return us
}
