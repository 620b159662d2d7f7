package lane

import (
	"bytes"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A Private keeps the books of a lane that one client has for itself: replies
// pass as they come, in no need of a fence, since there is nobody to cross with.
// The zero value with a Client is ready; it is not for concurrent use.
//
// What always holds: the places are the replies to come, in order, and the first
// is never an answer of our own, which is given as soon as it is first. A push
// stands between two replies and answers none.
type Private struct {
	Client Client
	// Errors is as a Lane's. Where replies aren't counted it is asked too, as long
	// as what comes is RESP.
	Errors func(of Client, text []byte)

	places []place
	first  int // places[:first] are done with
	scan   resp.ReplyScanner
	push   bool // the frame under way answers nothing
	held   bool // the frame under way isn't passed
	head   [replyHead]byte
	deaf   bool // what isn't counted is no RESP
	kept   int  // head[:kept] is the beginning of the frame under way, if it is looked at

	astray bool // a skipped one was another's

	unconfirmed int      // channels that were subscribed to, and not confirmed yet
	confirmed   []func() // are called when none is left
}

// replyHead is how much of a reply its watcher sees: enough for the id in HELLO's.
const replyHead = 256

// A place is what comes next.
type place struct {
	kind placeKind
	n    int          // replies that pass
	told func([]byte) // of a watched, doubtful or skipped one: it is called with the reply's beginning
	made func() []byte
	over func([]byte) []byte
}

type placeKind uint8

const (
	passed   placeKind = iota // n replies of the engine
	watched                   // one, which is looked at
	replaced                  // one, an error, instead of which what is made is given
	remade                    // one, short, which is made over unless it is an error
	doubtful                  // one, or the end of what can be counted
	skipped                   // one, which is for nobody
	ours                      // what is made, no reply of the engine
	uncounted
)

// Expect says that n commands were sent.
func (p *Private) Expect(n int) {
	if last := len(p.places) - 1; last >= p.first && p.places[last].kind == passed {
		p.places[last].n += n
		return
	}
	p.add(place{kind: passed, n: n})
}

// Watch says that a command was sent whose reply is passed on, and told.
func (p *Private) Watch(told func(head []byte)) { p.add(place{kind: watched, n: 1, told: told}) }

// Remake says that a command was sent whose reply goes to the client as over makes it,
// unless it is an error. It is no longer than replyHead.
func (p *Private) Remake(over func(reply []byte) []byte) {
	p.add(place{kind: remade, n: 1, over: over})
}

// Doubt says that a command was sent, the last for now, that may end the count. told
// gets the first byte of what comes: an error ('-') or a push that confirms a
// subscription ('>') is all of its reply; from anything else on nothing is counted.
func (p *Private) Doubt(told func(first []byte)) { p.add(place{kind: doubtful, n: 1, told: told}) }

// Replace says that a command was sent that the engine must reject. What is made
// when that is its turn goes to the client in the error's place.
func (p *Private) Replace(made func() []byte) { p.add(place{kind: replaced, n: 1, made: made}) }

// Skip says that a command of our own was sent. Its reply, this one or an error, is for
// nobody; told is called when it has come, unless it is nil.
func (p *Private) Skip(want string, told func()) {
	p.add(place{kind: skipped, n: 1, told: func(head []byte) {
		if head[0] != '-' && string(head) != want {
			p.astray = true
		} else if told != nil {
			told()
		}
	}})
}

// Subscribe says that so many channels are subscribed to by what is sent where replies
// aren't counted, or may be the last that is. told, unless it is nil, is called when the
// engine has confirmed these and all before, or has answered with an error.
func (p *Private) Subscribe(channels int, told func()) {
	p.unconfirmed += channels
	if told != nil {
		p.confirmed = append(p.confirmed, told)
	}
}

// Answer puts an answer of our own behind the replies that are to come, of which
// there must be some. It is made when its turn comes.
func (p *Private) Answer(made func() []byte) { p.add(place{kind: ours, n: 1, made: made}) }

// Uncount says that whatever comes from here on is passed on uncounted.
func (p *Private) Uncount() { p.add(place{kind: uncounted}) }

// TakeBack says that the last command expected will get no reply: only a part of
// it was sent.
func (p *Private) TakeBack() {
	last := len(p.places) - 1
	if p.places[last].n--; p.places[last].n == 0 {
		p.places = p.places[:last]
	}
}

func (p *Private) add(next place) {
	if p.first == len(p.places) {
		p.places, p.first = p.places[:0], 0
	}
	p.places = append(p.places, next)
}

// Places is how many runs of replies and answers are to come.
func (p *Private) Places() int { return len(p.places) - p.first }

// front is the place of the next frame; nil if nothing is expected.
func (p *Private) front() *place {
	if p.first == len(p.places) {
		return nil
	}
	return &p.places[p.first]
}

// done takes a reply off the first place.
func (p *Private) done() {
	f := p.front()
	if f.n--; f.n > 0 {
		return
	}
	*f = place{}
	p.first++
	switch {
	case p.first == len(p.places):
		p.places, p.first = p.places[:0], 0
		if cap(p.places) > mostPlaces {
			p.places = nil
		}
	case p.first >= mostPlaces && 2*p.first > len(p.places):
		n := copy(p.places, p.places[p.first:])
		clear(p.places[n:])
		p.places, p.first = p.places[:n], 0
	}
}

// mostPlaces is what is kept of a long queue.
const mostPlaces = 256

// Received hands out what came. An error is a fault of the lane: close the
// connection.
func (p *Private) Received(b []byte) error {
	from, ended := 0, 0 // b[from:i] isn't handed out yet, and that many replies end in it
	give := func(to int) {
		if to > from || ended > 0 {
			p.Client.Deliver(b[from:to], ended)
		}
		from, ended = to, 0
	}
	for i := 0; i < len(b); {
		f := p.front()
		if p.scan.Between() {
			p.push, p.kept = b[i] == '>', 0
			if f == nil && !p.push {
				give(i)
				return ErrUnasked
			}
			if f != nil && f.kind == doubtful && !p.push && b[i] != '-' {
				give(i)
				f.told(b[i : i+1])
				f.kind, ended = uncounted, 1
			}
			p.held = f != nil && !p.push && (f.kind == replaced || f.kind == remade && b[i] != '-')
		}
		if f != nil && f.kind == uncounted {
			p.overhear(b[i:])
			break
		}
		n, outcome := p.scan.Scan(b[i:])
		if outcome == resp.Malformed {
			give(i)
			return ErrMalformed
		}
		kind := passed
		if f != nil && (!p.push || f.kind == doubtful) {
			kind = f.kind
		}
		if kind != passed {
			if p.held && kind == remade && p.kept+n > len(p.head) {
				return ErrMalformed
			}
			p.kept += copy(p.head[p.kept:], b[i:i+n])
		}
		if p.held || kind == skipped {
			give(i)
			from = i + n
		}
		i += n
		if outcome != resp.Whole || p.push && !(kind == doubtful && confirms(p.head[:p.kept])) {
			continue
		}
		if !p.push {
			p.tellError()
		}
		switch {
		case kind == watched, kind == doubtful:
			f.told(p.head[:p.kept])
			ended++
			if kind == doubtful {
				p.unconfirmed = 0
				p.tellConfirmed()
			}
		case kind == replaced && p.head[0] != '-':
			return ErrNotRejected
		case kind == replaced:
			p.Client.Deliver(f.made(), 1)
		case p.held:
			p.Client.Deliver(f.over(p.head[:p.kept]), 1)
		case kind == skipped:
			if f.told(p.head[:p.kept]); p.astray {
				return ErrFence
			}
		default:
			ended++
		}
		p.done()
		if f := p.front(); f != nil && f.kind == ours {
			give(i)
			p.answers()
		}
	}
	give(len(b))
	return nil
}

// confirms says whether a push is a subscription's confirmation: its first word is
// subscribe, psubscribe, unsubscribe and so on, and no message's is.
func confirms(push []byte) bool {
	_, rest, _ := bytes.Cut(push, crlf)
	_, rest, _ = bytes.Cut(rest, crlf)
	kind, _, _ := bytes.Cut(rest, crlf)
	return bytes.HasSuffix(kind, []byte("subscribe"))
}

var crlf = []byte("\r\n")

// overhear looks for errors in what is passed on uncounted, and for confirmations.
func (p *Private) overhear(b []byte) {
	for len(b) > 0 && !p.deaf {
		if p.scan.Between() {
			p.kept = 0
		}
		n, outcome := p.scan.Scan(b)
		if p.unconfirmed > 0 && p.kept < confirmationHead {
			p.kept += copy(p.head[p.kept:confirmationHead], b[:n])
		}
		b = b[n:]
		p.deaf = outcome == resp.Malformed
		if outcome == resp.Whole {
			p.tellError()
			p.confirm()
		}
	}
}

// confirmationHead is how much of a frame tells that it confirms a subscription.
const confirmationHead = len("*3\r\n$10\r\npsubscribe\r\n")

// confirm takes the frame that has ended for what it may be.
func (p *Private) confirm() {
	if p.unconfirmed == 0 || p.kept == 0 {
		return
	}
	switch head := p.head[1:p.kept]; {
	case p.head[0] == '-': // to whatever: nobody is to wait in vain
		p.unconfirmed = 0
	case bytes.HasPrefix(head, []byte("3\r\n$9\r\nsubscribe\r\n")),
		bytes.HasPrefix(head, []byte("3\r\n$10\r\npsubscribe\r\n")),
		bytes.HasPrefix(head, []byte("3\r\n$10\r\nssubscribe\r\n")):
		p.unconfirmed--
	}
	p.tellConfirmed()
}

func (p *Private) tellConfirmed() {
	if p.unconfirmed > 0 {
		return
	}
	for _, told := range p.confirmed {
		told()
	}
	p.confirmed = nil
}

func (p *Private) tellError() {
	if p.Errors != nil && p.scan.Kind() == '-' {
		p.Errors(p.Client, p.scan.Error())
	}
}

// answers gives the answers of our own that are first.
func (p *Private) answers() {
	for f := p.front(); f != nil && f.kind == ours; f = p.front() {
		made := f.made()
		p.done()
		p.Client.Deliver(made, 1)
	}
}
