package sidecar

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-cache/redoubt/internal/command"
)

// Options of a sidecar. Listen and Gateways are required.
type Options struct {
	// Listen is the application's Redis address, 127.0.0.1:6379 as a rule. It
	// must be a loopback address, for what passes there is not encrypted,
	// unless AllowNonLoopback says otherwise.
	Listen           string
	AllowNonLoopback bool
	// Listener listens on Listen already, if somebody else has opened it (systemd).
	Listener net.Listener
	// AllowUIDs are the local users who may use the TCP port; none: all.
	AllowUIDs []int
	// Unix is a second listener, if wanted.
	Unix *UnixListener
	// Gateways are those that it may use, one at a time, the first one first.
	Gateways []Gateway
	// FencePerGuest fences each application's run of commands on a shared lane,
	// not each batch (docs/decisions/0040).
	FencePerGuest bool
	// Loops is how many event loops share the connections: 1. Each fills one CPU at
	// most. Between connections of two loops nothing is said of the order in which
	// the engine sees what they send (docs/decisions/0172).
	Loops  int
	Limits Limits
	// Opens says what in the policy would open a command, for the log and Status;
	// nil: nothing is said.
	Opens func(*command.Command) string
	Log   *slog.Logger
}

// Limits of a sidecar; a zero means the default.
type Limits struct {
	// Connections of applications at a time: 10000, as maxclients of redis.conf.
	Connections int
	// OwnLanes bounds the connections with a lane of their own, and the lanes that are
	// kept ready for that: 1536, so that of the
	// 2048 that a gateway lets one host have some are left for shared lanes.
	OwnLanes int
	// Dial bounds the time to reach the cache: 3 s, below what client
	// libraries wait for a reply (5 s and more).
	Dial time.Duration
	// Drain bounds the time that Run waits at its end for replies: 5 s.
	Drain time.Duration
	// Stall bounds the silence of a shared lane that owes replies: 10 s, above
	// the 5 s after which the gateway ends an engine that doesn't answer.
	Stall time.Duration
	// Own is how long a connection keeps the lane that it has for itself after it
	// last needed one: 10 s. A new one costs two round trips and a handshake.
	Own time.Duration
	// Unread bounds what applications leave unread, all together: 256 MB.
	Unread int
	// Order bounds how long a command waits for one that came before it over another
	// connection and is still on its way to a private lane (docs/decisions/0163):
	// 100 ms, far above what a dial takes.
	Order time.Duration
}

func (l Limits) withDefaults() Limits {
	defaults := Limits{Connections: 10000, OwnLanes: 1536, Dial: 3 * time.Second, Drain: 5 * time.Second, Stall: 10 * time.Second, Own: 10 * time.Second, Order: 100 * time.Millisecond, Unread: 256 << 20}
	if l.Connections > 0 {
		defaults.Connections = l.Connections
	}
	if l.OwnLanes > 0 {
		defaults.OwnLanes = l.OwnLanes
	}
	if l.Dial > 0 {
		defaults.Dial = l.Dial
	}
	if l.Drain > 0 {
		defaults.Drain = l.Drain
	}
	if l.Stall > 0 {
		defaults.Stall = l.Stall
	}
	if l.Own > 0 {
		defaults.Own = l.Own
	}
	if l.Unread > 0 {
		defaults.Unread = l.Unread
	}
	if l.Order > 0 {
		defaults.Order = l.Order
	}
	return defaults
}

// Sidecar is the application's Redis on this host.
type Sidecar struct {
	listeners []listener
	gateways  *gateways
	limits    Limits // but for those in Settings
	inForce   atomic.Pointer[Settings]
	log       *slog.Logger
	loops     []*loop  // the first one listens
	digestKey [32]byte // of the digests by which credentials are compared

	proving chan struct{} // has room for maxProofs

	hard  context.Context // ends when everything must
	work  sync.WaitGroup  // dials
	start func(func())    // begins one: work.Go, but in a simulation

	own      atomic.Int64                      // private lanes, had or being made
	standbys atomic.Int64                      // lanes on standby, the same
	away     atomic.Bool                       // the last dial failed
	settings atomic.Pointer[map[string]string] // what CONFIG GET tells (memory.go)
	refusals *refusals

	strikes       atomic.Int64 // wrong passwords, since the start
	toldOfStrikes atomic.Int64 // Unix time
	lastID        atomic.Int64 // of an application connection

	bad atomic.Pointer[func(tls.ConnectionState) error] // see CutIf
}

// firstID keeps our ids of connections apart from an engine's.
const firstID = 1 << 40

// New opens the listeners; nothing is served before Run. If an address is
// taken, the error wraps syscall.EADDRINUSE.
func New(o Options) (*Sidecar, error) {
	c, err := newSidecar(o)
	if err != nil {
		return nil, err
	}
	if err := c.open(o); err != nil {
		for _, l := range c.listeners {
			l.close()
		}
		c.loops[0].deafen()
		c.closePollers()
		return nil, err
	}
	return c, nil
}

func (c *Sidecar) closePollers() {
	for _, l := range c.loops {
		l.poll.Close()
	}
}

// each has every loop do something, and says how many will.
func (c *Sidecar) each(do func(*loop)) (n int) {
	for _, l := range c.loops {
		if l.post(func() { do(l) }) {
			n++
		}
	}
	return n
}

// newSidecar makes one that listens nowhere.
func newSidecar(o Options) (*Sidecar, error) {
	if len(o.Gateways) == 0 {
		return nil, errors.New("sidecar: no gateway to use")
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Sidecar{
		gateways: newGateways(o.Gateways, log),
		limits:   o.Limits.withDefaults(),
		log:      log,
		proving:  make(chan struct{}, maxProofs),
		refusals: newRefusals(log, o.Opens),
	}
	c.put(Settings{o.Limits.Connections, o.Limits.OwnLanes, o.FencePerGuest})
	c.start = c.work.Go
	c.lastID.Store(firstID)
	c.settings.Store(&settings)
	rand.Read(c.digestKey[:])

	for range max(1, o.Loops) {
		l, err := newLoop(c)
		if err != nil {
			c.closePollers()
			return nil, err
		}
		c.loops = append(c.loops, l)
	}
	c.loops[0].listens = true
	c.gateways.lives = c.lives
	c.gateways.left = func(now uint64) { c.each(func(l *loop) { l.forsake(now) }) }
	return c, nil
}

// open opens the listeners.
func (c *Sidecar) open(o Options) error {
	tcp, err := listenTCP(o)
	if err != nil {
		return err
	}
	c.listeners = append(c.listeners, tcp)
	if o.Unix == nil {
		return nil
	}
	unix, err := listenUnix(o.Unix)
	if err == nil {
		c.listeners = append(c.listeners, unix)
	}
	return err
}

// Addr is the TCP address that New opened.
func (c *Sidecar) Addr() net.Addr { return c.listeners[0].addr }

// Run serves until ctx ends, then lets what is under way end, within
// Limits.Drain, and returns when all has ended. ready is called once
// connections are accepted. Its error is a listener's that failed.
func (c *Sidecar) Run(ctx context.Context, ready func()) error {
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	soft, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.hard = hard

	var serving sync.WaitGroup
	for _, l := range c.loops {
		serving.Go(func() { l.run(soft, hard) })
	}
	for i := range c.listeners {
		l := &c.listeners[i]
		if l.fd >= 0 {
			c.loops[0].post(func() { c.loops[0].listen(l) })
			continue
		}
		serving.Go(func() {
			if err := c.accept(soft, *l); err != nil {
				stop(err)
			}
		})
	}
	if ready != nil {
		ready()
	}
	<-soft.Done()
	for _, l := range c.listeners {
		l.close()
	}
	late := time.AfterFunc(c.limits.Drain, cut)
	defer late.Stop()
	serving.Wait()
	c.work.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(soft)
}

// reached keeps the log to the changes of whether the cache can be reached.
func (c *Sidecar) reached(err error) {
	if was := c.away.Swap(err != nil); was == (err != nil) {
		return
	}
	if err != nil {
		c.log.Error("the cache cannot be reached", "cause", err)
		return
	}
	c.log.Info("the cache can be reached again")
}
