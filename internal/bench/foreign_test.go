package bench

import (
	"testing"
	"time"
)

func TestBusyTicksLeaveWaitingOut(t *testing.T) {
	const stat = "cpu  100 20 30 9999 8888 4 5 6 7 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
	if got := busyTicks(stat); got != 100+20+30+4+5+6 {
		t.Errorf("%d", got)
	}
}

func TestProcessesWithStrangeNamesAreRead(t *testing.T) {
	const tail = " S 77 1 1 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 1 1\n"
	for _, c := range []struct {
		stat string
		pid  int
		ok   bool
	}{
		{"12 (redis-server)" + tail, 12, true},
		{"12 (a) S 1 (b c)" + tail, 12, true},
		{"12 (x) S 77", 0, false},
		{"12", 0, false},
		{"", 0, false},
		{") (", 0, false},
	} {
		pid, p, ok := parseProcessStat(c.stat)
		if pid != c.pid || ok != c.ok || ok && (p.parent != 77 || p.ticks != 175) {
			t.Errorf("%q: %d %+v %v", c.stat, pid, p, ok)
		}
	}
}

func TestDescendantsAreOursHoweverDeep(t *testing.T) {
	tree := map[int]processTime{
		1: {0, 1000}, 10: {1, 1}, 11: {10, 2}, 12: {11, 4}, 20: {1, 100}, 21: {20, 200},
		30: {31, 500}, 31: {30, 500}, // read while pids were reused: a circle
		40: {41, 500}, // whose parent has ended
	}
	if got := descendants(tree, 10); got != 1+2+4 {
		t.Errorf("%d", got)
	}
}

// TestOurOwnWorkIsNotForeign on the live system, where others may work too.
func TestOurOwnWorkIsNotForeign(t *testing.T) {
	before := readCPUTime()
	for readCPUTime().ours-before.ours < userHZ/5 {
		if time.Since(before.at) > 20*time.Second {
			t.Fatal("we worked for 20 s, and it is not seen")
		}
	}
	after := readCPUTime()
	if busy, ours := after.busy-before.busy, after.ours-before.ours; busy < ours-3 {
		t.Errorf("the machine worked for %d ticks, we alone for %d", busy, ours)
	}
	idle := cpuTime{at: before.at, busy: before.busy, ours: before.ours}
	idle.at, idle.busy, idle.ours = before.at.Add(time.Second), before.busy+150, before.ours+150
	if f := idle.foreignSince(before); f != 0 {
		t.Errorf("all work was ours, and %v is foreign", f)
	}
	idle.ours = before.ours
	if f := idle.foreignSince(before); f <= 0 || f > 1 {
		t.Errorf("no work was ours, and %v is foreign", f)
	}
}
