package config

import (
	"reflect"
	"strings"
	"testing"
)

// TestEachKeyIsDecided: who adds a key says whether a process that runs can take it in.
func TestEachKeyIsDecided(t *testing.T) {
	for _, schema := range []any{Gateway{}, Sidecar{}} {
		keys := 0
		eachKey(reflect.TypeOf(schema), key{}, func(k key) {
			keys++
			if !k.decided {
				t.Errorf("%T %s: give it the tag reload or restart, with the reason", schema, k.path)
			}
		})
		if keys < 20 {
			t.Errorf("%T: %d keys", schema, keys)
		}
	}
}

const wholeGateway = goodGateway + `listen: 10.77.0.2:6379
admit: [10.77.0.3/32, 10.77.1.0/24]
limits: {connections: 7, drain_timeout: 3s}
engine: {uses: [locks], memory: 1gb, max_clients: 99}
exceptions: [{check: RD-441, owner: "o: x", reason: r, until: 2100-01-01}]
`

func TestChangesNameEachKeyThatDiffers(t *testing.T) {
	before, err := parseGateway(goodGateway)
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseGateway(wholeGateway)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range Changes(before, after) {
		got = append(got, c.Key+": "+c.Before+" → "+c.After+" "+c.Restart)
	}
	want := []string{
		"listen: 0.0.0.0:6379 → 10.77.0.2:6379 the port is opened at a start",
		"admit: [] → [10.77.0.3/32, 10.77.1.0/24] ",
		"limits.connections: 4096 → 7 ",
		"limits.drain_timeout: 10s → 3s ",
		"engine.uses: [cache] → [locks] ",
		"engine.memory: 2gb → 1gb ",
		"engine.max_clients: 10000 → 99 the engine's open files are granted at its start",
		`exceptions: [] → [{check: RD-441, owner: 'o: x', reason: r, until: "2100-01-01"}] `,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if c := Changes(after, after); c != nil {
		t.Errorf("from itself it differs by %+v", c)
	}

	next, err := FollowGateway("x.yaml", before, after)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Changes(next, after) {
		if c.Restart == "" {
			t.Errorf("%s was not taken in", c.Key)
		}
	}
	for _, c := range Changes(before, next) {
		if c.Restart != "" {
			t.Errorf("%s was taken in", c.Key)
		}
	}
	if len(Changes(next, after)) != 2 || len(Changes(before, next)) != 6 {
		t.Errorf("%+v", next)
	}
}

// TestAValueIsShownInBounds, on one line.
func TestAValueIsShownInBounds(t *testing.T) {
	long := &Gateway{Exceptions: []Exception{{Check: "RD-441", Owner: "o", Reason: strings.Repeat("é\n", 3*maxShown), Until: "2100-01-01"}}}
	changes := Changes(&Gateway{}, long)
	if len(changes) != 1 || len(changes[0].After) > maxShown+len("…") || strings.Contains(changes[0].After, "\n") {
		t.Errorf("%d changes, %d bytes", len(changes), len(changes[0].After))
	}
}
