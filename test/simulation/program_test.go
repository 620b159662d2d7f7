//go:build simulation

package simulation

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What applications do, by chance.

// passwords are good, and two applications with different ones share no lane.
var passwords = []string{"pw-of-the-ward", "pw-of-the-lab"}

// writer makes a program.
type writer struct {
	w       *world
	a       *app
	ops     []*op
	pause   time.Duration // before the next command
	written int
	sizes   []int
}

func (p *writer) add(o *op) {
	o.pause = p.pause
	p.pause = 0
	p.ops = append(p.ops, o)
}

// key is one of the application's own.
func (p *writer) key(kind string) string {
	return kind + strconv.Itoa(p.a.id) + "." + strconv.Itoa(p.w.rng.IntN(3))
}

// fresh is text that nobody else writes.
func (p *writer) fresh() string {
	p.written++
	text := "<" + strconv.Itoa(p.a.id) + "." + strconv.Itoa(p.written) + ">"
	if n := p.sizes[p.w.rng.IntN(len(p.sizes))]; n > len(text) {
		text += strings.Repeat(string(rune('a'+p.a.id%26)), n-len(text))
	}
	return text
}

// simple is a command that needs nothing but a lane.
func (p *writer) simple() {
	switch p.w.rng.IntN(10) {
	case 0:
		p.add(&op{kind: "ping", words: []string{"PING"}})
	case 1:
		text := p.fresh()
		p.add(&op{kind: "echo", words: []string{"ECHO", text}, text: text})
	case 2, 3:
		text := p.fresh()
		p.add(&op{kind: "set", words: []string{"SET", p.key("v"), text}, text: text})
	case 4, 5:
		p.add(&op{kind: "get", words: []string{"GET", p.key("v")}})
	case 6, 7:
		p.add(&op{kind: "incr", words: []string{"INCR", p.key("n")}})
	default:
		p.who()
	}
}

func (p *writer) who() { p.add(&op{kind: "who", words: []string{"GET", "who"}}) }

func (p *writer) selectDB() {
	n := p.w.rng.IntN(databases)
	p.add(&op{kind: "select", words: []string{"SELECT", strconv.Itoa(n)}, n: n})
}

func (p *writer) multi() {
	if p.w.chance(3) {
		p.add(&op{kind: "ok", words: []string{"WATCH", p.key("v")}})
	}
	p.add(&op{kind: "multi", words: []string{"MULTI"}})
	for range 1 + p.w.rng.IntN(4) {
		if p.w.chance(5) {
			p.selectDB()
		}
		if p.w.chance(12) {
			p.rest()
		}
		p.simple()
	}
	p.add(&op{kind: "exec", words: []string{"EXEC"}})
	p.who()
}

// other is another application.
func (p *writer) other() int { return p.w.rng.IntN(p.w.crowd) }

func (p *writer) queue() {
	if p.w.chance(2) {
		to := p.other()
		p.written++
		p.add(&op{kind: "number", words: []string{"RPUSH", queueOf(to), fmt.Sprintf("e%d.%d", p.a.id, p.written)}})
		return
	}
	p.add(&op{kind: "blpop", words: []string{"BLPOP", queueOf(p.a.id), []string{"0.01", "0.3", "2.5"}[p.w.rng.IntN(3)]}})
}

func (p *writer) publish() {
	p.written++
	p.add(&op{kind: "number", words: []string{"PUBLISH", channelOf(p.other()), fmt.Sprintf("%d.%d", p.a.id, p.written)}})
}

func (p *writer) rest() {
	pauses := []time.Duration{time.Millisecond, 50 * time.Millisecond, time.Second, 9 * time.Second, 11 * time.Second, 21 * time.Second}
	p.pause = pauses[p.w.rng.IntN(len(pauses))]
	if p.w.chance(30) {
		p.pause = 61 * time.Minute // the keys are worn
	}
}

func (p *writer) login() {
	password := passwords[p.w.rng.IntN(1+p.w.rng.IntN(2))]
	if p.w.chance(8) {
		p.add(&op{kind: "ping", words: []string{"PING"}})
	}
	for p.w.chance(6) {
		p.add(&op{kind: "wrong", words: []string{"AUTH", "wrong" + strconv.Itoa(p.w.rng.IntN(3))}})
	}
	if p.w.chance(3) {
		p.add(&op{kind: "hello", words: []string{"HELLO", []string{"2", "3"}[p.w.rng.IntN(2)], "AUTH", "default", password}})
	} else {
		p.add(&op{kind: "auth", words: []string{"AUTH", password}})
	}
}

// program writes one, in the manner that is drawn first.
func (w *world) program(a *app) {
	p := &writer{w: w, a: a, sizes: []int{0, 10, 100}}
	p.login()
	n := 3 + w.rng.IntN(20)
	private := w.rng.IntN(3) * w.rng.IntN(4) // how often it needs more than a shared lane
	rests := w.chance(2)
	switch w.rng.IntN(12) {
	case 0:
		p.sizes = append(p.sizes, 3000, 20000)
	case 1: // all at once, and read later
		p.sizes = []int{1000, 4000}
		n, private, a.silent, a.window = 30+w.rng.IntN(60), 0, true, 1<<30
		if w.chance(6) {
			p.sizes, n = []int{15000, 30000}, 60+w.rng.IntN(60)
		}
		rests = false
	case 2:
		if w.chance(3) {
			p.sizes = append(p.sizes, 70<<10, 300<<10)
		} else if w.chance(2) {
			p.big()
		}
	}
	for range n {
		if rests && w.chance(6) {
			p.rest()
		}
		switch k := w.rng.IntN(30); {
		case k < private:
			p.special()
		case k < 27:
			p.simple()
		case k == 27:
			p.selectDB()
		case k == 28:
			p.publish()
		default:
			p.name()
		}
	}
	switch {
	case a.silent:
		a.window = 1 << 30
	case w.chance(8):
		p.add(&op{kind: "subscribe", words: []string{"SUBSCRIBE", channelOf(a.id)}})
		a.finish = closes
	}
	if a.finish == quits {
		p.add(&op{kind: "quit", words: []string{"QUIT"}})
	}
	a.program = p.ops
}

// big is more than is kept for who has a shared lane alone, and may not be read for a
// while, or not to its end.
func (p *writer) big() {
	o := &op{kind: "big", words: []string{"GET", "big"}, text: big}
	if p.w.chance(2) {
		o.unread = []time.Duration{time.Millisecond, 50 * time.Millisecond, time.Second, 9 * time.Second}[p.w.rng.IntN(4)]
		if p.w.chance(2) {
			p.a.finish, p.a.abortAt = aborts, 1000
		}
	}
	p.add(o)
}

func (p *writer) special() {
	switch p.w.rng.IntN(6) {
	case 0, 1:
		p.multi()
	case 2, 3, 4:
		p.queue()
	default:
		if p.w.chance(3) {
			p.add(&op{kind: "unknown", words: []string{"NOSUCH", "x"}})
			return
		}
		p.add(&op{kind: "ok", words: []string{"WATCH", p.key("v")}})
		p.add(&op{kind: "ok", words: []string{"UNWATCH"}})
	}
}

func (p *writer) name() {
	if p.w.chance(4) {
		p.add(&op{kind: "list", words: []string{"CLIENT", "LIST"}})
		return
	}
	if p.w.chance(2) {
		p.add(&op{kind: "getname", words: []string{"CLIENT", "GETNAME"}})
		return
	}
	p.written++
	text := fmt.Sprintf("n%d.%d", p.a.id, p.written)
	p.add(&op{kind: "setname", words: []string{"CLIENT", "SETNAME", text}, text: text})
}

// application makes one that begins at some step.
func (w *world) application(id int) *app {
	a := &app{w: w, id: id, begins: w.rng.IntN(60) * w.rng.IntN(5), rooms: borrow()}
	a.in, a.out = a.rooms.in.b, a.rooms.out.b
	a.m = model{values: map[string]*value{}, counts: map[string]*count{}, heard: map[string]int{}}
	a.window = []int{1, 1, 3, 10, 1 << 30}[w.rng.IntN(5)]
	a.readSize = []int{7, 500, 16 << 10, 16 << 10}[w.rng.IntN(4)]
	a.writeSize = []int{11, 500, 16 << 10, 16 << 10}[w.rng.IntN(4)]
	if w.chance(4) {
		a.readPause = time.Duration(w.rng.IntN(20)) * time.Millisecond
	}
	a.finish = finish(w.rng.IntN(int(finishes)))
	if a.finish == aborts {
		a.abortAt = w.rng.IntN(20)
	}
	w.program(a)
	for _, o := range a.program {
		if len(o.text) > 2000 {
			a.readSize, a.writeSize, a.readPause = max(a.readSize, 8<<10), max(a.writeSize, 8<<10), min(a.readPause, time.Millisecond)
		}
	}
	return a
}
