//go:build slow && linux

package scale_test

import (
	"fmt"
	"testing"
)

// A bound says how much a figure may grow from the first third of the time
// behind the warm-up to the last: medians of both, so that one peak counts for
// nothing.
type bound struct {
	name  string
	of    func(vitals) float64
	grows float64 // by this factor,
	and   float64 // and this much more
}

// The factors are wide, since the load itself varies; what leaks goes on and on,
// and crosses each of them in a run that is long enough.
var bounds = []bound{
	{"heap in MB", func(v vitals) float64 { return float64(v.Heap) / (1 << 20) }, 1.2, 2},
	{"resident memory in MB", func(v vitals) float64 { return float64(v.RSS) / (1 << 20) }, 1.2, 8},
	{"goroutines", func(v vitals) float64 { return float64(v.Goroutines) }, 1.3, 30},
	{"open files", func(v vitals) float64 { return float64(v.Files) }, 1.3, 40},
}

// trend compares, and says what grew; warm of the samples don't count.
func trend(samples []vitals, warm int) (grew []string, summary string) {
	if len(samples)-warm < 6 {
		return []string{fmt.Sprintf("only %d samples: too few to tell", len(samples))}, ""
	}
	rest := samples[warm:]
	third := len(rest) / 3
	for _, b := range bounds {
		middle := func(part []vitals) float64 {
			var values []float64
			for _, v := range part {
				values = append(values, b.of(v))
			}
			return median(values)
		}
		first, last := middle(rest[:third]), middle(rest[len(rest)-third:])
		summary += fmt.Sprintf("  %s %.1f → %.1f", b.name, first, last)
		if last > first*b.grows+b.and {
			grew = append(grew, fmt.Sprintf("%s grew from %.1f to %.1f", b.name, first, last))
		}
	}
	return grew, summary
}

// TestATrendIsSeen: the check finds a leak and lets noise pass.
func TestATrendIsSeen(t *testing.T) {
	series := func(at func(i int) vitals) (s []vitals) {
		for i := range 60 {
			s = append(s, at(i))
		}
		return s
	}
	flat := vitals{inside{Heap: 20 << 20, Goroutines: 100}, 50 << 20, 90 << 20, 200}
	for name, c := range map[string]struct {
		at    func(i int) vitals
		grows int
	}{
		"flat": {func(int) vitals { return flat }, 0},
		"a peak": {func(i int) vitals {
			v := flat
			if i > 55 {
				v.Heap *= 10
			}
			return v
		}, 0},
		"noise": {func(i int) vitals {
			v := flat
			v.Heap += uint64(i*7919%11) << 20
			v.Files += i * 7919 % 50
			return v
		}, 0},
		"growth while it warms up": {func(i int) vitals {
			v := flat
			v.RSS += int64(min(i, 15)) << 24
			return v
		}, 0},
		"half a megabyte a second": {func(i int) vitals {
			v := flat
			v.Heap += uint64(i) << 19
			return v
		}, 1},
		"goroutines and files": {func(i int) vitals {
			v := flat
			v.Goroutines += 4 * i
			v.Files += 6 * i
			return v
		}, 2},
	} {
		if grew, _ := trend(series(c.at), 15); len(grew) != c.grows {
			t.Errorf("%s: %q, want %d", name, grew, c.grows)
		}
	}
	if grew, _ := trend(nil, 0); len(grew) == 0 {
		t.Error("no samples passed")
	}
}
