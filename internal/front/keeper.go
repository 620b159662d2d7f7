package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redoubt-cache/redoubt/internal/gateway"
	"github.com/redoubt-cache/redoubt/internal/part"
	"github.com/redoubt-cache/redoubt/internal/sandbox"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// User is the user that a package's installation makes for the front.
const User = "redoubt-front"

// Options are a gateway's that may come from elsewhere: the front is handed what of them
// it needs. Dial is called here, in the keeper.
type Options struct {
	gateway.Options
	// Debug has the front log for debugging.
	Debug bool
}

// Front is an open port, and the process that takes connections on it.
type Front struct {
	options  Options
	listener net.Listener
	// What is started as the front, how many descriptors it may have (as many as we), and
	// how long it may hang; tests have others.
	role        string
	descriptors uint64
	within      time.Duration

	changing sync.Mutex // one change of settings, or start, at a time

	mu       sync.Mutex
	settings gateway.Settings
	running  *link // nil: none
	status   gateway.Status
	restarts int
	since    time.Time
}

// Status is what the keeper tells of the front.
type Status struct {
	PID      int       `json:"pid"` // 0: it doesn't run
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts" metric:"redoubt_front_restarts_total" help:"How often the front, the process that faces the network, ended and was started again."`
}

// New opens the port. Nothing is started before Run.
func New(o Options) (*Front, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	listener, err := gateway.Open(o.Listen)
	if err != nil {
		return nil, err
	}
	return &Front{options: o, listener: listener, role: Role().Name, descriptors: mostDescriptors(), within: aliveWithin, settings: o.Settings, status: gateway.Status{Address: listener.Addr().String(), Most: o.Limits.Connections}}, nil
}

// Addr is where it listens.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// Change puts other settings in force, in the front that runs and in those after it
// (gateway.Gateway.Change).
func (f *Front) Change(s gateway.Settings) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	o := f.options.Options
	o.Settings = s
	if err := o.Check(); err != nil {
		return err
	}
	f.mu.Lock()
	l := f.running
	f.mu.Unlock()
	if l != nil {
		if err := l.sendState(state{Settings: &s}); err != nil && !l.ended() {
			return fmt.Errorf("gateway: the front doesn't take in settings: %w", err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings = s
	f.status.Most = s.Limits.Connections
	return nil
}

func (f *Front) inForce() gateway.Settings {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.settings
}

// Process is the front's process as it is now.
func (f *Front) Process() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{Restarts: f.restarts}
	if f.running != nil {
		s.PID, s.Since = f.running.process.PID(), f.since
	}
	return s
}

// Status is the gateway's, as the front tells it. Of one that doesn't answer it is the
// last that it told.
func (f *Front) Status() gateway.Status {
	f.mu.Lock()
	l := f.running
	f.mu.Unlock()
	if l != nil {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		if m, err := l.ask(ctx, kindStatus); err == nil {
			f.mu.Lock()
			f.status = bounded(*m.Status, f.status)
			f.mu.Unlock()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// bounded is what a front tells, but for what is known here.
func bounded(told, known gateway.Status) gateway.Status {
	told.Address = known.Address
	return told
}

const (
	// A front that ends is started again after firstPause, twice that the next time, up to
	// mostPause; after a life of goodLife it begins anew.
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
	goodLife   = time.Minute
	// startTimeout bounds the time from a front's start to its first connection.
	startTimeout = 30 * time.Second
	// endTimeout is how long a front may take for its end beside its drain.
	endTimeout = 5 * time.Second
	// A front is asked every aliveEvery whether its event loops turn. One that doesn't say
	// so within aliveWithin, twice, hangs, and is ended. Twice, because a machine that slept,
	// or a keeper that was stopped, lets the first time pass with nobody at fault.
	aliveEvery  = 5 * time.Second
	aliveWithin = 20 * time.Second
)

// Run starts the front, calls ready once it takes connections, and starts it again
// whenever it ends, until ctx does; then it has it drain. A front that doesn't get ready
// the first time is an error. Run can be called once.
func (f *Front) Run(ctx context.Context, ready func()) error {
	defer f.listener.Close()
	pause := firstPause
	everReady := false
	for {
		born := time.Now()
		err := f.live(ctx, func() {
			if !everReady {
				everReady = true
				ready()
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		if !everReady {
			return fmt.Errorf("gateway: its front doesn't start: %w", err)
		}
		if time.Since(born) >= goodLife {
			pause = firstPause
		}
		f.mu.Lock()
		f.restarts++
		f.mu.Unlock()
		f.options.Log.Error("the front, which faces the network, is started again; its connections are lost, the engine's data stays", "cause", err, "in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = min(2*pause, mostPause)
	}
}

// live is one life of the front.
func (f *Front) live(ctx context.Context, ready func()) error {
	l, err := f.start()
	if err != nil {
		return err
	}
	defer l.close()
	ended := make(chan struct{})
	var beside sync.WaitGroup
	defer beside.Wait()
	defer close(ended)
	beside.Go(func() { l.follow(f.options.Credentials, ended) })
	hangs := make(chan struct{})
	got := make(chan struct{})
	heard := make(chan error, 1)
	l.listening.Go(func() { heard <- l.listen(func() { close(got) }) })

	late := time.NewTimer(startTimeout)
	defer late.Stop()
	done := ctx.Done()
	var tooLong <-chan time.Time
	for {
		select {
		case <-got:
			got = nil
			late.Stop()
			f.set(l)
			defer f.set(nil)
			beside.Go(func() { l.watch(f.within, ended, hangs) })
			ready()
		case <-done:
			done = nil
			l.say(toFront{Kind: kindDrain})
			end := time.NewTimer(f.inForce().Limits.DrainTimeout + endTimeout)
			defer end.Stop()
			tooLong = end.C
		case <-late.C:
			l.process.Kill()
			return errors.Join(fmt.Errorf("it is not ready after %v", startTimeout), l.process.End())
		case <-tooLong:
			l.process.Kill()
		case <-hangs:
			l.process.Kill()
			return fmt.Errorf("its event loops didn't turn for %v", 2*f.within)
		case err := <-heard: // it has closed its end, or said what it mustn't
			heard = nil
			if errors.Is(err, errMessage) {
				l.process.Kill()
				return err
			}
			if tooLong == nil {
				end := time.NewTimer(endTimeout)
				defer end.Stop()
				tooLong = end.C
			}
		case <-l.process.Done():
			return l.process.End()
		}
	}
}

func (f *Front) set(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running, f.since = l, time.Now()
}

// start starts a front and tells it all that it needs.
func (f *Front) start() (*link, error) {
	f.changing.Lock()
	defer f.changing.Unlock()
	uid, gid, err := sandbox.UserOf(User)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := pair(true)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := sandbox.Part{Name: f.role, UID: uid, GID: gid, Isolate: sandbox.Probe().Namespaces, Descriptors: f.descriptors}
	process, err := part.Start(p, f.options.Log, theirs)
	if err != nil {
		ours.Close()
		return nil, err
	}
	l := &link{front: ours, process: process, options: &f.options, settings: f.inForce, asked: map[uint64]chan toKeeper{}, asks: make(chan struct{}, maxAsks)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	if err := f.tellFirst(l); err != nil {
		process.Kill()
		l.close()
		return nil, errors.Join(err, process.End())
	}
	return l, nil
}

// mostDescriptors is how many this process may have, and so its children.
func mostDescriptors() uint64 {
	var own syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own) != nil {
		return math.MaxInt32
	}
	return uint64(own.Max)
}

func (f *Front) tellFirst(l *link) error {
	o := f.options
	credentials, err := o.Credentials.Pass()
	if err != nil {
		return err
	}
	file, err := f.listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	settings := f.inForce()
	return l.sendState(state{Credentials: credentials, Settings: &settings, First: &first{Enroll: o.Enroll != nil, Renew: o.Renew != nil, Debug: o.Debug}}, file)
}

// watch closes hangs when the front's event loops no longer turn, until ended is closed.
func (l *link) watch(within time.Duration, ended <-chan struct{}, hangs chan<- struct{}) {
	tick := time.NewTicker(min(aliveEvery, within))
	defer tick.Stop()
	alive := func() bool {
		ctx, cancel := context.WithTimeout(l.ctx, within)
		defer cancel()
		m, err := l.ask(ctx, kindAlive)
		return err == nil && m.Alive || l.ctx.Err() != nil || l.ended()
	}
	for {
		missed := 0
		for missed < 2 && !alive() {
			missed++
		}
		if missed == 2 {
			close(hangs)
			return
		}
		select {
		case <-tick.C:
		case <-ended:
			return
		}
	}
}

// follow hands each change of the credentials over, until ended is closed.
func (l *link) follow(c *tunnel.Credentials, ended <-chan struct{}) {
	for {
		changed := c.Changed()
		text, err := c.Pass() // also at first: they may have changed since the start
		if err == nil {
			err = l.sendState(state{Credentials: json.RawMessage(text)})
		}
		if err != nil && !l.ended() {
			l.options.Log.Error("new certificates can't be handed to the front: what it has stays in force", "cause", err)
		}
		select {
		case <-changed:
		case <-ended:
			return
		}
	}
}
