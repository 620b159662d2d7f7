//go:build simulation

package simulation

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// app is an application's connection: a program of commands, a way of writing and
// reading, and a model of what the answers must be. Its keys are its own, and each value
// tells whose it is, which one, and in which database.
type app struct {
	w      *world
	id     int
	s      *eventloop.Socket
	begins int // the step

	program []*op
	out     []byte // encoded, not yet taken
	due     []*op  // sent, in order
	in      []byte
	rooms   *rooms // that both are in

	window    int           // so many commands may be due
	silent    bool          // it reads nothing before all is written
	readSize  int           // at once
	readPause time.Duration // in between
	writeSize int
	finish    finish
	abortAt   int // so many commands before its end

	mayRead  time.Duration
	maySend  time.Duration
	since    time.Duration // it last got on
	halfShut bool
	listens  bool // subscribed: messages come
	done     bool
	m        model
}

// finish is how an application ends.
type finish int

const (
	closes finish = iota
	halfCloses
	quits
	aborts // without waiting for its replies
	finishes
)

// model is what an application knows of itself by the replies so far.
type model struct {
	known    bool
	db       int
	name     string
	multi    bool
	queue    []*op
	cache    string // that it has seen
	values   map[string]*value
	counts   map[string]*count
	heard    map[string]int // the last message, by publisher
	messages int
}

// value is what a key may hold.
type value struct {
	last  string // "": none
	maybe []string
}

// count is how often a key was increased.
type count struct{ sure, maybe int }

// op is a command and what is asked of its reply.
type op struct {
	kind  string
	words []string
	text  string // what is written or expected
	n     int
	pause time.Duration // before it
	// unread is how long nothing is read behind it.
	unread time.Duration
}

func (m *model) at(key string) string { return strconv.Itoa(m.db) + "/" + key }

func (m *model) value(key string) *value {
	v := m.values[m.at(key)]
	if v == nil {
		v = &value{}
		m.values[m.at(key)] = v
	}
	return v
}

func (m *model) count(key string) *count {
	c := m.counts[m.at(key)]
	if c == nil {
		c = &count{}
		m.counts[m.at(key)] = c
	}
	return c
}

// wantsToRead says whether it may read now.
func (a *app) wantsToRead(now time.Duration) bool {
	return a.s.Readable() && now >= a.mayRead && !(a.silent && a.m.known && (len(a.out) > 0 || len(a.program) > 0))
}

func (a *app) wantsToWrite(now time.Duration) bool {
	return a.s.Sends() && (len(a.out) > 0 || a.sends(now))
}

// sends says whether the next command may be sent.
func (a *app) sends(now time.Duration) bool {
	return len(a.program) > 0 && len(a.due) < a.mostDue() && now >= a.nextAt()
}

// mostDue is how many commands may be due: who reads nothing logs in before.
func (a *app) mostDue() int {
	if a.silent && !a.m.known {
		return 1
	}
	return a.window
}

func (a *app) nextAt() time.Duration { return a.maySend + a.program[0].pause }

// ends says whether it has nothing more to do but to end.
func (a *app) ends(now time.Duration) bool {
	if len(a.program) > 0 || len(a.out) > 0 || a.halfShut {
		return len(a.program) <= a.abortAt && a.finish == aborts && !a.halfShut && now >= a.mayRead
	}
	return a.finish == halfCloses || len(a.due) == 0 && (!a.listens || a.heardAll())
}

// heardAll says whether nobody will publish anything that it hasn't got.
func (a *app) heardAll() bool {
	return a.w.onlyListeners() && (a.w.struck || a.m.messages == a.w.published(a))
}

func (a *app) ready(now time.Duration) bool {
	return !a.done && (a.wantsToRead(now) || a.wantsToWrite(now) || a.ends(now))
}

// wakes is when it goes on by itself.
func (a *app) wakes(now time.Duration) time.Duration {
	least := time.Duration(-1)
	consider := func(at time.Duration) {
		if d := at - now; d > 0 && (least < 0 || d < least) {
			least = d
		}
	}
	if a.done {
		return least
	}
	if a.s.Readable() || a.finish == aborts {
		consider(a.mayRead)
	}
	if len(a.program) > 0 && len(a.due) < a.mostDue() {
		consider(a.nextAt())
	}
	return least
}

func (a *app) turn(now time.Duration) {
	reads, writes := a.wantsToRead(now), a.wantsToWrite(now)
	switch {
	case a.finish == aborts && len(a.due) > 0 && a.ends(now) && a.w.chance(8):
		a.end()
	case reads && (!writes || a.w.chance(2)):
		a.read(now)
	case writes:
		a.write(now)
	case a.ends(now):
		a.end()
	}
}

func (a *app) write(now time.Duration) {
	for len(a.out) < a.writeSize && a.sends(now) {
		o := a.program[0]
		a.program = a.program[1:]
		a.due = append(a.due, o)
		a.out = encode(a.out, o.words...)
		if a.w.trace != nil {
			a.w.tell("  application %d asks %.60q", a.id, o.words)
		}
		a.maySend, a.mayRead = now, max(a.mayRead, now+o.unread)
	}
	n, err := eventloop.Write(a.s.FD(), a.out[:min(len(a.out), a.writeSize)])
	a.w.note("app writes", a.id, n, len(a.due))
	if err != nil { // the read tells why
		a.out, a.program, a.silent = nil, nil, false
		return
	}
	a.out = a.rooms.out.behind(a.out, n)
	a.since, a.maySend = now, now
}

func (a *app) read(now time.Duration) {
	n, err := eventloop.Read(a.s.FD(), a.w.buf[:a.readSize])
	a.w.note("app reads", a.id, n, len(a.due))
	a.since, a.mayRead = now, now+a.readPause
	if err != nil {
		a.over(err)
		return
	}
	if len(a.in)+n > cap(a.in) {
		a.in = slices.Grow(a.in, 2*len(a.in)+n)
	}
	a.in = append(a.in, a.w.buf[:n]...)
	used := 0
	for used < len(a.in) && a.w.failure == "" {
		r, n := parse(a.in[used:])
		if n < 0 {
			a.wrong("it reads %.80q", a.in[used:])
		}
		if n <= 0 {
			break
		}
		used += n
		a.take(r)
	}
	a.in = a.rooms.in.behind(a.in, used)
}

func (a *app) wrong(format string, args ...any) {
	a.w.fail("application %d: %s", a.id, fmt.Sprintf(format, args...))
}

// take has a reply looked at.
func (a *app) take(r reply) {
	if len(r.items) == 3 && r.items[0].text == "message" && (r.kind == '*' || r.kind == '>') {
		a.message(r)
		return
	}
	if len(a.due) == 0 {
		switch {
		case a.w.struck && (r.fails("LOADING redoubt") || r.fails("ERR redoubt: connection to the cache was lost")): // a last word
		default:
			a.wrong("a reply that nothing asked for: %v", r)
		}
		return
	}
	o := a.due[0]
	a.due = a.due[1:]
	if a.w.trace != nil {
		a.w.tell("  application %d: %.60q -> %v", a.id, o.words, r)
	}
	if complaint := a.m.judge(a.w, o, r); complaint != "" {
		a.wrong("%.100q is answered %v: %s", o.words, r, complaint)
	}
	if (o.kind == "auth" || o.kind == "hello") && !a.m.known && len(a.program) > 0 {
		again := *o
		again.pause = 300 * time.Millisecond
		a.program = append([]*op{&again}, a.program...)
	}
	if o.kind == "subscribe" && len(r.items) == 3 {
		a.listens = true
	}
}

func (a *app) message(r reply) {
	if !a.listens || r.items[1].text != channelOf(a.id) {
		a.wrong("a message for somebody else: %v", r)
		return
	}
	from, number, _ := strings.Cut(r.items[2].text, ".")
	n, err := strconv.Atoi(number)
	if err != nil || n <= a.m.heard[from] {
		a.wrong("message %v behind %d", r, a.m.heard[from])
	}
	a.m.heard[from] = n
	a.m.messages++
}

func channelOf(id int) string { return "ch" + strconv.Itoa(id) }
func queueOf(id int) string   { return "q" + strconv.Itoa(id) }

// over takes the end of the connection.
func (a *app) over(err error) {
	a.w.note("app over", a.id, len(a.due), len(a.program))
	expected := a.w.struck || a.halfShut || len(a.due) == 0 && len(a.program) == 0 && a.finish == quits
	if !expected {
		a.wrong("it was ended (%v) with %d replies due and %d commands to come", err, len(a.due), len(a.program))
	}
	if err != io.EOF && !a.w.struck && !a.halfShut {
		a.wrong("it was ended by %v", err)
	}
	a.leave()
}

// end ends the connection.
func (a *app) end() {
	a.w.note("app ends", a.id, int(a.finish), len(a.due))
	switch {
	case a.finish == halfCloses:
		a.halfShut, a.silent = true, false
		eventloop.CloseWrite(a.s.FD())
	case a.finish == quits && len(a.due) == 0 && len(a.program) == 0 && !a.halfShut:
		a.halfShut = true // its QUIT was answered: it reads to the end
	default:
		a.leave()
	}
}

func (a *app) leave() {
	a.done = true
	eventloop.Close(a.s.FD())
}

// judge says what is wrong with a reply, and learns from it.
func (m *model) judge(w *world, o *op, r reply) string {
	switch {
	case r.fails("LOADING redoubt"):
		return excused(w)
	case r.fails("ERR redoubt: connection to the cache was lost"):
		for _, queued := range m.queue {
			m.maybe(queued)
		}
		m.multi, m.queue = m.multi && o.kind != "exec", nil
		m.maybe(o)
		return excused(w)
	case (r.fails("NOAUTH") || r.fails("EXECABORT") && o.kind == "exec" || r.fails("ERR Protocol error: unauthenticated")) && !m.known && o.kind != "auth" && o.kind != "hello":
		return ""
	case !m.known && !slices.Contains([]string{"auth", "hello", "wrong", "quit", "unknown"}, o.kind):
		return "it has not authenticated"
	case r.is("QUEUED") && m.multi && o.kind != "exec":
		m.queue = append(m.queue, o)
		return ""
	case r.fails("ERR EXEC without MULTI") && o.kind == "exec" && !m.multi:
		return excused(w)
	case m.multi && o.kind != "exec" && o.kind != "quit":
		return "it is no QUEUED"
	}
	return m.check(w, o, r)
}

// excused complains of a failure without a fault.
func excused(w *world) string {
	if w.struck {
		return ""
	}
	return "nothing has failed"
}

// maybe notes a command that may have run, or may run yet.
func (m *model) maybe(o *op) {
	switch o.kind {
	case "set":
		v := m.value(o.words[1])
		v.maybe = append(v.maybe, o.text)
	case "incr":
		m.count(o.words[1]).maybe++
	}
}

func (m *model) check(w *world, o *op, r reply) string {
	ok := true
	switch o.kind {
	case "ping":
		ok = r.is("PONG")
	case "echo":
		ok = r.kind == '$' && r.text == o.text
	case "set":
		ok = r.is("OK")
		m.value(o.words[1]).last = o.text
	case "get":
		v := m.value(o.words[1])
		switch {
		case r.null:
			ok = v.last == "" || w.lost
		default:
			ok = r.text == v.last || slices.Contains(v.maybe, r.text)
		}
		if !ok {
			return fmt.Sprintf("expected %.60q", v.last)
		}
	case "incr":
		c := m.count(o.words[1])
		n, err := strconv.Atoi(r.text)
		least, most := c.sure+1, c.sure+c.maybe+1
		if w.lost {
			least = 1
		}
		if c.sure++; err != nil || r.kind != ':' || n < least || n > most {
			return fmt.Sprintf("expected %d to %d", least, most)
		}
	case "big":
		ok = r.text == big
	case "who":
		cache, db, _ := strings.Cut(r.text, ":")
		if m.cache == "" {
			m.cache = cache
		}
		if cache != m.cache || db != strconv.Itoa(m.db) {
			return fmt.Sprintf("expected cache %s, database %d", m.cache, m.db)
		}
	case "select":
		if ok = r.is("OK"); ok {
			m.db = o.n
		}
	case "setname":
		ok = r.is("OK")
		m.name = o.text
	case "getname":
		ok = r.null && m.name == "" || r.text == m.name
	default:
		return m.checkMore(w, o, r)
	}
	if !ok {
		return "that is wrong"
	}
	return ""
}

func (m *model) checkMore(w *world, o *op, r reply) string {
	ok := true
	switch o.kind {
	case "auth":
		ok = r.is("OK")
		m.known = m.known || ok
	case "hello":
		ok = r.kind == '*' || r.kind == '%'
		m.known = m.known || ok
	case "wrong":
		ok = r.fails("WRONGPASS")
	case "multi":
		ok = r.is("OK")
		m.multi, m.queue = ok, nil
	case "exec":
		return m.exec(w, r)
	case "ok": // WATCH and the like
		ok = r.is("OK")
	case "number":
		ok = r.kind == ':'
	case "unknown":
		ok = r.fails("ERR unknown command")
	case "list": // behind a command that nobody knows the engine is asked
		ok = (r.kind == '$' || r.kind == '=') && strings.Contains(r.text, "id=") || r.fails("ERR unknown subcommand")
	case "subscribe":
		ok = len(r.items) == 3 && r.items[0].text == "subscribe"
	case "quit":
		ok = r.is("OK")
	case "blpop":
		return w.popped(o, r)
	default:
		panic(o.kind)
	}
	if !ok {
		return "that is wrong"
	}
	return ""
}

func (m *model) exec(w *world, r reply) string {
	queue := m.queue
	m.multi, m.queue = false, nil
	switch {
	case r.null: // what it watched is its own, and only a restart changes it
		if w.lost {
			return ""
		}
		return "nobody changes its keys"
	case r.kind != '*' || len(r.items) != len(queue):
		return fmt.Sprintf("%d commands were queued", len(queue))
	}
	for i, o := range queue {
		if complaint := m.check(w, o, r.items[i]); complaint != "" {
			return fmt.Sprintf("%.60q in it: %s", o.words, complaint)
		}
	}
	return ""
}
