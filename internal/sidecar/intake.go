package sidecar

import (
	"context"
	"errors"
	"io"

	"github.com/redoubt-cache/redoubt/internal/command"
	"github.com/redoubt-cache/redoubt/internal/resp"
)

// intake is a session's input. Commands pass through in the bytes in which
// they came: what was scanned and is for the engine stands in buf[pass:read]
// until the bytes at hand are scanned, then goes in one write. Slots are in the
// queue before their commands' first bytes are written, so that no reply comes
// before its slot.
type intake struct {
	buf              []byte
	pass, read, have int // buf[pass:read] is for the engine, buf[read:have] not yet scanned
	plain            int // commands that begin in buf[pass:read] and have no slot yet
	commands         resp.CommandScanner
	body             bool     // the scanner is within a command
	instead          *verdict // of the command under way: it isn't passed on
}

// verdict is what a command gets that is not passed on.
type verdict struct {
	slot  *slot  // for its answer; nil if the engine will give that (relaying)
	stand []byte // goes to the engine in the command's stead, if anything does
}

// init begins with what has been read already.
func (in *intake) init(bulk int64, unread []byte) {
	in.buf = make([]byte, max(smallBuffer, len(unread)))
	in.have = copy(in.buf, unread)
	in.commands.MaxBulk = bulk
}

// serve reads and handles commands. It returns why it can't go on.
func (s *session) serve(ctx context.Context) error {
	for {
		s.awaitReturn()
		n, err := s.app.Read(s.buf[s.have:])
		s.have += n
		if n > 0 || isDeadline(err) {
			if err := s.goBack(ctx); err != nil {
				return err
			}
		}
		if n > 0 {
			if err := s.consume(ctx); err != nil {
				return err
			}
			s.makeRoom(n)
		}
		switch {
		case s.draining.Load():
			return errDraining
		case isDeadline(err):
			continue
		case errors.Is(err, io.EOF):
			return errEnded
		case err != nil:
			return errAppGone // reset by it, or closed by our delivery
		}
	}
}

// makeRoom leaves free room in the buffer, of which all that could be handled
// is handled.
func (in *intake) makeRoom(lastRead int) {
	rest := in.buf[in.read:in.have]
	size := len(in.buf)
	switch {
	case len(rest) == size: // a command that is wanted whole, or its head
		size *= 4
	case in.have == size && lastRead > smallBuffer/2: // much is coming
		size = max(size, largeBuffer)
	case len(rest) == 0 && size > largeBuffer:
		size = largeBuffer
	}
	if size != len(in.buf) {
		grown := make([]byte, size)
		in.have = copy(grown, rest)
		in.buf = grown
	} else {
		in.have = copy(in.buf, rest)
	}
	in.pass, in.read = 0, 0
}

// consume handles what is in the buffer, as far as it is complete.
func (s *session) consume(ctx context.Context) error {
	for {
		// While relaying, replies don't tell who is authenticated; the engine
		// has these bounds too.
		s.commands.Authenticated = s.upstream.relaying || s.authenticated.Load() && !s.upstream.reset
		step := s.atHead
		if s.body {
			step = s.inBody
		}
		o, err := step(ctx)
		if o == resp.Malformed && err == nil {
			err = s.malformed(ctx)
		}
		if err != nil {
			return err
		}
		if o == resp.More {
			return s.flush(ctx)
		}
	}
}

// atHead looks at the next command and decides its way.
func (s *session) atHead(ctx context.Context) (resp.Outcome, error) {
	h, o := s.commands.Head(s.buf[s.read:s.have])
	if o != resp.Whole {
		return o, nil
	}
	if h.Inline || h.Argc == 0 {
		line, err := s.takeOut(ctx, h.Len)
		if h.Inline && err == nil {
			err = s.inline(ctx, line)
		}
		return o, err
	}
	c := command.Lookup(h.Name, h.Sub)
	s.heed(c)
	if s.upstream.wantsArguments(c) {
		return s.atWhole(ctx, c, h)
	}
	s.body = true
	switch s.upstream.next(c, h.Argc) {
	case refuse:
		return o, s.dropInstead(ctx, h.Len, s.refusal(c))
	case bar:
		return o, s.dropInstead(ctx, h.Len, s.barring(c))
	case startRelay:
		if err := s.openRelay(ctx); err != nil {
			return o, err
		}
	case forward:
		s.plain++
	}
	s.read += h.Len
	return o, nil
}

// atWhole handles a command whose arguments matter, once all of it is there.
func (s *session) atWhole(ctx context.Context, c *command.Command, h resp.Head) (resp.Outcome, error) {
	n, o := s.commands.Body(s.buf[s.read+h.Len : s.have])
	n += h.Len
	switch {
	case o == resp.More && n < largestFrame && s.have-s.read < largestFrame:
		return o, nil // to be looked at again, from its head
	case o == resp.More:
		s.body = true
		if s.upstream.relaying {
			return resp.Whole, s.dropInstead(ctx, n, s.barring(c))
		}
		return resp.Whole, s.dropInstead(ctx, n, s.answering(c, tooLong))
	case o == resp.Malformed:
		return o, nil
	}
	frame, err := s.takeOut(ctx, n)
	if err != nil {
		return o, err
	}
	return o, s.whole(ctx, c, resp.Args(nil, frame), frame)
}

// inline handles a command that came as a line of text.
func (s *session) inline(ctx context.Context, line []byte) error {
	frame, err := resp.AppendInline(nil, line)
	if err != nil {
		return s.sayFarewell(errProtocol + err.Error())
	}
	args := resp.Args(nil, frame)
	if len(args) == 0 {
		return nil
	}
	var sub []byte
	if len(args) > 1 {
		sub = args[1]
	}
	c := command.Lookup(args[0], sub)
	s.heed(c)
	return s.whole(ctx, c, args, frame)
}

// whole handles a command that is in hand.
func (s *session) whole(ctx context.Context, c *command.Command, args [][]byte, frame []byte) error {
	if named := nameTheUser(c, args); named {
		frame = resp.AppendCommand(nil, args...)
	}
	if s.upstream.transaction && !s.upstream.relaying && (c.Name == "auth" || c.Name == "hello") {
		// Its effect depends on whether the MULTI succeeded (without
		// authentication it did not): wait until that is known.
		s.settled()
		s.upstream.transaction = s.known.transaction
	}
	if c.Name == tracking && redirects(args) {
		return s.put(ctx, s.redirecting(c))
	}
	switch s.upstream.next(c, len(args)) {
	case forward:
		return s.send(ctx, &slot{kind: plain, count: 1}, frame)
	case track:
		return s.send(ctx, &slot{kind: tracked, effect: effectOf(c, args)}, frame)
	case startRelay:
		return s.send(ctx, &slot{kind: relay}, frame)
	case answer:
		return s.put(ctx, s.answering(c, localAnswer(s.car, s.member, c, args)))
	case refuse:
		return s.put(ctx, s.refusal(c))
	case bar:
		return s.put(ctx, s.barring(c))
	case quit:
		if err := s.send(ctx, &slot{kind: plain, count: 1}, frame); err != nil {
			return err
		}
		return errQuit // what comes behind is dropped, as redis-server does
	}
	return s.send(ctx, nil, frame)
}

// inBody goes on with a command whose way is decided.
func (s *session) inBody(ctx context.Context) (resp.Outcome, error) {
	n, o := s.commands.Body(s.buf[s.read:s.have])
	s.read += n
	if o == resp.More && n >= maxShared/2 { // a large command
		s.needsLane()
	}
	if s.instead != nil {
		s.pass = s.read
	}
	if o != resp.Whole {
		return o, nil
	}
	s.body = false
	if s.instead == nil {
		return o, nil
	}
	v := *s.instead
	s.instead = nil
	return o, s.put(ctx, v)
}

// dropInstead lets the rest of a command of which n bytes were scanned
// disappear, and v have its place once it is whole.
func (s *session) dropInstead(ctx context.Context, n int, v verdict) error {
	s.instead = &v
	_, err := s.takeOut(ctx, n)
	return err
}

// takeOut takes the next n bytes out of what is passed on, after what stands
// before them has been sent.
func (s *session) takeOut(ctx context.Context, n int) ([]byte, error) {
	if err := s.flush(ctx); err != nil {
		return nil, err
	}
	b := s.buf[s.read : s.read+n]
	s.read += n
	s.pass = s.read
	return b, nil
}

// malformed ends the session with redis-server's own words, behind the replies
// that are due; unless the fault was only that a reply to AUTH or RESET is on its way.
func (s *session) malformed(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	torn := s.body && s.instead == nil && !s.upstream.relaying // has a place, and only a part of it was sent
	if torn {
		s.queue.takeBack()
	}
	if s.commands.NeedsAuth() && !s.commands.Authenticated {
		s.queue.drained()
		s.upstream.reset = false
		if s.authenticated.Load() { // scanned again, with the bounds lifted
			if torn && !s.queue.push(slot{kind: plain, count: 1}) {
				return errLaneGone
			}
			return nil
		}
	}
	return s.sayFarewell(errProtocol + s.commands.Fault())
}
