package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageSource string

// WritePage prints a report as one page that needs nothing else: styles and
// plots are in it.
func WritePage(w io.Writer, r *Report) error {
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("page.html: %w", err)
	}
	return t.Execute(w, newPage(r))
}

// page is what the template shows.
type page struct {
	Report *Report
	Host   string
	Loads  []pageLoad
}

type pageLoad struct {
	Name, Title, Alarm string
	Disturbed          bool
	Rows               []row
	Bars               barPlot
	Curves             curvePlot
}

// row is a line of a load's table.
type row struct {
	Peer, Title, Rate, Ratio, Range, P50, P99, P999 string
}

func newPage(r *Report) page {
	p := page{Report: r, Host: r.hostLine()}
	for i := range r.Loads {
		l := &r.Loads[i]
		shown := pageLoad{
			Name: l.Load.Name, Title: l.title(), Alarm: l.alarm(), Disturbed: l.disturbed(),
			Bars: newBars(l), Curves: newCurves(l),
		}
		for j := range l.Results {
			shown.Rows = append(shown.Rows, newRow(r, &l.Results[j]))
		}
		p.Loads = append(p.Loads, shown)
	}
	return p
}

func newRow(r *Report, p *PeerResult) row {
	return row{
		Peer: p.Peer, Title: r.titleOf(p.Peer), Rate: count(p.Rate),
		Ratio: fmt.Sprintf("%.2f", p.Ratio), Range: fmt.Sprintf("%.2f–%.2f", p.RatioLow, p.RatioHigh),
		P50: milliseconds(p.latencyAt(50)), P99: milliseconds(p.latencyAt(99)), P999: milliseconds(p.latencyAt(99.9)),
	}
}

// titleOf is a peer's title.
func (r *Report) titleOf(name string) string {
	i := slices.IndexFunc(r.Peers, func(p PeerReport) bool { return p.Name == name })
	return r.Peers[i].Title
}
