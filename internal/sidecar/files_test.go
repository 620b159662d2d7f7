package sidecar

import "testing"

// TestSomeFilesAreKeptBack: with few files fewer connections are taken than asked for,
// and each that is taken, or has a lane of its own, finds one.
func TestSomeFilesAreKeptBack(t *testing.T) {
	asked := Limits{}.withDefaults()
	for _, c := range []struct {
		files            uint64
		connections, own int
		lowered          bool
	}{
		{1 << 63, 10000, 1536, false},
		{10000 + 1536 + keptBack, 10000, 1536, false},
		{10000 + 1536 + keptBack - 1, 9999, 1536, true},
		{1024, 648, 216, true},
		{64, 24, 8, true},
		{8, 3, 1, true},
	} {
		got, lowered := asked.fit(c.files)
		if got.Connections != c.connections || got.OwnLanes != c.own || lowered != c.lowered {
			t.Errorf("%d files: %d connections, %d lanes of their own, lowered: %v; want %+v", c.files, got.Connections, got.OwnLanes, lowered, c)
		}
	}
	few := Limits{Connections: 20, OwnLanes: 10}
	if got, lowered := few.fit(64); got != few || lowered {
		t.Errorf("what fits is changed: %+v", got)
	}
}
