//go:build simulation

package simulation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// engine is a small Redis: what the applications of the simulation use, as redis-server
// answers it.
type engine struct {
	name  string
	w     *world
	data  [databases]map[string]string
	lists map[string][]string
	conns []*connection
	busy  time.Duration // it does nothing until then

	popped    map[string]int // elements, by list
	published map[string]int // messages that went out, by channel
	opened    int
}

const databases = 4

// big is more than a guest may leave unread of a reply and keep the shared lane.
var big = strings.Repeat("0123456789abcdef", 5<<12)

func newEngine(w *world, name string) *engine {
	e := &engine{name: name, w: w, popped: map[string]int{}, published: map[string]int{}}
	e.empty()
	return e
}

func (e *engine) empty() {
	for i := range e.data {
		e.data[i] = map[string]string{"big": big, "who": fmt.Sprintf("%s:%d", e.name, i)}
	}
	e.lists = map[string][]string{}
}

// restart ends all connections and loses all data.
func (e *engine) restart() {
	for len(e.conns) > 0 {
		e.close(e.conns[0])
	}
	e.empty()
}

// connection is a client of the engine, as it sees it.
type connection struct {
	number int
	e      *engine
	s      *eventloop.Socket
	in     []byte
	out    []byte // without bound, as for a direct connection
	rooms  *rooms // that both are in
	ended  bool

	known    bool // it has authenticated
	db       int
	protocol int
	name     string
	multi    bool
	failed   bool
	args     []string // of the command that runs
	queue    [][]string
	watched  map[string]string
	channels []string
	blocked  *blocked
	served   bool // it was, and goes on in its next turn
}

type blocked struct {
	key   string
	until time.Duration
}

func (e *engine) accept(s *eventloop.Socket) {
	e.opened++
	c := &connection{number: e.opened, e: e, s: s, protocol: 2, rooms: borrow()}
	c.in, c.out = c.rooms.in.b, c.rooms.out.b
	e.conns = append(e.conns, c)
}

func (e *engine) close(c *connection) {
	eventloop.Close(c.s.FD())
	e.conns = slices.DeleteFunc(e.conns, func(other *connection) bool { return other == c })
}

// ready says whether a connection can go on, of an engine that isn't busy.
func (c *connection) ready(now time.Duration) bool {
	if c.blocked != nil {
		return now >= c.blocked.until || c.s.Readable()
	}
	return c.served || c.s.Readable() || len(c.out) > 0 && c.s.Sends()
}

// due is when it can go on without anybody's doing.
func (c *connection) due(now time.Duration) time.Duration {
	if c.blocked == nil {
		return -1
	}
	return max(0, c.blocked.until-now, c.e.busy-now)
}

// turn reads once, does what it can, and writes.
func (c *connection) turn(now time.Duration, most int) {
	if c.blocked != nil && now >= c.blocked.until {
		c.blocked = nil
		c.null()
		c.served = true
	}
	if c.served {
		c.served = false
		c.run()
	}
	buf := c.e.w.buf[:most]
	n, err := eventloop.Read(c.s.FD(), buf)
	switch {
	case n > 0:
		c.in = append(c.in, buf[:n]...)
		if c.blocked == nil {
			c.run()
		}
	case err != nil && err != eventloop.ErrAgain:
		c.e.close(c)
		return
	}
	c.write()
	if c.ended && len(c.out) == 0 {
		c.e.close(c)
	}
}

func (c *connection) write() {
	if len(c.out) == 0 {
		return
	}
	n, err := eventloop.Write(c.s.FD(), c.out)
	if err != nil {
		c.out = nil
		return
	}
	c.out = c.rooms.out.behind(c.out, n)
}

// run does the commands that are there.
func (c *connection) run() {
	used := 0
	defer func() { c.in = c.rooms.in.behind(c.in, used) }()
	for c.blocked == nil && !c.ended && used < len(c.in) {
		r, n := parse(c.in[used:])
		if n == 0 {
			return
		}
		if n < 0 || r.kind != '*' {
			c.e.w.fail("the engine reads %.60q", c.in[used:])
			return
		}
		used += n
		args := c.args[:0]
		for _, item := range r.items {
			args = append(args, item.text)
		}
		c.args = args
		c.e.w.note("engine", c.number, len(args[0]), n)
		c.command(args)
	}
}

func (c *connection) say(line string) { c.out = append(append(c.out, line...), "\r\n"...) }

func (c *connection) sayf(format string, a ...any) { c.say(fmt.Sprintf(format, a...)) }

func (c *connection) sayNumber(kind byte, n int) {
	c.out = append(strconv.AppendInt(append(c.out, kind), int64(n), 10), "\r\n"...)
}

func (c *connection) null() {
	switch {
	case c.protocol == 3:
		c.say("_")
	default:
		c.say("*-1")
	}
}

func (c *connection) nullBulk() {
	if c.protocol == 3 {
		c.say("_")
	} else {
		c.say("$-1")
	}
}

// arity is of commands that may be queued: a wrong one fails a transaction.
var arity = map[string]int{"PING": -1, "ECHO": 2, "GET": 2, "SET": 3, "INCR": 2, "SELECT": 2, "LPUSH": 3, "RPUSH": 3, "LLEN": 2, "PUBLISH": 3, "BLPOP": 3, "CLIENT": -2}

func (c *connection) command(args []string) {
	name := strings.ToUpper(args[0])
	if c.e.w.trace != nil {
		c.e.w.tell("  engine %s, connection %d db %d: %.60q", c.e.name, c.number, c.db, args)
	}
	switch {
	case name == "HELLO" || name == "AUTH":
		c.authenticate(name, args)
		return
	case !c.known:
		c.say("-NOAUTH Authentication required.")
		return
	case c.multi && name != "EXEC" && name != "DISCARD" && name != "MULTI" && name != "WATCH" && name != "QUIT" && name != "RESET":
		want, ok := arity[name]
		if !ok || want > 0 && len(args) != want {
			c.failed = true
			c.sayf("-ERR wrong number of arguments for '%s' command", strings.ToLower(name))
			return
		}
		c.queue = append(c.queue, slices.Clone(args))
		c.say("+QUEUED")
		return
	}
	c.do(name, args)
}

func (c *connection) authenticate(name string, args []string) {
	password := args[len(args)-1]
	if name == "HELLO" && len(args) < 5 || name == "HELLO" && !strings.EqualFold(args[2], "AUTH") {
		c.e.w.fail("the engine is asked %q", args)
		return
	}
	if name == "HELLO" {
		password = args[4]
	}
	if !slices.Contains(passwords, password) {
		c.say("-WRONGPASS invalid username-password pair or user is disabled.")
		return
	}
	c.known = true
	if name == "AUTH" {
		c.say("+OK")
		return
	}
	if c.protocol = 2; args[1] == "3" {
		c.protocol = 3
		c.say("%2")
	} else {
		c.say("*4")
	}
	c.out = bulk(c.out, "server")
	c.out = bulk(c.out, "redis")
	c.out = bulk(c.out, "id")
	c.sayNumber(':', c.number)
}

// do runs a command.
func (c *connection) do(name string, args []string) {
	data := c.e.data[c.db]
	switch name {
	case "PING":
		switch {
		case len(c.channels) > 0 && c.protocol == 2:
			c.out = append(c.out, "*2\r\n$4\r\npong\r\n$0\r\n\r\n"...)
		default:
			c.say("+PONG")
		}
	case "ECHO":
		if len(args) != 2 {
			c.say("-ERR wrong number of arguments for 'echo' command")
			return
		}
		c.out = bulk(c.out, args[1])
	case "GET":
		if v, ok := data[args[1]]; ok {
			c.out = bulk(c.out, v)
		} else {
			c.nullBulk()
		}
	case "SET":
		data[args[1]] = args[2]
		c.say("+OK")
	case "INCR":
		n, _ := strconv.Atoi(data[args[1]])
		data[args[1]] = strconv.Itoa(n + 1)
		c.sayNumber(':', n+1)
	case "SELECT":
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 0 || n >= databases {
			c.say("-ERR DB index is out of range")
			return
		}
		c.db = n
		c.say("+OK")
	case "LPUSH", "RPUSH":
		c.push(args)
	case "LLEN":
		c.sayNumber(':', len(c.e.lists[args[1]]))
	case "BLPOP":
		c.pop(args)
	case "PUBLISH":
		c.sayNumber(':', c.e.publish(args[1], args[2]))
	case "CLIENT":
		c.client(args)
	default:
		c.manage(name, args)
	}
}

// manage is what has to do with the connection itself.
func (c *connection) manage(name string, args []string) {
	switch name {
	case "MULTI":
		if c.multi {
			c.say("-ERR MULTI calls can not be nested")
			return
		}
		c.multi, c.failed, c.queue = true, false, nil
		c.say("+OK")
	case "EXEC":
		c.exec()
	case "DISCARD":
		if !c.multi {
			c.say("-ERR DISCARD without MULTI")
			return
		}
		c.multi, c.watched = false, nil
		c.say("+OK")
	case "WATCH":
		if c.watched == nil {
			c.watched = map[string]string{}
		}
		c.watched[args[1]] = c.e.data[c.db][args[1]]
		c.say("+OK")
	case "UNWATCH":
		c.watched = nil
		c.say("+OK")
	case "SUBSCRIBE":
		for _, channel := range args[1:] {
			if !slices.Contains(c.channels, channel) {
				c.channels = append(c.channels, channel)
			}
			c.sayNumber(c.push3(), 3)
			c.out = bulk(bulk(c.out, "subscribe"), channel)
			c.sayNumber(':', len(c.channels))
		}
	case "INFO":
		c.out = bulk(c.out, "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n")
	case "QUIT":
		c.say("+OK")
		c.ended = true
	default:
		c.sayf("-ERR unknown command '%s', with args beginning with: ", args[0])
	}
}

func (c *connection) push3() byte {
	if c.protocol == 3 {
		return '>'
	}
	return '*'
}

func (c *connection) exec() {
	if !c.multi {
		c.say("-ERR EXEC without MULTI")
		return
	}
	changed := false
	for key, was := range c.watched {
		changed = changed || c.e.data[c.db][key] != was
	}
	queue := c.queue
	c.multi, c.queue, c.watched = false, nil, nil
	switch {
	case c.failed:
		c.say("-EXECABORT Transaction discarded because of previous errors.")
	case changed:
		c.null()
	default:
		c.sayNumber('*', len(queue))
		for _, args := range queue {
			c.do(strings.ToUpper(args[0]), args)
		}
	}
}

func (c *connection) client(args []string) {
	switch strings.ToUpper(args[1]) {
	case "SETNAME":
		c.name = args[2]
		c.say("+OK")
	case "GETNAME":
		if c.name == "" {
			c.nullBulk()
		} else {
			c.out = bulk(c.out, c.name)
		}
	case "ID":
		c.sayNumber(':', c.number)
	default:
		c.sayf("-ERR unknown subcommand '%s'. Try CLIENT HELP.", args[1])
	}
}

func (c *connection) push(args []string) {
	e := c.e
	e.lists[args[1]] = append(e.lists[args[1]], args[2])
	c.sayNumber(':', len(e.lists[args[1]]))
	for _, other := range e.conns {
		if other.blocked != nil && other.blocked.key == args[1] {
			other.blocked, other.served = nil, true
			other.give(args[1])
			break // its next commands run in its own turn
		}
	}
}

func (c *connection) pop(args []string) {
	if len(c.e.lists[args[1]]) > 0 {
		c.give(args[1])
		return
	}
	seconds, _ := strconv.ParseFloat(args[2], 64)
	c.blocked = &blocked{args[1], now() + time.Duration(seconds*float64(time.Second))}
}

func (c *connection) give(key string) {
	list := c.e.lists[key]
	c.e.lists[key] = list[1:]
	c.e.popped[key]++
	c.say("*2")
	c.out = bulk(bulk(c.out, key), list[0])
}

func (e *engine) publish(channel, message string) (n int) {
	for _, c := range e.conns {
		if slices.Contains(c.channels, channel) {
			c.sayNumber(c.push3(), 3)
			c.out = bulk(bulk(bulk(c.out, "message"), channel), message)
			n++
		}
	}
	e.published[channel] += n
	return n
}
