package lane

// What is done with replies: handed out, or held until a fence vouches for them.

// hand gives bytes to a ticket's client, or holds them; it says whether they
// were given. An answer of our own waits only for what stands before it.
func (l *Lane) hand(t *ticket, start, end, n int) bool {
	if l.owner != t.client && (t.kind == replies || len(l.held) > 0) {
		l.hold(segment{t.client, start, end, n, t.local})
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
		if last := &l.held[k]; last.client == s.client && last.local == nil && last.end == s.start {
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
		size, n = size+s.end-s.start, n+s.n
		if s.local != nil {
			s.client.Deliver(s.local, 1)
		} else if s.end > s.start {
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

// Largest is the client of the longest run of replies that is held: whom to blame
// for ErrTooMuch.
func (l *Lane) Largest() Client {
	var longest segment
	for _, s := range l.held {
		if s.end-s.start > longest.end-longest.start {
			longest = s
		}
	}
	return longest.client
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
