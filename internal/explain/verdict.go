package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redoubt-cache/redoubt/docs/decisions"
	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/engine"
)

// What becomes of a command.
const (
	Runs     = "runs"     // on the engine
	Answered = "answered" // by the sidecar
	Refused  = "refused"  // with Redis's NOPERM
)

// A Verdict is what becomes of a command under a policy.
type Verdict struct {
	Command string         `json:"command"` // as in the table: "config|set"
	Outcome string         `json:"outcome"`
	By      string         `json:"by"`  // whose it is: "engine", "sidecar"
	Way     string         `json:"way"` // what is done with it, for people
	Why     string         `json:"why"`
	Opens   string         `json:"opens"` // what in a policy decides about it, for people; "" if nothing does
	Openers engine.Openers `json:"openers"`
	Records []Record       `json:"decisions"`
	In      []string       `json:"versions"` // which engines have it, and where it is closed whatever the policy
}

// A Record is a decision's number and title; it is the file docs/decisions/NNNN-*.md.
type Record struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
}

// everyRecord is read once: a table's worth of verdicts asks for it.
var everyRecord = sync.OnceValues(decisions.All)

// Of says what becomes of a command under a policy.
func Of(c *command.Command, p engine.Policy) (Verdict, error) {
	v, records := judge(c, p)
	v.In = versionsOf(c)
	all, err := everyRecord()
	if err != nil {
		return v, err
	}
	for _, r := range all {
		if slices.Contains(records, r.Number) {
			v.Records = append(v.Records, Record{r.Number, r.Title})
		}
	}
	return v, nil
}

// judge is Of without records, of which it gives the numbers, and versions.
func judge(c *command.Command, p engine.Policy) (v Verdict, records []int) {
	v = Verdict{Command: c.Name, By: "engine", Openers: openersOf(c)}
	records = []int{c.Record}
	j := p.Judge(newestOf(c), c.Name, c.Categories)
	switch {
	case c.Barred:
		v.Outcome, v.By, v.Why, v.Openers = Refused, "sidecar", c.Reason, none()
		v.Way = "refused by the sidecar with Redis's NOPERM: it never leaves the application's host"
		v.Opens = Nothing
	case c.Class == command.Local:
		v.Outcome, v.By, v.Why, v.Openers = Answered, "sidecar", c.Reason, none()
		v.Way = "answered by the sidecar; by the engine where it has to do with a lane of the connection's own"
	case j.Open:
		v.Outcome, v.Way, v.Why = Runs, wayOf(c), c.Reason
		if len(v.Openers.Uses)+len(v.Openers.Allow)+len(v.Openers.Deny) > 0 {
			v.Opens = decides(v.Openers)
			v.Why += ". That it is open costs: " + j.Why
			records = append(records, j.Record)
		}
	default:
		v.Outcome, v.Opens = Refused, Opens(c)
		v.Way = "refused by the engine's ACL with Redis's NOPERM"
		why, record := closedBecause(c, j)
		v.Why, records = why, []int{record}
	}
	return v, records
}

func none() engine.Openers {
	return engine.Openers{Uses: []engine.Use{}, Allow: []string{}, Deny: []string{}}
}

// closedBecause is why a policy closes a command: what it would cost if it can be
// opened, else the rule's reason.
func closedBecause(c *command.Command, j engine.Judgement) (why string, record int) {
	o := openersOf(c)
	open := engine.Policy{Allow: o.Allow}.Judge(newestOf(c), c.Name, c.Categories)
	if slices.Contains(o.Allow, open.Opening) || slices.Contains(o.Deny, open.Opening) {
		return open.Why, open.Record
	}
	if c.Class == command.Refused {
		return c.Reason, c.Record
	}
	return j.Why, j.Record
}

// wayOf is how an open command travels.
func wayOf(c *command.Command) string {
	switch {
	case c.MayBlock:
		return "run by the engine, over the lane that connections share; with BLOCK on a lane of the connection's own"
	case c.OnShared == command.Leave, c.OnShared == command.Block:
		return "run by the engine, on a lane of the connection's own"
	}
	return "run by the engine, over the lane that connections share"
}

// versionsOf says which releases have a command, and in which a rule closes it that
// others don't have.
func versionsOf(c *command.Command) (list []string) {
	for product, first := range map[string]string{"redis": "7.0", "valkey": "7.2"} {
		if !slices.Contains(productsOf(c), product) {
			continue
		}
		text := product + " since " + cmp.Or(sinceOf(c, product), first)
		if from, to := shutIn(c, product); from != "" {
			text += fmt.Sprintf(", closed in %s to %s", from, to)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

// sinceOf is a product's version in [command.Command.Since].
func sinceOf(c *command.Command, product string) string {
	for part := range strings.SplitSeq(c.Since, ", ") {
		if version, ok := strings.CutPrefix(part, product+" "); ok {
			return version
		}
	}
	return ""
}

// shutIn is the first and last release that closes what newer ones open, of those that
// the ACL's rules tell apart.
func shutIn(c *command.Command, product string) (from, to string) {
	widest := engine.MostOpen()
	if !widest.Opens(engine.Version{Product: product, Major: 99}, c.Name, c.Categories) {
		return "", ""
	}
	first := engine.Version{Product: product, Major: 7}
	if n, _ := fmt.Sscanf(sinceOf(c, product), "%d.%d.%d", &first.Major, &first.Minor, &first.Patch); n < 1 {
		first = engine.Version{Product: product, Major: 7}
	}
	for major := first.Major; major < 10; major++ {
		for minor := range 10 {
			for patch := range 10 {
				v := engine.Version{Product: product, Major: major, Minor: minor, Patch: patch}
				if major == first.Major && (minor < first.Minor || minor == first.Minor && patch < first.Patch) || widest.Opens(v, c.Name, c.Categories) {
					continue
				}
				number := fmt.Sprintf("%d.%d.%d", major, minor, patch)
				from, to = cmp.Or(from, number), number
			}
		}
	}
	return from, to
}
