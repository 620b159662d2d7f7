//go:build slow && linux

package scale_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// A ledger is what one worker knows of its own keys, which nobody else writes.
// Each value says whose it is and which, so that one that belongs elsewhere is
// known at once.
type ledger map[string]*entry

type entry struct {
	sure  int   // this one was stored: an older one must not be seen again
	last  int   // this one was sent: a younger one can't be seen
	since int64 // the place's age when the sure one was sent; the cache is empty after a restart
}

func (l ledger) of(key string) *entry {
	if l[key] == nil {
		l[key] = &entry{}
	}
	return l[key]
}

// filler is what values are full of; made when it is asked for, since the
// product's processes are this binary too.
var filler = sync.OnceValue(func() string {
	var b strings.Builder
	for i := 0; b.Len() < 9<<20; i++ {
		b.WriteString(strconv.Itoa(i))
	}
	return b.String()
})

// content is the n-th value of a key; the filler begins elsewhere for each.
func content(key string, n, size int) string {
	head := fmt.Sprintf("%s|%d|%d|", key, n, size)
	return head + filler()[n%9973:][:size]
}

// check says which value of a key a reply is, byte for byte.
func check(key, got string) (n int, err error) {
	fields := strings.SplitN(got, "|", 4)
	if len(fields) < 4 {
		return 0, wrong(fmt.Sprintf("the value of %s is not one of ours: %.100q", key, got))
	}
	if fields[0] != key {
		return 0, wrong(fmt.Sprintf("the value of %s was given for %s", fields[0], key))
	}
	n, _ = strconv.Atoi(fields[1])
	size, _ := strconv.Atoi(fields[2])
	if size < 0 || size > 8<<20 || got != content(key, n, size) {
		return 0, wrong(fmt.Sprintf("the value of %s is damaged", key))
	}
	return n, nil
}

// op is a command of a ledger that is under way.
type op struct {
	key    string
	set    bool
	n      int // of set: which; of get: the youngest that had been sent
	age    int64
	encode []string
}

func (l ledger) set(p *place, key string, size int) op {
	e := l.of(key)
	e.last++
	return op{key: key, set: true, n: e.last, age: p.age.Load(), encode: []string{"SET", key, content(key, e.last, size)}}
}

func (l ledger) get(p *place, key string) op {
	return op{key: key, n: l.of(key).last, encode: []string{"GET", key}}
}

// settle compares an op's reply with what may be, and learns from it.
func (l ledger) settle(p *place, o op, got any, err error) error {
	e := l.of(o.key)
	if err != nil {
		return err
	}
	if o.set {
		if got != "OK" {
			return wrong(fmt.Sprintf("SET %s: %.100q", o.key, fmt.Sprint(got)))
		}
		e.sure, e.since = o.n, o.age
		return nil
	}
	text, isText := got.(string)
	switch {
	case got == nil && (e.sure == 0 || p.age.Load() != e.since):
		e.sure = 0
		return nil
	case got == nil:
		return wrong(fmt.Sprintf("%s is gone, and the cache was never restarted", o.key))
	case !isText:
		return wrong(fmt.Sprintf("GET %s: %.100q", o.key, fmt.Sprint(got)))
	}
	n, err := check(o.key, text)
	if err == nil && (n < e.sure || n > o.n) {
		err = wrong(fmt.Sprintf("%s has value %d, of %d to %d that it may have", o.key, n, e.sure, o.n))
	}
	return err
}
