package lane

// How a lane that many share becomes the private lane of one of them.

// Unsent is what of a batch was for others when its lane was seized: commands and
// how many replies they have, or an answer of our own.
type Unsent struct {
	Client   Client
	Commands []byte
	N        int
	Answer   []byte
}

// Seize makes the lane its Owner's for good, even in the midst of a reply: the
// Private's books go on from here, and this Lane is to be forgotten. It returns
// what of the batch is the owner's own, to be sent now, and what others would have
// sent, in order: that goes over another lane.
func (l *Lane) Seize() (p *Private, own []byte, others []Unsent) {
	p = &Private{Client: l.owner, Errors: l.Errors, scan: l.scan}
	at := fenceLen
	inBatch := false
	for ; !l.tickets.empty(); l.tickets.pop() {
		inBatch = inBatch || l.inBatch()
		t := l.tickets.first()
		mine := t.client == l.owner
		switch {
		case t.kind == fence && inBatch:
			at += fenceLen
		case t.kind == answer && mine:
			local := t.local
			p.Answer(func() []byte { return local })
		case t.kind == answer:
			others = append(others, Unsent{Client: t.client, N: 1, Answer: t.local})
		case t.kind == replies:
			commands := l.out[at:at]
			if inBatch {
				commands = l.out[at : at+t.size]
				at += t.size
			}
			if mine {
				p.Expect(t.n)
				own = append(own, commands...)
			} else {
				others = append(others, Unsent{Client: t.client, Commands: commands, N: t.n})
			}
		}
	}
	return p, own, others
}
