//go:build slow && linux

package scale_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redoubt-cache/redoubt/test/lab"
)

// worker is one of many applications. What it does again and again is a job.
type worker struct {
	name  string
	place *place
	rand  *rand.Rand
	book  ledger
	app   *app // kept from job to job; nil: to be opened
	turn  int
}

// A job returns nil when every reply was right.
type job func(*worker) error

// jobs are the kinds of use, with how many of each work at a time.
var jobs = []struct {
	name    string
	workers int
	do      job
}{
	{"churn", 4, churn}, {"pipeline", 2, pipeline}, {"transaction", 2, transaction}, {"blocking", 2, blocking},
	{"pubsub", 2, pubsub}, {"sizes", 2, sizes}, {"slow", 2, slowReader}, {"state", 2, state},
}

// fresh opens a connection and authenticates.
func (w *worker) fresh() (*app, error) {
	a, err := connect(w.place.sidecar.address, w.rand.IntN(200))
	if err != nil {
		return nil, err
	}
	if err := a.want("OK", "AUTH", w.place.site.Password); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// kept returns the worker's connection, which it keeps for some jobs.
func (w *worker) kept() (*app, error) {
	if w.app != nil && w.rand.IntN(200) == 0 {
		w.leave()
	}
	if w.app != nil {
		return w.app, nil
	}
	a, err := w.fresh()
	w.app = a
	return a, err
}

// leave closes what is kept, in one of the ways in which applications do.
func (w *worker) leave() {
	if w.app == nil {
		return
	}
	if w.rand.IntN(2) == 0 {
		w.app.reset()
	} else {
		w.app.close()
	}
	w.app = nil
}

func (w *worker) key(of int) string { return fmt.Sprintf("%s:%d", w.name, w.rand.IntN(of)) }

// size is mostly small, up to 2^most.
func (w *worker) size(most int) int {
	return w.rand.IntN(1 << w.rand.IntN(most+1))
}

// run does one op on a connection.
func (w *worker) run(a *app, o op) error {
	got, err := a.do(o.encode...)
	return w.book.settle(w.place, o, got, err)
}

// churn is an application that connects for each request, and leaves in every
// way that there is.
func churn(w *worker) error {
	a, err := w.fresh()
	if err != nil {
		return err
	}
	defer a.close()
	key := w.key(4)
	for _, o := range []op{w.book.set(w.place, key, w.size(12)), w.book.get(w.place, key)} {
		if err := w.run(a, o); err != nil {
			return err
		}
	}
	switch w.rand.IntN(5) {
	case 0:
		if err := a.want("OK", "QUIT"); err != nil {
			return err
		}
		if _, err := a.in.ReadByte(); err != io.EOF {
			return wrong(fmt.Sprintf("after QUIT: %v", err))
		}
	case 1:
		a.reset()
	case 2: // in the middle of a command
		return a.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf")
	case 3: // without reading
		return a.send(lab.Encode("GET", key), lab.Encode("GET", key))
	}
	return nil
}

// pipeline sends many commands at once.
func pipeline(w *worker) error {
	a, err := w.kept()
	if err != nil {
		return err
	}
	var ops []op
	var commands []string
	for range 1 + w.rand.IntN(100) {
		o := w.book.get(w.place, w.key(16))
		if w.rand.IntN(2) == 0 {
			o = w.book.set(w.place, o.key, w.size(10))
		}
		ops, commands = append(ops, o), append(commands, lab.Encode(o.encode...))
	}
	if err := a.send(commands...); err != nil {
		return err
	}
	for _, o := range ops {
		got, err := a.reply()
		if err := w.book.settle(w.place, o, got, err); err != nil {
			return err
		}
	}
	return nil
}

// transaction is a MULTI … EXEC at once, which shares a lane, or in pieces, which
// takes a lane of its own for good; so that one is closed soon.
func transaction(w *worker) error {
	a, err := w.kept()
	if err != nil {
		return err
	}
	key := w.key(4)
	set, get := w.book.set(w.place, key, w.size(10)), w.book.get(w.place, key)
	commands := []string{lab.Encode("MULTI"), lab.Encode(set.encode...), lab.Encode(get.encode...), lab.Encode("EXEC")}
	if w.rand.IntN(10) == 0 {
		defer w.leave()
		for _, c := range commands[:2] {
			if err := a.send(c); err != nil {
				return err
			}
			if _, err := a.reply(); err != nil {
				return err
			}
		}
		commands = commands[2:]
	}
	if err := a.send(commands...); err != nil {
		return err
	}
	for range len(commands) - 1 {
		if got, err := a.reply(); err != nil || got != "OK" && got != "QUEUED" {
			return expect("MULTI", "OK or QUEUED", got, err)
		}
	}
	got, err := a.reply()
	if err != nil {
		return err
	}
	list, ok := got.([]any)
	if !ok || len(list) != 2 {
		return wrong(fmt.Sprintf("EXEC: %.100q", fmt.Sprint(got)))
	}
	for i, o := range []op{set, get} {
		if err := w.book.settle(w.place, o, list[i], nil); err != nil {
			return err
		}
	}
	return nil
}

// blocking waits for an element that another connection brings, or for none, or
// leaves while it waits.
func blocking(w *worker) error {
	brings, err := w.kept()
	if err != nil {
		return err
	}
	waits, err := w.fresh()
	if err != nil {
		return err
	}
	defer waits.close()
	w.turn++
	list, item := fmt.Sprintf("%s:list:%d", w.name, w.turn), strconv.Itoa(w.rand.Int())
	switch w.rand.IntN(3) {
	case 0:
		return waits.want(nil, "BLPOP", list, "0.01")
	case 1:
		return waits.send(lab.Encode("BLPOP", list, "0"))
	}
	if err := waits.send(lab.Encode("BLPOP", list, "0")); err != nil {
		return err
	}
	if err := brings.want(1, "RPUSH", list, item); err != nil {
		return err
	}
	got, err := waits.reply()
	return expect("BLPOP", []any{list, item}, got, err)
}

// pubsub listens to a channel of its own and hears all that is said there, in order.
func pubsub(w *worker) error {
	speaks, err := w.kept()
	if err != nil {
		return err
	}
	listens, err := w.fresh()
	if err != nil {
		return err
	}
	defer listens.close()
	channel := w.key(4)
	if err := listens.want([]any{"subscribe", channel, 1}, "SUBSCRIBE", channel); err != nil {
		return err
	}
	messages := 1 + w.rand.IntN(20)
	for i := range messages {
		if err := speaks.want(1, "PUBLISH", channel, content(channel, i, 100)); err != nil {
			// A gateway that restarts cuts who listens, and may let who speaks in first:
			// then the end of the listener's connection is what went wrong.
			for range i + 1 {
				if _, cut := listens.reply(); cut != nil {
					return cut
				}
			}
			return err
		}
	}
	for i := range messages {
		got, err := listens.reply()
		if err := expect("message", []any{"message", channel, content(channel, i, 100)}, got, err); err != nil {
			return err
		}
	}
	return nil
}

// sizes stores and reads values up to 8 MB.
func sizes(w *worker) error {
	a, err := w.kept()
	if err != nil {
		return err
	}
	key := w.key(4)
	if err := w.run(a, w.book.set(w.place, key, w.size(23))); err != nil {
		return err
	}
	return w.run(a, w.book.get(w.place, key))
}

// slowReader asks for more than the kernel's buffers hold and reads with pauses;
// half the time it goes away before the end.
func slowReader(w *worker) error {
	a, err := w.fresh()
	if err != nil {
		return err
	}
	defer a.reset()
	key := w.key(2)
	if err := w.run(a, w.book.set(w.place, key, 1<<20)); err != nil {
		return err
	}
	get := w.book.get(w.place, key)
	const times = 12
	for range times {
		if err := a.send(lab.Encode(get.encode...)); err != nil {
			return err
		}
	}
	stay := w.rand.IntN(2) == 0
	pauses := time.NewTicker(50 * time.Millisecond)
	defer pauses.Stop()
	for i := range times {
		if i == times/2 && !stay {
			return nil
		}
		<-pauses.C
		got, err := a.reply()
		if err := w.book.settle(w.place, get, got, err); err != nil {
			return err
		}
	}
	return nil
}

// state is connections of every protocol and database, each of which has lanes
// of its kind.
func state(w *worker) error {
	a, err := connect(w.place.sidecar.address, w.rand.IntN(200))
	if err != nil {
		return err
	}
	defer a.close()
	hello := []string{"HELLO", strconv.Itoa(2 + w.rand.IntN(2)), "AUTH", "default", w.place.site.Password}
	if _, err := a.do(hello...); err != nil {
		return err
	}
	db := w.rand.IntN(4)
	if err := a.want("OK", "SELECT", strconv.Itoa(db)); err != nil {
		return err
	}
	key := fmt.Sprintf("%s:db%d", w.name, db)
	if err := w.run(a, w.book.set(w.place, key, w.size(10))); err != nil {
		return err
	}
	return w.run(a, w.book.get(w.place, key))
}
