//go:build slow

package sabotage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-cache/redoubt/internal/engine"
	"github.com/redoubt-cache/redoubt/internal/evidence"
	"github.com/redoubt-cache/redoubt/internal/verify"
)

// TestMutantsAreNoticed tests the checks themselves: on a sound deployment it alters
// what they read, one field at a time, and lists the alterations that no check notices,
// and the checks that notice none. Each must be explained in mutants_explained_test.go.
func TestMutantsAreNoticed(t *testing.T) {
	layOut(t)
	var all tally
	t.Run("from", func(t *testing.T) {
		for _, from := range []evidence.Vantage{evidence.CacheHost, evidence.AppHost, evidence.Outsider} {
			t.Run(string(from), func(t *testing.T) {
				t.Parallel()
				d := up1(t, sabotage{from: from})
				d.underMounts(t, soundHost(t), func() { (&mutation{t: t, d: d, from: from, all: &all}).run() })
			})
		}
	})
	all.judge(t)
}

// tally is what came of all mutants.
type tally struct {
	mu       sync.Mutex
	mutants  int
	survived []string
	passed   map[string]bool // checks, on the sound target
	noticed  map[string]int  // by check: mutants on which it passed no more
}

func (y *tally) judge(t *testing.T) {
	t.Logf("mutants: %d, of which no check noticed %d", y.mutants, len(y.survived))
	for _, id := range slices.Sorted(maps.Keys(y.passed)) {
		t.Logf("%s noticed %d", id, y.noticed[id])
	}
	used := map[string]bool{}
	for _, m := range y.survived {
		i := slices.IndexFunc(survivors, func(s explained) bool { return s.is(m) })
		if i < 0 {
			t.Errorf("no check notices: %s", m)
			continue
		}
		used[survivors[i].what] = true
	}
	for id := range y.passed {
		is := func(e explained) bool { return slices.Contains(strings.Split(e.what, ", "), id) }
		if y.noticed[id] == 0 && !slices.ContainsFunc(evergreen, is) {
			t.Errorf("%s stayed green, whatever was altered", id)
		}
	}
	for _, s := range survivors {
		if !used[s.what] {
			t.Errorf("explained as a survivor, and is none: %s", s.what)
		}
	}
}

func (e explained) is(mutant string) bool {
	return regexp.MustCompile("^("+e.what+")$").MatchString(mutant) &&
		(e.but == "" || !regexp.MustCompile(e.but).MatchString(mutant))
}

// mutation alters what the checks read from one vantage.
type mutation struct {
	t    *testing.T
	d    *deployment
	from evidence.Vantage
	all  *tally

	passing []verify.Check    // on the sound target
	words   map[string]string // by check: its evidence there; "": another one each time
	asking  map[string]bool   // checks that ask the engine
}

func (m *mutation) run() {
	m.words, m.asking = map[string]string{}, map[string]bool{}
	for _, c := range verify.Checks() {
		c.Cheap = true // and who asks for cheap ones isn't told of the whole network each time
		m.d.look(m.t, m.from)
		if cache := m.d.target.Cache; cache != nil {
			ask := cache.Audit
			cache.Audit = func(ctx context.Context) (engine.Audit, error) { m.asking[c.ID] = true; return ask(ctx) }
		}
		for _, r := range m.verify([]verify.Check{c}) {
			if r.Outcome == evidence.Pass {
				m.passing, m.words[c.ID] = append(m.passing, c), wordsOf(r)
				if again := m.verify([]verify.Check{c}); wordsOf(again[0]) != m.words[c.ID] {
					m.words[c.ID] = ""
				}
			}
		}
	}
	m.all.mu.Lock()
	for _, c := range m.passing {
		if m.all.passed == nil {
			m.all.passed, m.all.noticed = map[string]bool{}, map[string]int{}
		}
		m.all.passed[c.ID] = true
	}
	m.all.mu.Unlock()
	m.d.look(m.t, m.from)
	m.alter("Target.", m.passing, alterations(reflect.ValueOf(m.d.target)), func(a alteration) {
		a.apply(reflect.ValueOf(m.d.target))
	})
	m.d.look(m.t, m.from)
	if m.d.target.Cache == nil {
		return
	}
	sound, err := m.d.target.Cache.Audit(m.t.Context())
	if err != nil {
		m.t.Error(err)
		return
	}
	asking := slices.DeleteFunc(slices.Clone(m.passing), func(c verify.Check) bool { return !m.asking[c.ID] })
	list := alterations(reflect.ValueOf(&sound))
	wanted := engine.Wanted(sound.Version, sound.Policy)
	for i, a := range list {
		name, is := strings.CutPrefix(a.field, "Settings[")
		if _, made := wanted[strings.TrimSuffix(name, "]")]; is && !made {
			list[i].field = "Settings[" + notOfThePolicy + "]"
		}
	}
	m.alter("Audit.", asking, list, func(a alteration) {
		altered := copied(m.t, sound)
		a.apply(reflect.ValueOf(&altered))
		m.d.target.Cache.Audit = func(context.Context) (engine.Audit, error) { return altered, nil }
	})
}

// alter makes each mutant and has it looked for. A field is taken away as a whole first,
// before every check: who doesn't change a word then doesn't read it, and need not look
// at what is altered within.
func (m *mutation) alter(of string, checks []verify.Check, list []alteration, apply func(alteration)) {
	readers := map[string][]verify.Check{}
	for _, a := range list {
		look, known := readers[a.group()]
		if !known {
			look = checks
		}
		m.d.look(m.t, m.from)
		apply(a)
		results := m.verify(look)
		var noticed []string
		for _, r := range results {
			if r.Outcome != evidence.Pass {
				noticed = append(noticed, r.ID)
			}
			if !known && (r.Outcome != evidence.Pass || m.words[r.ID] != "" && wordsOf(r) != m.words[r.ID]) {
				readers[a.group()] = append(readers[a.group()], look[slices.IndexFunc(look, func(c verify.Check) bool { return c.ID == r.ID })])
			}
		}
		if !known && readers[a.group()] == nil {
			readers[a.group()] = []verify.Check{}
		}
		m.tell(of+a.field+": "+a.how, noticed)
	}
}

func (m *mutation) tell(mutant string, noticed []string) {
	m.t.Logf("%s, %s: %s", m.from, mutant, strings.Join(noticed, " "))
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.all.mutants++
	for _, id := range noticed {
		m.all.noticed[id]++
	}
	if len(noticed) == 0 {
		m.all.survived = append(m.all.survived, fmt.Sprintf("%s, %s", m.from, mutant))
	}
}

func (m *mutation) verify(checks []verify.Check) []evidence.Result {
	if len(checks) == 0 {
		return nil
	}
	return verify.Run(m.t.Context(), m.d.target, checks, verify.Options{Cheap: true}).Checks
}

var digits = regexp.MustCompile(`[0-9]+`)

// wordsOf are what a check says, without times and counts, which differ by themselves.
func wordsOf(r evidence.Result) string {
	return digits.ReplaceAllString(string(r.Outcome)+r.Detail+r.Evidence, "")
}

func copied(t *testing.T, a engine.Audit) (c engine.Audit) {
	text, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil {
		t.Error(err)
	}
	return c
}
