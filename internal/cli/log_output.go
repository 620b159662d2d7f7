package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redoubt-cache/redoubt/internal/trail"
)

// logOutput prints a log for people: on a terminal two lines a command, in a pipe one.
type logOutput struct {
	*paper
	table *tabwriter.Writer // in a pipe
	// begun are the commands whose end was not read yet. There are as many as ran at once
	// or were killed; the oldest goes when there are too many.
	begun map[uint64]trail.Record
}

const maxBegun = 1000

func newLogOutput(e *env) *logOutput {
	o := &logOutput{paper: newPaper(e), begun: map[uint64]trail.Record{}}
	if o.width == 0 {
		o.table = tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(o.table, "TIME\tLOGIN\tUSER\tHOST\tOUTCOME\tCOMMAND")
	}
	return o
}

// take takes a record; a command is printed when it has ended.
func (o *logOutput) take(r trail.Record) {
	if r.Outcome == trail.Began {
		if o.begun[r.N] = r; len(o.begun) > maxBegun {
			oldest := slices.Min(slices.Collect(maps.Keys(o.begun)))
			o.print(o.begun[oldest])
			delete(o.begun, oldest)
		}
		return
	}
	delete(o.begun, r.Of)
	o.print(r)
}

// The colours of outcomes, by SGR number: green, red, yellow.
var logColour = map[trail.Outcome]int{trail.Done: 32, trail.Failed: 31, trail.Began: 33}

func (o *logOutput) print(r trail.Record) {
	who := cmp.Or(r.Who, new(trail.Who))
	outcome := string(r.Outcome)
	switch r.Outcome {
	case trail.Failed:
		outcome = fmt.Sprintf("failed (%d)", r.Exit)
	case trail.Began:
		outcome = "no end"
	}
	command := strings.Join(append([]string{"redoubt", r.Command}, r.Args...), " ")
	user := cmp.Or(who.User, fmt.Sprintf("uid %d", who.UID))
	if o.table != nil {
		fmt.Fprintf(o.table, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.Format(time.RFC3339), printable(cmp.Or(who.Login, who.Sudo, "-")), printable(user), printable(cmp.Or(who.Host, "-")), outcome, printable(command))
		return
	}
	if login := cmp.Or(who.Login, who.Sudo); login != "" && login != user {
		user = login + " as " + user
	}
	if o.bold {
		outcome = fmt.Sprintf("\x1b[%dm%s\x1b[0m", logColour[r.Outcome], outcome)
	}
	o.wrap(fmt.Sprintf("%s  %s  ", r.Time.Format("2006-01-02 15:04:05"), outcome), fmt.Sprintf("%s on %s", user, cmp.Or(who.Host, "?")))
	o.wrap("    ", command)
}

// end prints the commands that have none on record.
func (o *logOutput) end() error {
	for _, n := range slices.Sorted(maps.Keys(o.begun)) {
		o.print(o.begun[n])
	}
	if o.table == nil {
		return nil
	}
	return o.table.Flush()
}

// verdict says whether the chain holds.
func (o *logOutput) verdict(c *trail.Chain) {
	if c.Torn > 0 {
		o.wrap("", fmt.Sprintf("The newest record was cut short by a crash, after %d bytes; the next command mends that, and says so.", c.Torn))
	}
	if len(c.Faults) == 0 {
		o.wrap("", fmt.Sprintf("The chain holds: %s, the newest is number %d, with SHA-256 %s", count(int(c.Records), "record", "records"), c.Last, c.Hash))
		return
	}
	o.title("The chain doesn't hold")
	for _, fault := range c.Faults {
		o.wrap("! ", fault)
	}
}
