package bench

import (
	"fmt"
	"math"
	"strings"
)

// The plots' geometry, in units of an SVG that is as wide as a phone.
const (
	plotWidth  = 360.0
	barLeft    = 84.0 // room for the peers' names
	barRight   = plotWidth - 62
	barStep    = 26.0
	curveLeft  = 40.0
	curveRight = plotWidth - 8
	outlier    = 1.5 // times the longest bar: where whiskers are cut, so that one bad run doesn't flatten all
	curveTop   = 8.0
	curveLow   = 190.0
)

// barPlot has a bar for each peer: its ratio to plain or, in an open loop, where
// the rate is given, its p99.
type barPlot struct {
	Caption string
	Height  float64
	Foot    float64
	One     float64 // x of plain's own; 0: there is none
	Bars    []bar
}

type bar struct {
	Peer, Label        string
	Y, Middle, X, Wide float64
	Low, High          float64 // the whisker's ends; none when equal
	LabelX             float64
}

func newBars(l *LoadReport) barPlot {
	p := barPlot{Caption: "throughput, as a ratio to plain"}
	value := func(i int) (v, low, high float64, label string) {
		x := &l.Results[i]
		return x.Ratio, x.RatioLow, x.RatioHigh, fmt.Sprintf("%.2f", x.Ratio)
	}
	if l.Load.Rate > 0 {
		p.Caption = "p99, ms: less is better"
		value = func(i int) (v, low, high float64, label string) {
			v = l.Results[i].latencyAt(99) / 1e3
			return v, v, v, milliseconds(v * 1e3)
		}
	}
	top, longest := 0.0, 0.0
	for i := range l.Results {
		v, _, high, _ := value(i)
		top, longest = max(top, high), max(longest, v)
	}
	top = min(top, outlier*longest)
	scale := func(v float64) float64 { return barLeft + min(v/top, 1)*(barRight-barLeft) }
	for i := range l.Results {
		v, low, high, label := value(i)
		y := 4 + float64(i)*barStep
		p.Bars = append(p.Bars, bar{
			Peer: l.Results[i].Peer, Label: label, Y: y, Middle: y + barStep/2 - 4, X: barLeft, Wide: scale(v) - barLeft,
			Low: scale(low), High: scale(high), LabelX: scale(high) + 6,
		})
	}
	p.Foot = 4 + float64(len(l.Results))*barStep
	p.Height = p.Foot + 4
	if l.Load.Rate == 0 {
		p.One = scale(1)
	}
	return p
}

// curvePlot has each peer's latency at the percentiles, on a logarithmic axis.
type curvePlot struct {
	Curves []curve
	X, Y   []tick
}

type curve struct{ Peer, Points string }

type tick struct {
	At    float64
	Label string
}

func newCurves(l *LoadReport) curvePlot {
	low, high := math.Inf(1), 0.0
	for i := range l.Results {
		for _, us := range l.Results[i].Latency {
			low, high = min(low, max(us, 1)), max(high, us)
		}
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(max(high, 2*low))))
	x := func(i int) float64 {
		return curveLeft + float64(i)*(curveRight-curveLeft-8)/float64(len(percentiles)-1)
	}
	y := func(us float64) float64 {
		return curveLow - (math.Log10(max(us, low))-math.Log10(low))/(math.Log10(high)-math.Log10(low))*(curveLow-curveTop)
	}
	var p curvePlot
	for i := range l.Results {
		var points strings.Builder
		for j, us := range l.Results[i].Latency {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(j), y(us))
		}
		p.Curves = append(p.Curves, curve{l.Results[i].Peer, strings.TrimSpace(points.String())})
	}
	for i, percentile := range percentiles {
		label := fmt.Sprint(percentile)
		if percentile == 100 {
			label = "max"
		}
		p.X = append(p.X, tick{x(i), label})
	}
	for us := low; us <= high*1.001; us *= 10 {
		p.Y = append(p.Y, tick{y(us), fmt.Sprintf("%g", math.Round(us)/1e3)})
	}
	return p
}
