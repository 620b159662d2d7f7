//go:build slow

// Package libraries_test records what the libraries that applications are written with
// send to Redis. Each library does here what applications do with it, feature by
// feature, in its own language and as a process of its own, which gets REDIS_URL and
// the feature's name and ends with 0 if it worked:
//
//	node/  bullmq, bull, connect-redis …      python/  celery, rq, django-redis …
//	ruby/  sidekiq, rails, action-cable       php/     laravel, phpredis, symfony-cache
//	go/    asynq, redsync (a module of its own)
//
// A proxy between library and a plain engine that refuses nothing notes each command.
// Then the feature runs through Redoubt: under the policy of a plain cache, to see what
// the library makes of refusals, and under the smallest one that redoubt explain names,
// where it must work. The record, internal/explain/libraries.tsv, is written by
//
//	go test -tags slow ./test/libraries -update
//
// and compared without -update. Nothing is installed here: make test-slow does.
package libraries_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/explain"
	"github.com/redoubt-cache/redoubt/test/lab"
)

var update = flag.Bool("update", false, "write the record anew")

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

const record = "../../internal/explain/libraries.tsv"

// limit is the longest that a feature may take; those that fail take some 20 s.
const limit = 2 * time.Minute

// TestLibrariesSendWhatIsRecorded is all of it; with -run of a part the rest of the record
// stays, as does what failed.
func TestLibrariesSendWhatIsRecorded(t *testing.T) {
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	before := explain.ParseFeatures(string(text))
	plain := startPlain(t)
	closed := lab.Up(t) // uses: [cache]
	opened := openers(t)
	latest := map[string]explain.Feature{}
	for _, f := range before {
		latest[f.Library+" "+f.Name] = f
	}
	var found []explain.Feature
	for _, l := range libraries(t) {
		for _, name := range l.features {
			t.Run(l.name+" "+name, func(t *testing.T) {
				f := explain.Feature{Library: l.name, Version: l.version, Name: name}
				plain.clean()
				if out, err := l.run(t, name, plain.url); err != nil {
					t.Fatalf("on a plain Redis: %v\n%s", err, out)
				}
				f.Commands = plain.sent()
				f.Needs = explain.NeedsOf(f.Commands)
				f.Refused = l.refused(t, f, closed)
				l.works(t, f, opened)
				compare(t, before, f)
				if !t.Failed() {
					latest[l.name+" "+name] = f
				}
			})
			if f, ok := latest[l.name+" "+name]; ok {
				found = append(found, f)
			}
		}
	}
	if *update {
		if err := os.WriteFile(record, format(found, plain.version), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func format(found []explain.Feature, engine string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What libraries send to Redis, as recorded from each on %s: library, version, feature,\n# what becomes of it where the policy is a plain cache, commands.\n# Written by: go test -tags slow ./test/libraries -update\n", engine)
	for _, f := range found {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", f.Library, f.Version, f.Name, f.Refused, strings.Join(f.Commands, " "))
	}
	return b.Bytes()
}

func compare(t *testing.T, before []explain.Feature, f explain.Feature) {
	t.Helper()
	if *update {
		return
	}
	i := slices.IndexFunc(before, func(o explain.Feature) bool { return o.Library == f.Library && o.Name == f.Name })
	if i < 0 {
		t.Fatalf("not recorded: go test -tags slow ./test/libraries -update\n%+v", f)
	}
	// Which of EVAL and EVALSHA comes, and whether a worker asks before the job is there,
	// is a matter of time; what the policy must say isn't.
	said := func(f explain.Feature) string {
		return fmt.Sprintf("under a plain cache: %s; needs uses %v, allow %v, not denied %v, never %v", f.Refused, f.Needs.Uses, f.Needs.Allow, f.Needs.Open, f.Needs.Never)
	}
	if was, now := said(before[i]), said(f); was != now {
		t.Errorf("recorded: %s\nnow:      %s\nby:       %s", was, now, f.Commands)
	}
}

// refused runs a feature under the policy of a plain cache and says what became of it.
func (l library) refused(t *testing.T, f explain.Feature, closed *lab.Deployment) string {
	t.Helper()
	before := refusals(t, closed)
	closed.Connect(t).Want("+OK\r\n", "FLUSHDB")
	out, err := l.run(t, f.Name, closed.URL)
	told := refusals(t, closed)
	for name, times := range before {
		if told[name] == times {
			delete(told, name)
		}
	}
	switch {
	case len(f.Needs.Closed)+len(f.Needs.Never) == 0 && (err != nil || len(told) > 0):
		t.Errorf("a plain cache refuses it something (%v): %v\n%s", told, err, out)
		return explain.Fails
	case len(f.Needs.Closed)+len(f.Needs.Never) == 0:
		return explain.Works
	case len(told) == 0:
		t.Errorf("it sends %v, and nobody was told of a refusal", append(f.Needs.Closed, f.Needs.Never...))
	}
	if err == nil {
		return explain.GoesOn
	}
	return explain.Fails
}

// works runs a feature under the smallest policy that is said to open what it needs.
// That the others open the same is package explain's test.
func (l library) works(t *testing.T, f explain.Feature, opened func(policy ...string) *lab.Deployment) {
	t.Helper()
	if len(f.Needs.Closed) == 0 {
		return
	}
	policy := []string{"--allow", strings.Join(f.Needs.Allow, ",")}
	if len(f.Needs.Uses) > 0 {
		policy = []string{"--uses", string(f.Needs.Uses[0])}
	}
	d := opened(policy...)
	d.Connect(t).Want("+OK\r\n", "FLUSHDB")
	if out, err := l.run(t, f.Name, d.URL); err != nil {
		t.Errorf("with %v: %v\n%s", policy, err, out)
	}
}

// openers starts a deployment for each policy that is asked for, until the test ends.
func openers(t *testing.T) func(policy ...string) *lab.Deployment {
	started := map[string]*lab.Deployment{}
	return func(policy ...string) *lab.Deployment {
		key := strings.Join(policy, " ")
		if started[key] == nil {
			started[key] = lab.Up(t, policy...)
		}
		return started[key]
	}
}

// refusals asks a deployment what its sidecar refused, or the engine behind it.
func refusals(t *testing.T, d *lab.Deployment) map[string]int64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), lab.Redoubt(t), "status", "--dir", d.Dir, "--json").Output()
	var reports []struct {
		Facts struct {
			Sidecar struct {
				Refused []struct {
					Command string
					Times   int64
				}
			}
		}
	}
	var ended *exec.ExitError // with 1 if there are problems, which are not the question
	if err != nil && !errors.As(err, &ended) || json.Unmarshal(out, &reports) != nil || len(reports) != 1 {
		t.Fatalf("redoubt status: %v\n%s", err, out)
	}
	told := map[string]int64{}
	for _, r := range reports[0].Facts.Sidecar.Refused {
		told[r.Command] = r.Times
	}
	return told
}

// run has a library do something; its output is for people.
func (l library) run(t *testing.T, feature, url string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.argv[0], append(slices.Clone(l.argv[1:]), l.name+" "+feature)...)
	cmd.WaitDelay = 5 * time.Second // a worker may hold its pipe
	cmd.Env = append(os.Environ(), "REDIS_URL="+url)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("it took longer than %s", limit)
	}
	return string(out[max(0, len(out)-4000):]), err
}

// A library in its language.
type library struct {
	name, version string
	argv          []string
	features      []string
}
