package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable prints a report for a terminal.
func WriteTable(w io.Writer, r *Report) error {
	fmt.Fprintf(w, "%s\n", r.hostLine())
	fmt.Fprintf(w, "%d rounds of %v each, plain before every candidate; medians, ratios with lowest and highest\n", r.Rounds, r.Duration)
	for _, p := range r.Peers {
		if p.Absent != "" {
			fmt.Fprintf(w, "absent: %s (%s)\n", p.Title, p.Absent)
		}
	}
	for i := range r.Loads {
		l := &r.Loads[i]
		fmt.Fprintf(w, "\n%s\n", l.title())
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(t, "\trequests/s\tratio\tlow\thigh\tp50 ms\tp99 ms\tp99.9 ms\t\n")
		for j := range l.Results {
			p := &l.Results[j]
			fmt.Fprintf(t, "%s\t%s\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t\n", p.Peer, count(p.Rate), p.Ratio, p.RatioLow, p.RatioHigh,
				milliseconds(p.latencyAt(50)), milliseconds(p.latencyAt(99)), milliseconds(p.latencyAt(99.9)))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n", l.alarm()); err != nil {
			return err
		}
	}
	return nil
}

// WriteMarkdown prints the table that a README carries: ratios to plain, which
// are what compares between machines, and p99 at the end.
func WriteMarkdown(w io.Writer, r *Report) error {
	var b strings.Builder
	b.WriteString("| load | plain, requests/s |")
	line := "|---|---|"
	for _, p := range r.present()[1:] {
		fmt.Fprintf(&b, " %s |", p.Title)
		line += "---|"
	}
	b.WriteString("\n" + line + "\n")
	for i := range r.Loads {
		l := &r.Loads[i]
		fmt.Fprintf(&b, "| %s | %s, p99 %s ms |", l.Load.Title, count(l.Results[0].Rate), milliseconds(l.Results[0].latencyAt(99)))
		for _, peer := range r.present()[1:] {
			p := l.resultOf(peer.Name)
			if p == nil { // it has no unix socket
				b.WriteString(" – |")
				continue
			}
			if l.Load.Rate > 0 { // the rate is given: latency is the result
				fmt.Fprintf(&b, " p99 %s ms |", milliseconds(p.latencyAt(99)))
				continue
			}
			fmt.Fprintf(&b, " %.2f (%.2f–%.2f), p99 %s ms |", p.Ratio, p.RatioLow, p.RatioHigh, milliseconds(p.latencyAt(99)))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nRatios to plain: median of %d rounds of %v (lowest–highest). %s.", r.Rounds, r.Duration, r.hostLine())
	switch disturbed := r.disturbed(); len(disturbed) {
	case 0:
	case len(r.Loads):
		b.WriteString(" **Every load was disturbed by other processes: take it for an impression only.**")
	default:
		fmt.Fprintf(&b, " Disturbed by other processes: %s.", strings.Join(disturbed, "; "))
	}
	for _, p := range r.Peers {
		switch {
		case p.Absent != "":
			fmt.Fprintf(&b, " Absent: %s (%s).", p.Title, p.Absent)
		case p.Version != "" && p.Name != "native":
			fmt.Fprintf(&b, " %s: %s.", capital(p.Title), p.Version)
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// resultOf is a peer's; nil if the load couldn't be put on it.
func (l *LoadReport) resultOf(peer string) *PeerResult {
	i := slices.IndexFunc(l.Results, func(p PeerResult) bool { return p.Peer == peer })
	if i < 0 {
		return nil
	}
	return &l.Results[i]
}

// disturbed names the loads that were.
func (r *Report) disturbed() (names []string) {
	for i := range r.Loads {
		if r.Loads[i].disturbed() {
			names = append(names, r.Loads[i].Load.Title)
		}
	}
	return names
}

func (r *Report) present() (there []PeerReport) {
	for _, p := range r.Peers {
		if p.Absent == "" {
			there = append(there, p)
		}
	}
	return there
}

// hostLine describes the machine, and when.
func (r *Report) hostLine() string {
	parts := []string{r.Started.Format("2006-01-02 15:04 MST"), fmt.Sprintf("%d cores", r.Host.Cores)}
	if r.Host.CPU != "" {
		parts[1] += " of " + r.Host.CPU
	}
	parts = append(parts, r.Host.System)
	if r.Host.LoadBefore != "" {
		parts = append(parts, "load average before "+r.Host.LoadBefore)
	}
	return strings.Join(parts, ", ")
}

// title names a load, with its name for --loads.
func (l *LoadReport) title() string {
	title := l.Load.Name + ": " + l.Load.Title
	if l.Load.Rate > 0 {
		title += fmt.Sprintf(" of %s/s, latency from when each was due", count(float64(l.Load.Rate)))
	}
	return title
}

// alarm says plain's rates, and what to think of them.
func (l *LoadReport) alarm() string {
	var rates []string
	for _, rate := range l.plainByRound() {
		rates = append(rates, count(rate))
	}
	middle, worst := l.foreign()
	text := fmt.Sprintf("plain by round: %s; other processes had %.0f %% of the cores (median, at most %.0f)", strings.Join(rates, " "), 100*middle, 100*worst)
	if l.disturbed() {
		text += ": disturbed, run it again"
	}
	return text
}

// count prints a whole number with commas.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// milliseconds prints microseconds with three significant digits.
func milliseconds(us float64) string {
	ms := us / 1e3
	decimals := 2 - int(math.Floor(math.Log10(max(ms, 0.01))))
	return fmt.Sprintf("%.*f", min(max(decimals, 0), 3), ms)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
