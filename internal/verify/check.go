package verify

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// A Check is one claim about the deployment, and how it is tried.
type Check struct {
	ID         string // RD-NNN, the first digit is the goal's; an id is never used again for something else
	Goal       evidence.Goal
	Title      string // what is claimed, as a sentence without its full stop
	Why        string // what happens where it doesn't hold, in a sentence or two
	Mend       string // what to do then
	References []string
	From       Places // where it can be seen from
	Needs      []Need // what there must be for it to run
	Cheap      bool   // takes milliseconds: gateway and sidecar run it on themselves all the time
	OfHost     bool   // judges the machine's own settings
	Run        func(context.Context, *Target, *Notes) Finding
}

// Places are where a check can run.
type Places uint8

const (
	OnCache  Places = 1 << iota // the cache host
	OnApp                       // an application host
	Outside                     // a host that must not get in
	OnBoth   = OnCache | OnApp
	Anywhere = OnBoth | Outside
)

// String lists them.
func (p Places) String() string {
	var names []string
	for _, place := range []struct {
		is   Places
		name string
	}{{OnCache, "the cache host"}, {OnApp, "an application host"}, {Outside, "outside"}} {
		if p&place.is != 0 {
			names = append(names, place.name)
		}
	}
	return strings.Join(names, ", ")
}

// placesOf is what a vantage sees.
func placesOf(v evidence.Vantage) Places {
	switch v {
	case evidence.CacheHost:
		return OnCache
	case evidence.AppHost:
		return OnApp
	case evidence.OneMachine:
		return OnBoth
	}
	return Outside
}

// A Need is something that a check can't do without.
type Need func(context.Context, *Target) (lacking string) // "": it is there; else why not, as the skip's reason

// A Finding is what a check came to. Notes makes it.
type Finding struct {
	outcome evidence.Outcome
	detail  string
}

// Notes are what a check did and saw, line by line: its evidence.
type Notes struct {
	lines []string
	facts map[string]string
}

// Bounds of the evidence of one check.
const (
	maxLines = 400
	maxLine  = 600 // bytes
)

// Saw adds a line. Control characters of what was read are made visible.
func (n *Notes) Saw(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		if len(n.lines) == maxLines {
			n.lines = append(n.lines, "… and more")
		}
		if len(n.lines) > maxLines {
			return
		}
		n.lines = append(n.lines, printable(strings.TrimRight(line, "\r\n")))
	}
}

// Fact adds a line that is the same in each run, and in each environment that is
// set up alike: what verify --compare compares.
func (n *Notes) Fact(name, value string) {
	if n.facts == nil {
		n.facts = map[string]string{}
	}
	n.facts[name] = printable(value)
	n.Saw("%s: %s", name, value)
}

func printable(line string) string {
	line = strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(line, "·"))
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "") + "…"
	}
	return line
}

// Pass says that the claim holds; the notes must show it.
func (n *Notes) Pass(format string, args ...any) Finding {
	return Finding{evidence.Pass, fmt.Sprintf(format, args...)}
}

// Fail says that it doesn't.
func (n *Notes) Fail(format string, args ...any) Finding {
	return Finding{evidence.Fail, fmt.Sprintf(format, args...)}
}

// Skip says that it could not be tried, and why.
func (n *Notes) Skip(format string, args ...any) Finding {
	return Finding{evidence.Skip, fmt.Sprintf(format, args...)}
}
