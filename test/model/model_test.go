// Package model_test has enrolment.pml looked at in every order of its steps, by Spin.
// As it is nothing breaks. With a mend taken out that breaks which the mend is for: so
// it is seen that the model can find what it is there to find.
//
// "make model MEND=LEDGER" prints the shortest attack that a mend stops.
package model_test

import (
	"flag"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What breaks, as Spin prints its assertion.
const (
	certified = `!(out)`
	once      = `uses[`
	taken     = `had`
	believed  = `!((believes&4))`
	admitted  = `newest[`
	cutOff    = `groot[`
)

// All of it at once would take hours, so there are two sizes: two gateways with the CA
// and one without, and no rotation; a rotation, with a gateway of each kind.
const (
	gateways = "-DNO_ROTATION"
	rotation = "-DROTATION"
)

var mends = []struct{ name, size, breaks, without string }{
	{"LEDGER", gateways, certified, "a renewal asks the gateway's own copy of what is revoked, not the ledger"},
	{"LOCK", gateways, certified, "a renewal asks the ledger first and is signed later"},
	{"TOKENS", gateways, certified, "a token of before a revocation is good after it"},
	{"ONCE", gateways, once, "a token is looked at first and used up later"},
	{"PROOF", gateways, taken, "the CA renews for whoever its front says is there"},
	{"BINDING", gateways, taken, "a host that joins shows its token"},
	{"PINS", gateways, believed, "a joining host believes whatever roots come beside the one that its token names"},
	{"PINS", rotation, believed, "a joining host believes whatever roots come beside the one that its token names"},
	{"ENDORSEMENT", gateways, believed, "a host that renews believes whatever roots come with a certificate of its CA"},
	{"ENDORSEMENT", rotation, believed, "a host that renews believes whatever roots come with a certificate of its CA"},
	{"LIST", gateways, admitted, "a gateway with the CA starts with the list that lies there, or with none"},
	{"NEWEST", gateways, admitted, "a gateway without the CA starts with an older list than it has had"},
	{"WAITING", rotation, cutOff, "a rotation waits for nobody"},
}

func TestNothingBreaks(t *testing.T) {
	for _, size := range []string{gateways, rotation} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			m := build(t, "-O1", size)
			if out := m.run("./pan", "-m100000", "-E", "-n"); !strings.Contains(out, "errors: 0") {
				t.Errorf("%s\n%s", out, m.steps())
			}
		})
	}
}

func TestWithoutAMendWhatItIsForBreaks(t *testing.T) {
	for _, mend := range mends {
		t.Run(mend.name+mend.size, func(t *testing.T) {
			t.Parallel()
			m := build(t, "-O0", mend.size, "-DWITHOUT_"+mend.name) // found before a better compiler has looked at it
			if out := m.run("./pan", "-m100000", "-E", "-n"); !strings.Contains(violated(out), mend.breaks) {
				t.Errorf("where %s, %s should break:\n%s", mend.without, mend.breaks, out)
			}
		})
	}
}

var show = flag.String("mend", "", "the mend whose shortest attack is printed")

// TestShortestAttack is for people: make model.
func TestShortestAttack(t *testing.T) {
	for _, mend := range mends {
		if mend.name == *show {
			m := build(t, "-O1", mend.size, "-DWITHOUT_"+mend.name, "-DBFS")
			out := m.run("./pan", "-E", "-n")
			t.Logf("where %s, this breaks:\n%s\n%s", mend.without, violated(out), m.steps())
			return
		}
	}
	if *show != "" {
		t.Errorf("no mend is called %q: %+v", *show, mends)
	}
}

// violated is the assertion that doesn't hold, by what pan prints.
func violated(out string) string {
	return regexp.MustCompile(`assertion violated .*`).FindString(out)
}

// checker is a folder with the model's checker.
type checker struct {
	t           *testing.T
	dir, model  string
	definitions []string
}

func build(t *testing.T, optimised string, definitions ...string) *checker {
	t.Helper()
	model, err := filepath.Abs("enrolment.pml")
	if err != nil {
		t.Fatal(err)
	}
	m := &checker{t, t.TempDir(), model, definitions}
	m.run("spin", append(slices.Clone(definitions), "-a", model)...)
	m.run("gcc", append(slices.Clone(definitions), optimised, "-w", "-DSAFETY", "-o", "pan", "pan.c")...)
	return m
}

// steps are those of the trail that pan left.
func (m *checker) steps() string {
	steps := ""
	for line := range strings.Lines(m.run("spin", append(slices.Clone(m.definitions), "-k", filepath.Base(m.model)+".trail", "-t", "-p", "-g", "-l", m.model)...)) {
		if step := regexp.MustCompile(`\((\w+):\d+\) \S+:(\d+) \(state \d+\)\t(\[.*\])`).FindStringSubmatch(line); step != nil && step[3] != "[(1)]" {
			steps += step[2] + "\t" + step[1] + "\t" + step[3] + "\n"
		}
	}
	return steps
}

func (m *checker) run(name string, args ...string) string {
	m.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = m.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
