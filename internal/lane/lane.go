package lane

import (
	"errors"
	"math"
	"time"

	"github.com/redoubt-cache/redoubt/internal/resp"
)

// A Client is who commands are sent for.
type Client interface {
	// Deliver hands over bytes of replies, of which n end in them. The bytes
	// are the lane's again when it returns.
	Deliver(b []byte, n int)
	// Fail says that n replies will not come.
	Fail(n int, how Failure)
}

// Failure says what is known of commands whose replies will not come.
type Failure uint8

// What a Failure can be.
const (
	NotSent Failure = iota // they never left: they did not run
	Unknown                // they may or may not have run
	Torn                   // as Unknown, and the first reply has begun to be delivered
	Dropped                // they ran; the replies were more than may be held for others
)

// Bounds. A record is what TLS encrypts at once (RFC 8446 §5.1); a full one
// gains nothing by waiting. Hold bounds how long a command waits for company:
// measured best between 50 and 200 µs (docs/performance.md).
const (
	recordFull = 16 << 10
	Hold       = 100 * time.Microsecond
	mostRoom   = 4 << 20 // of each of its two buffers, what a lane keeps once it has needed it
	// fullReplies is what the replies of one batch should come to, by what replies
	// came to before: while one batch is handed out, the next is on its way.
	fullReplies = 256 << 10
	// MaxHeld bounds the replies that wait for their fence. It is far above
	// what small commands answer; clients with large values get private lanes,
	// where nothing is held. Beyond it the largest client's are dropped, so that
	// what they cost they cost nobody else.
	MaxHeld = 64 << 20
	// fenceAgain is how long a fence is put off that the engine wouldn't answer.
	fenceAgain = 10 * time.Millisecond
)

// Never says that a batch waits for replies, not for time.
const Never = time.Duration(math.MaxInt64)

// Faults of a lane, after which it must be closed.
var (
	ErrFence     = errors.New("lane: a fence is not where it must be: the engine sent a reply too many, too few or torn")
	ErrUnasked   = errors.New("lane: a reply that nothing asked for")
	ErrMalformed = errors.New("lane: a reply is not RESP")
	// ErrNotRejected is a Private's: see Replace.
	ErrNotRejected = errors.New("lane: the engine ran a command that it must reject")
)

// Lane is one connection's books. Make it with New; it is not for concurrent use.
type Lane struct {
	// FencePerClient fences each client's run of commands, not each batch.
	FencePerClient bool
	// Errors is handed the beginning of each reply that is an error
	// ([resp.ReplyScanner.Error]), and whose it is, if it isn't nil. It must not keep it.
	Errors func(of Client, text []byte)

	nonces  nonces
	scan    resp.ReplyScanner
	tickets tickets

	// The batch: out[fenceLen:] are its commands, out[:fenceLen] is room for a
	// fence in front of them, and the ticket numbered lead for its answer.
	out    []byte
	lead   uint64
	client Client // of the batch, while it has one only
	mixed  bool   // it has several
	queued int    // replies that the batch will have
	since  time.Time
	room   int // the largest batch lately: a 64th less with each smaller one

	usual int    // bytes of a held reply, lately
	sent  int    // replies owed for batches that were sent
	owner Client // who alone has the lane since the last fence; nil: a fence was last

	buf     []byte
	have    int // buf[:have] was received
	scanned int // buf[:scanned] was looked at
	held    []segment
	begun   bool // a reply has been delivered in part
	arrived bool // replies came in this turn of the loop

	unvouched bool      // the last fence wasn't answered: another must vouch for what is held
	retry     time.Time // when it goes, if nothing else does before
}

// A segment is a run of held replies, or an answer of our own among them.
type segment struct {
	client     Client
	start, end int
	n          int
	local      []byte
	dropped    bool // its bytes aren't kept
}

// New makes the books of a fresh connection.
func New() *Lane {
	return &Lane{out: make([]byte, fenceLen, 4<<10), buf: make([]byte, firstRoom)}
}

// Send adds bytes of commands to the batch, to which the engine will give n
// replies.
func (l *Lane) Send(c Client, b []byte, n int) {
	l.join(c)
	l.out = append(l.out, b...)
	l.queued += n
	if last := l.tickets.at(l.tickets.tail - 1); last.kind == replies && last.client == c {
		last.n += n
		last.size += len(b)
		return
	}
	l.tickets.push(ticket{kind: replies, client: c, n: n, size: len(b)})
}

// Answer puts an answer of our own in its place behind the replies that are
// owed to a client, of which there must be some: without, the client is to be
// answered directly. It is delivered as one reply. The bytes are kept.
func (l *Lane) Answer(c Client, b []byte) {
	if l.tickets.empty() { // what it waits for is held
		l.hold(segment{client: c, start: l.scanned, end: l.scanned, local: b})
		return
	}
	if l.open() {
		l.join(c)
	}
	l.tickets.push(ticket{kind: answer, client: c, local: b})
}

// join makes a client part of the batch.
func (l *Lane) join(c Client) {
	switch {
	case !l.open():
		l.lead = l.tickets.push(ticket{kind: blank})
		l.client, l.mixed = c, false
	case l.client != c:
		if l.FencePerClient {
			l.appendFence()
		}
		l.client, l.mixed = c, true
	}
}

// open says whether a batch has been begun.
func (l *Lane) open() bool { return l.client != nil }

func (l *Lane) appendFence() {
	n := l.nonces.next()
	l.out = n.appendFence(l.out)
	l.tickets.push(ticket{kind: fence, nonce: n})
}

// Outstanding says how many replies are owed, sent for or not.
func (l *Lane) Outstanding() int { return l.sent + l.queued }

// Awaits says whether anything is to come for what was sent, be it a fence.
func (l *Lane) Awaits() bool { return !l.tickets.empty() && !l.inBatch() }

// Idle says that nothing is owed, to come, or held.
func (l *Lane) Idle() bool { return l.Outstanding() == 0 && !l.Awaits() && len(l.held) == 0 }

// Owner is the client that has the lane alone, whose replies pass as they come;
// nil: there are several, or none, or the fence before it wasn't answered yet.
func (l *Lane) Owner() Client {
	if l.Awaits() && l.tickets.first().kind == fence {
		return nil
	}
	return l.owner
}

// Waiting says how many bytes of commands wait to be flushed.
func (l *Lane) Waiting() int { return len(l.out) - fenceLen }

// alone says whether the batch goes on where its only client has the lane.
func (l *Lane) alone() bool { return l.owner != nil && !l.mixed && l.client == l.owner }

// Due says how long the batch may still wait for company; 0: flush it now.
// A batch goes at once when nothing is under way, when replies have just
// arrived, when it is as large as what is under way, or when a record is full.
func (l *Lane) Due(now time.Time) time.Duration {
	switch {
	case !l.open() && l.unvouched && !l.Awaits():
		if l.retry.IsZero() {
			l.retry = now.Add(fenceAgain)
		}
		return max(0, l.retry.Sub(now))
	case !l.open():
		return Never
	case l.alone():
		return 0
	case l.owner != nil && l.sent > 0:
		return Never // another's replies pass unheld: they must end first
	case l.arrived && 2*l.queued >= l.sent, l.queued >= l.sent, l.Full():
		return 0
	}
	if l.since.IsZero() {
		l.since = now
	}
	return max(0, l.since.Add(Hold).Sub(now))
}

// Full says that the batch gains nothing by more commands and may go.
func (l *Lane) Full() bool {
	return (l.owner == nil || l.alone()) && (len(l.out) >= recordFull || l.queued*l.usual >= fullReplies)
}

// Flush ends the batch with what fences it needs and returns the bytes to
// send, which are good until the next Send. Call it when Due says 0.
func (l *Lane) Flush() []byte {
	if !l.open() && (!l.unvouched || l.Awaits()) {
		return nil
	}
	from := fenceLen
	switch {
	case !l.open(): // nothing but a fence
		l.appendFence()
	case !l.alone():
		exclusive := !l.mixed && l.sent == 0 && !l.unvouched
		if exclusive || l.owner != nil {
			n := l.nonces.next()
			n.appendFence(l.out[:0])
			*l.tickets.at(l.lead) = ticket{kind: fence, nonce: n, opens: exclusive}
			from = 0
		}
		l.owner = nil
		if exclusive {
			l.owner = l.client
		} else {
			l.appendFence()
		}
	}
	batch := l.out[from:]
	l.sent += l.queued
	l.queued, l.client, l.mixed, l.since = 0, nil, false, time.Time{}
	l.room = max(len(l.out), l.room-l.room/64)
	if least := max(l.room, recordFull); cap(l.out) > min(2*least, mostRoom) {
		l.out = make([]byte, fenceLen, min(least, mostRoom))
	}
	l.out = l.out[:fenceLen]
	return batch
}

// Buffer is where to read replies to.
func (l *Lane) Buffer() []byte {
	if l.have == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	return l.buf[l.have:]
}

// Received takes n bytes that were read into Buffer and hands out what can be
// handed out. An error is a fault of the lane: close the connection and call
// Abandon. Settle must be called when nothing more is to be read for now.
func (l *Lane) Received(n int) error {
	l.have += n
	l.arrived = true
	given := 0 // buf[:given] has been handed out
	for {
		if l.tickets.empty() || l.inBatch() {
			if l.scanned < l.have {
				return ErrUnasked
			}
			break
		}
		done, err := l.next(&given)
		if err != nil {
			return err
		}
		if !done {
			break
		}
	}
	l.keep(given)
	for l.have > MaxHeld && l.dropLargest() {
	}
	return nil
}

// Settle says that the replies that had arrived were taken: the batch needn't
// hurry any more on their account.
func (l *Lane) Settle() { l.arrived = false }

// inBatch says whether the next ticket is of the batch that wasn't sent yet.
func (l *Lane) inBatch() bool { return l.open() && l.tickets.head == l.lead }

// next deals with the first ticket as far as bytes have come. It is done when
// the ticket is.
func (l *Lane) next(given *int) (done bool, err error) {
	t := l.tickets.first()
	switch t.kind {
	case fence:
		n, how := t.nonce.look(l.buf[l.scanned:l.have])
		switch how {
		case outOfPlace:
			return false, ErrFence
		case notYet:
			return false, nil
		}
		l.scanned += n
		if how == unanswered && l.putOff(t, l.scanned-n) {
			break
		}
		l.unvouched = false
		l.release()
		*given = l.scanned
	case answer:
		l.hand(t, l.scanned, l.scanned, 0)
	case replies:
		start := l.scanned
		n, err := l.replies(t)
		if err != nil {
			t.n += n // whole, but not to be trusted any more: Abandon fails them
			return false, err
		}
		if t.dropped {
			l.cutOut(start, l.scanned)
		}
		if l.hand(t, start, l.scanned, n) {
			*given = l.scanned
		}
		if t.n > 0 {
			return false, nil
		}
	}
	l.tickets.pop()
	return true, nil
}

// replies scans what has come of a ticket's replies and takes the whole ones
// off it.
func (l *Lane) replies(t *ticket) (n int, err error) {
	for t.n > 0 {
		k, outcome := l.scan.Scan(l.buf[l.scanned:l.have])
		l.scanned += k
		if outcome == resp.Malformed {
			return n, ErrMalformed
		}
		if outcome == resp.More {
			return n, nil
		}
		if l.scan.Kind() == '>' {
			return n, ErrUnasked // a push on a lane that nobody subscribed on
		}
		if l.Errors != nil && l.scan.Kind() == '-' {
			l.Errors(t.client, l.scan.Error())
		}
		n++
		t.n--
		l.sent--
	}
	return n, nil
}
