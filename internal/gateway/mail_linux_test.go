package gateway

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
)

// TestALoopThatIsClosedIsNotWoken: the number of its descriptor may be another's by
// then, and eight bytes would be written there.
func TestALoopThatIsClosedIsNotWoken(t *testing.T) {
	s, err := newLoops(func(*about) error { return nil }, func(*relay) {})
	must(t, err)
	s.close()
	var others []int
	for range 8 * len(s.all) { // the numbers that became free are given first
		fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		must(t, err)
		defer unix.Close(fd)
		others = append(others, fd)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // else a loop that says nothing would be waited for
	for range 2 {
		if s.turn(ctx) {
			t.Error("a closed loop turns")
		}
	}
	s.judge()
	var count [8]byte
	for _, fd := range others {
		if n, err := unix.Read(fd, count[:]); err != unix.EAGAIN {
			t.Errorf("%d bytes were written to another's descriptor (%v)", n, err)
		}
	}
}
