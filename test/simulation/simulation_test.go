//go:build simulation

// Package simulation turns the sidecar's loop, its lanes and the gateway's relay by
// hand, between applications and engines that are models, all from one seed
// (docs/decisions/0160).
package simulation

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	from = flag.Uint64("from", 1, "the first seed")
	many = flag.Uint64("seeds", 4000, "how many")
	one  = flag.Uint64("seed", 0, "this one only, with all that happens in it")
)

func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1)      // nothing happens at once
	runtime.MemProfileRate = 0 // it has a price
	debug.SetGCPercent(200)    // a world lives for milliseconds, but a large heap is a slow one
	os.Exit(m.Run())
}

// simulate runs one world.
func simulate(t *testing.T, seed uint64, trace func(string)) (failure string, w *world) {
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(seed, trace)
		failure = w.run()
		time.Sleep(time.Minute) // what is left of goroutines ends
	})
	return failure, w
}

// portion is how many seeds a process takes: the model of the kernel is one for all of
// it, so several CPUs need several processes.
const portion = 5000

func TestSeeds(t *testing.T) {
	switch {
	case *one != 0:
		failure, w := simulate(t, *one, func(line string) { fmt.Println(line) })
		if failure != "" {
			t.Fatal(failure)
		}
		t.Logf("%d steps, hash %x", w.steps, w.hash)
	case *many > portion:
		inProcesses(t)
	default:
		inThisProcess(t)
	}
}

func inThisProcess(t *testing.T) {
	steps, hash := 0, uint64(0)
	for seed := *from; seed < *from+*many; seed++ {
		failure, w := simulate(t, seed, nil)
		if steps += w.steps; failure != "" {
			t.Fatalf("seed %d, step %d: %s\nmake simulate SEED=%d tells all that happens in it", seed, w.steps, failure, seed)
		}
		hash = hash*31 + w.hash
	}
	t.Logf("%d seeds, %d steps, hash %x", *many, steps, hash)
}

// inProcesses has as many processes as there are CPUs take one portion after the other,
// until one fails.
func inProcesses(t *testing.T) {
	began := time.Now()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	next, end := *from, *from+*many
	done, told := uint64(0), began
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for {
				mu.Lock()
				first, n := next, min(portion, end-next)
				next += n
				mu.Unlock()
				if n == 0 || ctx.Err() != nil {
					return
				}
				out, err := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestSeeds$", "-test.timeout", "0", "-from", fmt.Sprint(first), "-seeds", fmt.Sprint(n)).CombinedOutput()
				if err != nil && ctx.Err() == nil {
					stop()
					t.Errorf("%s", strings.TrimSpace(string(out)))
				}
				mu.Lock()
				if done += n; err == nil && time.Since(told) >= tellEvery {
					told = time.Now()
					t.Logf("%s", progress(done, *many, told.Sub(began)))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds in %v", *many, time.Since(began).Round(time.Second))
}

// tellEvery is how often who waits is told how far it is.
const tellEvery = 30 * time.Second

func progress(done, of uint64, in time.Duration) string {
	left := time.Duration(float64(in) / float64(done) * float64(of-done))
	return fmt.Sprintf("%d seeds of %d have passed, %.0f a second, %v left", done, of, float64(done)/in.Seconds(), left.Round(time.Second))
}

// TestASeedIsAWorld: the same one has the same things happen.
func TestASeedIsAWorld(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		_, a := simulate(t, seed, nil)
		_, b := simulate(t, seed, nil)
		if a.hash != b.hash || a.steps != b.steps {
			t.Fatalf("seed %d: %d steps and %d", seed, a.steps, b.steps)
		}
	}
}
