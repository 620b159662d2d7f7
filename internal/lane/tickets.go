package lane

// kind says what a ticket stands for.
type kind uint8

const (
	replies kind = iota // n replies that are owed to a client
	answer              // an answer of our own, in its place among them
	fence               // the answer of a fence
	blank               // room for a fence that wasn't needed
)

// A ticket is what is expected next on the lane.
type ticket struct {
	kind    kind
	dropped bool // the replies aren't kept
	opens   bool // of a fence: from it on its batch's client has the lane alone
	client  Client
	n       int
	size    int    // bytes of the commands
	local   []byte // of an answer
	nonce   nonce  // of a fence
}

// tickets is a queue: a ring whose size is a power of two.
type tickets struct {
	ring []ticket
	head uint64 // sequence number of the first
	tail uint64 // and of the next one to come
}

func (q *tickets) empty() bool { return q.head == q.tail }

func (q *tickets) at(seq uint64) *ticket { return &q.ring[seq&uint64(len(q.ring)-1)] }

func (q *tickets) first() *ticket { return q.at(q.head) }

// push appends a ticket and returns its sequence number.
func (q *tickets) push(t ticket) uint64 {
	if q.tail-q.head == uint64(len(q.ring)) {
		q.grow()
	}
	*q.at(q.tail) = t
	q.tail++
	return q.tail - 1
}

func (q *tickets) pop() {
	*q.first() = ticket{} // lets go of the client
	q.head++
}

func (q *tickets) grow() {
	bigger := tickets{ring: make([]ticket, max(16, 2*len(q.ring))), head: q.head, tail: q.tail}
	for seq := q.head; seq != q.tail; seq++ {
		*bigger.at(seq) = *q.at(seq)
	}
	*q = bigger
}
