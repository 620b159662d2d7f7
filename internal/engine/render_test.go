package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// versions is the engines that we hold our rendering against: the oldest, the
// newest and each that knows a directive more or less.
var versions = []Version{
	{productRedis, 7, 0, 15}, {productRedis, 7, 2, 7}, {productRedis, 7, 4, 2}, {productRedis, 8, 0, 6}, {productRedis, 8, 2, 1},
	{productValkey, 7, 2, 8}, {productValkey, 8, 0, 1}, {productValkey, 8, 1, 1}, {productValkey, 9, 0, 1}, {productValkey, 9, 1, 2},
}

// policies is the plain cache, and the two ends of what a policy can be.
var policies = []struct {
	name   string
	policy Policy
}{
	{"cache", Policy{}},
	{"opened", Policy{Uses: []Use{Cache, Sessions, Locks, PubSub, Queues}, Allow: []string{"scripting", "functions"}}},
	{"closed", Policy{Deny: []string{"keys", "flushdb", "pubsub", "tracking"}, Memory: 64 * mib, MaxValue: 16 * mib, MaxClients: 1000}},
}

// fakeSecrets stands where random text would.
var fakeSecrets = secrets{config: "CONFIGNAME", acl: "ACLNAME", password: "x"}

var (
	digests = regexp.MustCompile(`#[0-9a-f]{64}`)
	twins   = regexp.MustCompile(`default-[0-9a-f]{16}`)
)

func TestEachVersionGetsWhatItKnows(t *testing.T) {
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			got := "What " + v.String() + " is given on stdin, by policy. Written by: go test ./internal/engine -run EachVersion -update\n"
			for _, p := range policies {
				text := render(v, p.policy.withDefaults(), good("one", "two")(), fakeSecrets)
				got += "-- " + p.name + ".conf --\n" + digests.ReplaceAllString(twins.ReplaceAllString(text, "default-TWIN"), "#DIGEST")
			}
			golden(t, strings.ReplaceAll(v.String(), " ", "-")+".txtar", []byte(got))
		})
	}
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Fatalf("%s, line %d:\n got %s\nwant %s", path, i+1, gotLines[i], wantLines[i])
			}
		}
		t.Fatalf("%s: %d lines, want %d", path, len(gotLines), len(wantLines))
	}
}

func TestPolicyRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   string // in the error
	}{
		{Policy{Uses: []Use{"cahce"}}, `unknown use "cahce": choose from cache, sessions, locks, pubsub, queues`},
		{Policy{Uses: []Use{"cache\nport 1"}}, "unknown use"},
		{Policy{Allow: []string{"debug"}}, `allow cannot name "debug": choose from scripting, functions`},
		{Policy{Allow: []string{"keys"}}, `allow cannot name "keys"`},
		{Policy{Deny: []string{"scripting"}}, `deny cannot name "scripting": choose from keys, flushdb, pubsub`},
		{Policy{Uses: []Use{PubSub}, Deny: []string{"pubsub"}}, `the use "pubsub" needs "pubsub", which deny closes`},
		{Policy{Memory: -1}, "memory is -1"},
		{Policy{Memory: 1}, "memory is 1: it must lie between 16777216"},
		{Policy{MaxValue: 513 * mib}, "the largest value is 537919488"},
		{Policy{MaxClients: -5}, "the number of clients is -5"},
	} {
		err := tt.policy.Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one with %q", tt.policy, err, tt.want)
		}
	}
	for _, p := range policies {
		if err := p.policy.Validate(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestUsesDecideWhatIsOpenAndWhatIsEvicted(t *testing.T) {
	for _, tt := range []struct {
		uses     []Use
		allow    []string
		eviction string
		eval     bool
	}{
		{nil, nil, "allkeys-lru", false},
		{[]Use{Cache}, []string{"scripting"}, "allkeys-lru", true},
		{[]Use{Sessions}, nil, "allkeys-lru", false},
		{[]Use{PubSub}, nil, "allkeys-lru", false},
		{[]Use{Locks}, nil, "noeviction", true},
		{[]Use{Cache, Locks}, nil, "allkeys-lru", true},
		{[]Use{Locks, Sessions}, nil, "allkeys-lru", true},
		{[]Use{Locks, PubSub}, nil, "noeviction", true},
		{[]Use{Queues}, nil, "noeviction", true},
		{[]Use{Cache, Queues}, nil, "noeviction", true},
	} {
		p := Policy{Uses: tt.uses, Allow: tt.allow}.withDefaults()
		acl := strings.Join(appRights(versions[0], p), " ") + " "
		if p.eviction() != tt.eviction || strings.Contains(acl, " +eval ") != tt.eval {
			t.Errorf("%v: eviction %s, eval %t; want %s, %t", tt.uses, p.eviction(), strings.Contains(acl, " +eval "), tt.eviction, tt.eval)
		}
	}
}

func TestEveryOpeningHasItsRisk(t *testing.T) {
	all := policies[1].policy
	got := all.Openings()
	if len(got) != len(usages)+len(openings) {
		t.Errorf("a policy that opens everything lists %d openings, want %d", len(got), len(usages)+len(openings))
	}
	for _, o := range got {
		if o.Name == "" || len(o.Risk) < 40 {
			t.Errorf("opening %q says too little: %q", o.Name, o.Risk)
		}
	}
	closed := policies[2].policy.Openings()
	if len(closed) != 1 || closed[0].Name != string(Cache) {
		t.Errorf("a closed policy lists %v, want its use alone", closed)
	}
}

// A value above proto-max-bulk-len is a protocol error, which is not logged; a
// query above client-query-buffer-limit is, with the value's first bytes.
func TestValuesMeetTheUnloggedLimitFirst(t *testing.T) {
	for _, size := range []int64{leastMaxValue, 16 * mib, mostMaxValue} {
		text := strings.Join(bounds(Policy{MaxValue: size}.withDefaults()), "\n")
		var bulk, query int64
		for _, l := range strings.Split(text, "\n") {
			fmt.Sscanf(l, "proto-max-bulk-len %d", &bulk)
			fmt.Sscanf(l, "client-query-buffer-limit %d", &query)
		}
		if bulk != size || query <= bulk {
			t.Errorf("value of %d: proto-max-bulk-len %d, client-query-buffer-limit %d: the second must be larger", size, bulk, query)
		}
	}
}

// FuzzRenderNothingButOurOwn: whatever a policy holds, either it is
// refused, or each line begins with a directive that our tables name.
func FuzzRenderNothingButOurOwn(f *testing.F) {
	f.Add("cache", "", "", "x", int64(0), int64(0), 0)
	f.Add("queues", "scripting", "keys", "y", 64*mib, 1*mib, 5)
	f.Add("cache\nport 1", "", "", "x", int64(0), int64(0), 0)
	f.Add("cache", "scripting\"", "", "x", int64(0), int64(0), 0)
	f.Add("cache", "", "keys +@all", "x", int64(0), int64(0), 0)
	f.Add("cache", "", "", "nopass", int64(-1), int64(1)<<62, -3)
	known := make(map[string]bool)
	for _, v := range versions {
		for l := range strings.Lines(render(v, Policy{}.withDefaults(), good("x")(), fakeSecrets)) {
			known[strings.Fields(l)[0]] = true
		}
	}
	f.Fuzz(func(t *testing.T, use, allow, deny, word string, memory, value int64, clients int) {
		p := Policy{Uses: []Use{Use(use)}, Memory: memory, MaxValue: value, MaxClients: clients}
		if allow != "" {
			p.Allow = []string{allow}
		}
		if deny != "" {
			p.Deny = []string{deny}
		}
		if p.Validate() != nil {
			return
		}
		for _, v := range versions {
			users := 0
			for l := range strings.Lines(render(v, p.withDefaults(), good(word)(), fakeSecrets)) {
				fields := strings.Fields(l)
				if len(fields) < 2 || !known[fields[0]] || strings.ContainsFunc(l, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }) {
					t.Fatalf("%s: rendered line %q", v, l)
				}
				if fields[0] == "user" {
					users++
					if strings.Contains(l, "nopass") || strings.Contains(l, "+@all") {
						t.Fatalf("%s: rendered user %q", v, l)
					}
				}
			}
			if users != 3 {
				t.Fatalf("%s: %d users", v, users)
			}
		}
	})
}
