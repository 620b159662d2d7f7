package bench

import (
	"math"
	"slices"
	"time"
)

// Report is what a benchmark found. Its JSON is a contract with scripts.
type Report struct {
	Host     Host          `json:"host"`
	Started  time.Time     `json:"started"`
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"` // of each run
	Rounds   int           `json:"rounds"`
	Peers    []PeerReport  `json:"peers"`
	Loads    []LoadReport  `json:"loads"`
}

// Host is the machine.
type Host struct {
	CPU        string `json:"cpu,omitempty"`
	Cores      int    `json:"cores"`
	System     string `json:"system"`
	LoadBefore string `json:"load_before,omitempty"` // /proc/loadavg, before the first run
}

// PeerReport says what a peer is, and why it is absent if it is.
type PeerReport struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Version string `json:"version,omitempty"`
	Absent  string `json:"absent,omitempty"`
}

// LoadReport is what one load came to.
type LoadReport struct {
	Load    Load         `json:"load"`
	Results []PeerResult `json:"results"` // of peers that it could be put on, plain first
}

// PeerResult is a peer under a load. Those of plain have ratios of 1 and, in
// Runs, one run before each candidate.
type PeerResult struct {
	Peer      string                    `json:"peer"`
	Runs      []RunResult               `json:"runs"`
	Rate      float64                   `json:"rate"`  // requests/s, median
	Ratio     float64                   `json:"ratio"` // to plain, median
	RatioLow  float64                   `json:"ratio_low"`
	RatioHigh float64                   `json:"ratio_high"`
	Latency   [len(percentiles)]float64 `json:"latency_us"` // medians of the runs', at Percentiles
}

// RunResult is one run.
type RunResult struct {
	Round   int                       `json:"round"`
	Rate    float64                   `json:"rate"`
	Ratio   float64                   `json:"ratio"`   // to the plain run just before
	Foreign float64                   `json:"foreign"` // share of the cores that other processes had meanwhile
	Latency [len(percentiles)]float64 `json:"latency_us"`
}

// Percentiles are those of every latency, in order.
func Percentiles() []float64 { return percentiles[:] }

// latencyAt finds a percentile's latency in microseconds.
func (r *PeerResult) latencyAt(percentile float64) float64 {
	return r.Latency[slices.Index(percentiles[:], percentile)]
}

// newRun makes a run's result, as plain's: the ratio is 1.
func newRun(round int, r *recorder, duration time.Duration) RunResult {
	return RunResult{Round: round, Rate: float64(r.count) / duration.Seconds(), Ratio: 1, Latency: r.microseconds()}
}

// summarise fills in what follows from the runs.
func (r *PeerResult) summarise() {
	column := func(of func(RunResult) float64) (v []float64) {
		for _, run := range r.Runs {
			v = append(v, of(run))
		}
		return v
	}
	ratios := column(func(run RunResult) float64 { return run.Ratio })
	r.Rate, r.Ratio = median(column(func(run RunResult) float64 { return run.Rate })), median(ratios)
	r.RatioLow, r.RatioHigh = slices.Min(ratios), slices.Max(ratios)
	for i := range r.Latency {
		r.Latency[i] = median(column(func(run RunResult) float64 { return run.Latency[i] }))
	}
}

// median is the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return math.NaN()
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// plainByRound is the alarm: plain's rate in each round (median of its runs).
func (l *LoadReport) plainByRound() (rates []float64) {
	byRound := map[int][]float64{}
	for _, run := range l.Results[0].Runs {
		byRound[run.Round] = append(byRound[run.Round], run.Rate)
	}
	for round := 1; len(byRound[round]) > 0; round++ {
		rates = append(rates, median(byRound[round]))
	}
	return rates
}

// foreign is the share of the cores that others had: in the run in the middle,
// and in the worst.
func (l *LoadReport) foreign() (middle, worst float64) {
	var shares []float64
	for _, p := range l.Results {
		for _, run := range p.Runs {
			shares = append(shares, run.Foreign)
		}
	}
	return median(shares), slices.Max(shares)
}

const (
	// calm is how far plain's rates may lie apart before the report warns: noise
	// on a quiet virtual machine was up to ±10 % (docs/performance.md).
	calm = 1.25
	// tolerated is what others may have of the cores in the run in the middle (a
	// median bears some bad runs) before it warns. On a quiet machine it was 0.02:
	// the kernel's own threads (ksoftirqd, kworker) work for us, and count as
	// others.
	tolerated = 0.1
)

// disturbed says whether something else was running: others had the cores, or
// plain's rates differ between rounds.
func (l *LoadReport) disturbed() bool {
	rates := l.plainByRound()
	middle, _ := l.foreign()
	return middle > tolerated || slices.Max(rates) > calm*slices.Min(rates)
}
