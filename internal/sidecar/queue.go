package sidecar

import "sync"

// slot is a place in the order of a session's replies.
type slot struct {
	kind   slotKind
	count  int                 // of plain: so many commands in a row
	effect effect              // of tracked
	answer func(*known) []byte // of local, standIn and farewell
}

type slotKind uint8

const (
	plain    slotKind = iota // one reply of the engine for each command
	tracked                  // one reply of the engine, that tells about the session
	standIn                  // one error of the engine, in whose place the answer goes
	local                    // the answer, no reply of the engine
	farewell                 // the answer, then the end
	relay                    // whatever the engine sends, for good
)

// maxSlots bounds a session's queue. Plain commands in a row take one slot
// together, so only local answers waiting behind slow replies fill it; then
// the session isn't read until some are delivered.
const maxSlots = 1024

// queue is the order of a session's replies: what is still to come.
// The session's reader pushes, its delivery takes.
type queue struct {
	mu     sync.Mutex
	moved  sync.Cond
	slots  []slot
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.moved.L = &q.mu
	return q
}

// push appends a slot; false if nothing will be delivered any more.
func (q *queue) push(s slot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.slots) >= maxSlots && !q.closed {
		q.moved.Wait()
	}
	if q.closed {
		return false
	}
	if last := len(q.slots) - 1; s.kind == plain && last >= 0 && q.slots[last].kind == plain {
		q.slots[last].count += s.count
		return true
	}
	q.slots = append(q.slots, s)
	return true
}

// takeBack takes the last command's place away again: it will get no reply,
// since only a part of it was sent.
func (q *queue) takeBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := len(q.slots) - 1
	if last < 0 {
		return
	}
	if q.slots[last].count--; q.slots[last].count <= 0 {
		q.slots = q.slots[:last]
	}
	q.moved.Broadcast()
}

// front is the slot that the next reply belongs to.
func (q *queue) front() (slot, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.slots) == 0 {
		return slot{}, false
	}
	return q.slots[0], true
}

// done takes one command's reply off the front, if the queue hasn't ended
// meanwhile.
func (q *queue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if f := &q.slots[0]; f.kind == plain && f.count > 1 {
		f.count--
		return
	}
	q.slots[0] = slot{}
	q.slots = q.slots[1:]
	if len(q.slots) == 0 {
		q.slots = nil
	}
	q.moved.Broadcast()
}

// empty says whether nothing is to come.
func (q *queue) empty() bool {
	_, some := q.front()
	return !some
}

// localFront says whether the next in order needs nothing from the engine.
func (q *queue) localFront() bool {
	f, ok := q.front()
	return ok && (f.kind == local || f.kind == farewell)
}

// close ends the queue and returns what was still to come.
func (q *queue) close() []slot {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	left := q.slots
	q.slots = nil
	q.moved.Broadcast()
	return left
}

// drained waits until nothing is to come any more.
func (q *queue) drained() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.slots) > 0 && !q.closed {
		q.moved.Wait()
	}
}
