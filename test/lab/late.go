package lab

import (
	"sync/atomic"
	"testing"
	"time"
)

// steps is how many things one after the other, each of which a busy machine may be as
// late with as it was with its latest, a promise of time is kept by: file, watcher, loop,
// peer, and the threads between them.
const steps = 20

// Promised holds a promise of time on a machine that is busy with other things. The bound
// that it gives is what is promised and, for each of those steps, what this machine was
// late by at most with a timer since the test asked.
func Promised(t testing.TB, promised time.Duration) (bound func() time.Duration) {
	const every = 5 * time.Millisecond
	var worst atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			worst.Store(max(worst.Load(), int64(now.Sub(began)-every)))
			began = now
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return func() time.Duration { return promised + steps*time.Duration(worst.Load()) }
}
