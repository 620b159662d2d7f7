package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{1, 100, 2, 3}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("%v was reordered", before)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

// TestRatiosAreToThePlainRunBefore: the machine's speed changes between
// rounds, the ratio doesn't.
func TestRatiosAreToThePlainRunBefore(t *testing.T) {
	r := PeerResult{Runs: []RunResult{
		{Rate: 50, Ratio: 0.5, Latency: latencies(10)},
		{Rate: 30, Ratio: 0.6, Latency: latencies(30)},
		{Rate: 90, Ratio: 0.9, Latency: latencies(20)},
	}}
	r.summarise()
	if r.Rate != 50 || r.Ratio != 0.6 || r.RatioLow != 0.5 || r.RatioHigh != 0.9 || r.latencyAt(50) != 20 || r.latencyAt(100) != 20*256 {
		t.Errorf("%+v", r)
	}
}

// latencies doubles with each percentile.
func latencies(us float64) (l [len(percentiles)]float64) {
	for i := range l {
		l[i] = us * math.Pow(2, float64(i))
	}
	return l
}

func TestPercentilesAreExactToThreeDigits(t *testing.T) {
	r := newRecorder()
	for i := range 10_000 {
		r.add(time.Duration(i+1)*time.Microsecond, 1)
	}
	r.add(-time.Second, 0)
	for i, want := range map[int]float64{0: 5000, 4: 9900, 6: 9990, 8: 10000} {
		if got := r.microseconds()[i]; math.Abs(got-want)/want > 0.001 {
			t.Errorf("p%v is %v, want %v", percentiles[i], got, want)
		}
	}
	r.add(2*time.Hour, 1) // beyond the range: kept as its end, not lost
	if got := time.Duration(r.latency.Max()); r.latency.TotalCount() != 10_001 || got < longest-longest/1000 {
		t.Errorf("%d values, the largest %v", r.latency.TotalCount(), got)
	}
}

func TestTheAlarmGoesOffWhenOthersHadTheCores(t *testing.T) {
	l := LoadReport{Results: []PeerResult{{}}}
	for _, share := range []float64{0.02, 0.9, 0.02} {
		l.Results[0].Runs = append(l.Results[0].Runs, RunResult{Round: 1, Rate: 100, Foreign: share})
	}
	if l.disturbed() || !strings.Contains(l.alarm(), "other processes had 2 % of the cores (median, at most 90)") {
		t.Errorf("one bad run of three is what a median is for: %s", l.alarm())
	}
	l.Results[0].Runs[0].Foreign = 0.4
	if !l.disturbed() || !strings.Contains(l.alarm(), "had 40 % of the cores (median, at most 90): disturbed") {
		t.Error(l.alarm())
	}
}

func TestTheAlarmGoesOffWhenPlainDiffers(t *testing.T) {
	for _, c := range []struct {
		rates     []float64 // two runs a round
		disturbed bool
	}{
		{[]float64{100, 100, 90, 95}, false},
		{[]float64{100, 100, 60, 65}, true},
		{[]float64{100}, false},
	} {
		l := LoadReport{Results: []PeerResult{{Peer: plainName}}}
		for i, rate := range c.rates {
			l.Results[0].Runs = append(l.Results[0].Runs, RunResult{Round: 1 + i/2, Rate: rate})
		}
		if l.disturbed() != c.disturbed {
			t.Errorf("%v: disturbed is %v", l.plainByRound(), l.disturbed())
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := count(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	for us, want := range map[float64]string{0: "0.000", 4: "0.004", 54: "0.054", 548: "0.548", 1170: "1.17", 41_500: "41.5", 171_000: "171", 1_234_000: "1234"} {
		if got := milliseconds(us); got != want {
			t.Errorf("%v: %q, want %q", us, got, want)
		}
	}
}

// sample is a report as a run would make it.
func sample() *Report {
	r := &Report{
		Host:    Host{CPU: "Test CPU", Cores: 2, System: "linux/amd64 6.1", LoadBefore: "0.10 0.20 0.30"},
		Started: time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC), Warmup: 500 * time.Millisecond, Duration: 2 * time.Second, Rounds: 2,
		Peers: []PeerReport{
			{Name: "plain", Title: "plain engine", Version: "7.0.15"},
			{Name: "redoubt", Title: "Redoubt"},
			{Name: "native", Title: "the engine's TLS", Version: "7.0.15"},
			{Name: "stunnel", Title: "stunnel ×2", Version: "5.68"},
			{Name: "ghostunnel", Title: "ghostunnel ×2", Absent: "not installed: no <ghostunnel> in PATH"},
		},
	}
	for i, name := range []string{"c50", "p16", "open"} {
		load, _ := Named([]string{name})
		l := LoadReport{Load: load[0]}
		base := 48_000 * math.Pow(8, float64(i))
		for j, p := range []string{"plain", "redoubt", "native", "stunnel"} {
			ratio := []float64{1, 0.9, 0.75, 0.12}[j]
			if load[0].Rate > 0 {
				base, ratio = DefaultRate, 1
			}
			result := PeerResult{Peer: p}
			for round := 1; round <= 2; round++ {
				wobble := 1 + float64(round-1)*float64(j)/20
				result.Runs = append(result.Runs, RunResult{Round: round, Rate: base * ratio * wobble, Ratio: ratio * wobble, Latency: latencies(300 / ratio / (1 + 5*float64(i)))})
			}
			result.summarise()
			l.Results = append(l.Results, result)
		}
		r.Loads = append(r.Loads, l)
	}
	r.Loads[1].Results[0].Runs[1].Rate /= 2 // a disturbed round
	return r
}

func TestRenderings(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *Report) error{
		"table.txt": WriteTable, "table.md": WriteMarkdown, "page.html": WritePage,
		"report.json": func(w io.Writer, r *Report) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got, sample()); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("differs from %s (go test -update writes it anew):\n%s", golden, &got)
			}
		})
	}
}

// TestThePageNeedsNothingElse: it is opened on machines without a network, and
// must tell nobody that it was.
func TestThePageNeedsNothingElse(t *testing.T) {
	var b strings.Builder
	if err := WritePage(&b, sample()); err != nil {
		t.Fatal(err)
	}
	outside := regexp.MustCompile(`(?i)https?:|//[a-z]|\bsrc\s*=|\bhref\s*=|@import|url\(|<script|<link|<iframe|<img|<object`)
	if found := outside.FindString(b.String()); found != "" {
		t.Errorf("the page has %q", found)
	}
	if !strings.Contains(b.String(), "&lt;ghostunnel&gt;") || strings.Contains(b.String(), "ZgotmplZ") || strings.Contains(b.String(), "NaN") {
		t.Error("a value is not escaped, or was not let through")
	}
}

func TestSpliceReplacesOnlyWhatIsBetweenTheMarkers(t *testing.T) {
	document := "# Title\n\n" + markBegin + "old\n" + markEnd + "\nrest\n"
	once, err := Splice(document, sample())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(once, "# Title\n\n"+markBegin+"| load |") || !strings.HasSuffix(once, markEnd+"\nrest\n") || strings.Contains(once, "old") {
		t.Errorf("%s", once)
	}
	if twice, err := Splice(once, sample()); err != nil || twice != once {
		t.Errorf("a second time: %v\n%s", err, twice)
	}
	for _, without := range []string{"# Title\n", markBegin, markEnd + markBegin} {
		if _, err := Splice(without, sample()); err == nil {
			t.Errorf("%q was taken", without)
		}
	}
}
