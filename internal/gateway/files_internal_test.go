package gateway

import "testing"

// TestTooFewFilesLowerTheLimits: a peer that finds no room is told so by a limit, not cut
// by a lack of files.
func TestTooFewFilesLowerTheLimits(t *testing.T) {
	asked := DefaultLimits()
	for _, c := range []struct {
		files                   uint64
		connections, handshakes int
		lowered                 bool
	}{
		{1 << 63, 4096, 1024, false},
		{2*4096 + 1024 + keptBack, 4096, 1024, false},
		{2*4096 + 1024 + keptBack - 1, 4095, 1024, true},
		{1024, 360, 240, true},
		{64, 12, 8, true},
		{4, 1, 1, true},
	} {
		got, lowered := asked.fit(c.files)
		if got.Connections != c.connections || got.Handshakes != c.handshakes || lowered != c.lowered {
			t.Errorf("%d files: %d connections, %d handshakes, lowered: %v; want %+v", c.files, got.Connections, got.Handshakes, lowered, c)
		}
	}
}
