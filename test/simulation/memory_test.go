//go:build simulation

package simulation

import "unsafe"

// What a world has used of memory the next one uses again: to have it made anew would be
// a third of what a world costs.

// memory is what there is.
var memory struct {
	rooms []*rooms
	lent  int // rooms[:lent] are this world's
	texts [][]byte
	full  int    // texts[:full] are
	page  []byte // of texts, what is left of the one after
}

// recollect begins anew.
func recollect() { memory.lent, memory.full, memory.page = 0, 0, nil }

// rooms are where bytes of a connection are, in and out.
type rooms struct{ in, out room }

func borrow() *rooms {
	if memory.lent == len(memory.rooms) {
		memory.rooms = append(memory.rooms, &rooms{})
	}
	memory.lent++
	return memory.rooms[memory.lent-1]
}

// room is where bytes are that come at their end and are taken off their beginning.
type room struct{ b []byte }

// mostKept is the most that a room keeps for the next world: big is outside.
const mostKept = 1 << 20

// behind is what follows n bytes of b, which is in the room, or has outgrown it.
func (r *room) behind(b []byte, n int) []byte {
	if cap(b) > cap(r.b) && cap(b) <= mostKept {
		r.b = b[:0]
	}
	b = b[n:]
	if len(b) <= cap(r.b)-cap(b) { // no more is moved than was taken
		b = append(r.b, b...)
	}
	return b
}

const pageSize = 64 << 10

// text is b as a string that is good as long as the world.
func text(b []byte) string {
	switch {
	case len(b) > pageSize/4:
		return string(b)
	case len(b) == 0:
		return ""
	case len(b) > len(memory.page):
		if memory.full == len(memory.texts) {
			memory.texts = append(memory.texts, make([]byte, pageSize))
		}
		memory.page = memory.texts[memory.full]
		memory.full++
	}
	n := copy(memory.page, b)
	s := unsafe.String(&memory.page[0], n)
	memory.page = memory.page[n:]
	return s
}
