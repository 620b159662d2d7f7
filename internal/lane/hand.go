package lane

import (
	"strings"
	"time"
)

// What is done with replies: handed out, or held until a fence vouches for them.

// hand gives bytes to a ticket's client, or holds them; it says whether they
// were given. An answer of our own waits only for what stands before it.
func (l *Lane) hand(t *ticket, start, end, n int) bool {
	if l.owner != t.client && (t.kind == replies || len(l.held) > 0) {
		l.hold(segment{t.client, start, end, n, t.local, t.dropped})
		return false
	}
	if t.kind == answer {
		t.client.Deliver(t.local, 1)
		return true
	}
	if end > start {
		t.client.Deliver(l.buf[start:end], n)
		l.begun = !l.scan.Between()
	}
	return true
}

// hold keeps a segment until a fence vouches for it. Replies come in pieces, a
// record at a time; those of one client that follow each other are handed out as
// one, since each costs a system call.
func (l *Lane) hold(s segment) {
	if k := len(l.held) - 1; k >= 0 && s.local == nil {
		if last := &l.held[k]; last.client == s.client && last.local == nil && last.end == s.start && last.dropped == s.dropped {
			last.end, last.n = s.end, last.n+s.n
			return
		}
	}
	l.held = append(l.held, s)
}

// release hands out what a fence has vouched for.
func (l *Lane) release() {
	size, n := 0, 0
	for i := range l.held {
		s := &l.held[i]
		switch {
		case s.local != nil:
			s.client.Deliver(s.local, 1)
		case s.dropped:
			if s.n > 0 {
				s.client.Fail(s.n, Dropped)
			}
		case s.end > s.start:
			size, n = size+s.end-s.start, n+s.n
			s.client.Deliver(l.buf[s.start:s.end], s.n)
		}
		*s = segment{} // lets go of the client
	}
	l.held = l.held[:0]
	if n > 0 {
		l.usual += (size/n - l.usual) / 4
	}
}

// keep moves what was not handed out to the front of the buffer.
func (l *Lane) keep(given int) {
	if given == 0 {
		return
	}
	l.have = copy(l.buf, l.buf[given:l.have])
	l.scanned -= given
	for i := range l.held {
		l.held[i].start -= given
		l.held[i].end -= given
	}
	if l.have == 0 && len(l.buf) > mostRoom {
		l.buf = make([]byte, firstRoom)
	}
}

// putOff deals with a fence that the engine hasn't answered, for the state that
// it is in: what stands at from is its error. What is held then waits for another
// fence; unless all of it is that very error, which may reach anybody. It says
// whether it waits.
func (l *Lane) putOff(t *ticket, from int) bool {
	if !t.opens && l.allHeldAre(l.buf[from:l.scanned]) {
		return false
	}
	l.cutOut(from, l.scanned)
	l.unvouched, l.retry = true, time.Time{}
	if t.opens { // what comes behind must be held now
		l.owner, l.retry = nil, atOnce
	}
	return true
}

// atOnce is a time long ago.
var atOnce = time.Unix(1, 0)

func (l *Lane) allHeldAre(refusal []byte) bool {
	for i := range l.held {
		s := &l.held[i]
		if s.local == nil && string(l.buf[s.start:s.end]) != strings.Repeat(string(refusal), s.n) {
			return false
		}
	}
	return true
}

// dropLargest drops what is held for the client that has most of it, as if it
// hadn't come; what still comes of its reply is dropped too. It says whether there
// was such a one.
func (l *Lane) dropLargest() bool {
	sizes := map[Client]int{}
	var largest Client
	for i := range l.held {
		s := &l.held[i]
		if sizes[s.client] += s.end - s.start; sizes[s.client] > sizes[largest] {
			largest = s.client
		}
	}
	if largest == nil {
		return false
	}
	for i := range l.held {
		if s := &l.held[i]; s.client == largest && s.local == nil {
			start, end := s.start, s.end
			s.end, s.dropped = start, true
			l.cutOut(start, end)
		}
	}
	if !l.tickets.empty() && !l.inBatch() {
		if t := l.tickets.first(); t.kind == replies && t.client == largest && !l.scan.Between() {
			t.dropped = true
		}
	}
	return true
}

// cutOut takes bytes that were looked at out of the buffer.
func (l *Lane) cutOut(start, end int) {
	n := end - start
	if n == 0 {
		return
	}
	l.have = start + copy(l.buf[start:], l.buf[end:l.have])
	l.scanned -= n
	for i := range l.held {
		if s := &l.held[i]; s.start >= end {
			s.start -= n
			s.end -= n
		}
	}
}

// Abandon fails everything that is owed, in order, and forgets it. The lane's
// connection is gone; what was held is not handed out.
func (l *Lane) Abandon() {
	for _, s := range l.held {
		switch {
		case s.local != nil:
			s.client.Deliver(s.local, 1)
		case s.n > 0:
			s.client.Fail(s.n, Unknown)
		}
	}
	how := Unknown
	if l.begun {
		how = Torn
	}
	for ; !l.tickets.empty(); l.tickets.pop() {
		if l.inBatch() {
			how = NotSent
		}
		switch t := l.tickets.first(); {
		case t.kind == answer:
			t.client.Deliver(t.local, 1)
		case t.kind == replies && t.n > 0:
			t.client.Fail(t.n, how)
			if how == Torn {
				how = Unknown
			}
		}
	}
	*l = Lane{FencePerClient: l.FencePerClient, out: make([]byte, fenceLen)}
}
