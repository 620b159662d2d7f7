package bench

import "time"

// timetable is an open loop's: what is due when, and who is idle.
type timetable struct {
	rate     int64   // requests a second; 0: a closed loop
	sent     int64   // requests that are no longer in the timetable
	idlers   []int32 // a ring of connections
	first, n int
}

func newTimetable(l Load) timetable {
	return timetable{rate: int64(l.Rate), idlers: make([]int32, l.Connections)}
}

// next is when the next request is due.
func (t *timetable) next() time.Duration {
	return time.Duration(t.sent * int64(time.Second) / t.rate)
}

func (t *timetable) idle(i int32) {
	t.idlers[(t.first+t.n)%len(t.idlers)] = i
	t.n++
}

func (t *timetable) take() int32 {
	i := t.idlers[t.first]
	t.first, t.n = (t.first+1)%len(t.idlers), t.n-1
	return i
}

// sendDue sends what is due as far as connections are idle, and says how long
// the loop may wait.
func (g *generator) sendDue(now time.Duration) (wait time.Duration, err error) {
	t := &g.due
	if t.rate == 0 {
		return min(patience, max(g.end-now, 0)), nil
	}
	for t.n > 0 && t.next() <= now && t.next() < g.end {
		due := t.next()
		t.sent++
		if err := g.send(t.take(), due); err != nil {
			return 0, err
		}
	}
	if t.n == 0 || t.next() >= g.end {
		return patience, nil // a reply ends the wait
	}
	return min(patience, max(t.next()-now, 0)), nil
}

// over says whether the run is: a closed loop's by the clock, an open loop's
// when all that was due is answered, or the grace is used up.
func (g *generator) over(now time.Duration) bool {
	if now < g.end {
		return false
	}
	t := &g.due
	return t.rate == 0 || t.n == len(t.idlers) && t.next() >= g.end || now >= g.end+grace
}

// chargeRest counts what an open loop still owes as having taken until now: too
// little, but far better than leaving it out.
func (g *generator) chargeRest(now time.Duration) {
	t := &g.due
	if t.rate == 0 {
		return
	}
	for i := range g.conns {
		if c := &g.conns[i]; c.busy && c.since >= g.begin {
			g.recorder.add(now-c.since, 1)
		}
	}
	for ; t.next() < g.end; t.sent++ {
		if t.next() >= g.begin {
			g.recorder.add(now-t.next(), 1)
		}
	}
}
