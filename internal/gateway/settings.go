package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Settings are what may change while a gateway runs. They are in force together, from
// one moment on, for who comes and for who is there.
type Settings struct {
	Admit  []netip.Prefix // networks that may connect; empty: all
	Limits Limits
	// Alone refuses hosts that have further gateways, whose caches are others.
	Alone bool
}

// Limits bound what peers can take; every one is required.
type Limits struct {
	Connections int // of peers who proved their identity, at a time
	PerIdentity int // the same, of one identity
	Handshakes  int // of peers who haven't yet
	// HandshakeTimeout bounds the time from connect to a proved identity.
	HandshakeTimeout time.Duration
	// DrainTimeout bounds the end of all connections on a stop; 0 cuts them.
	DrainTimeout time.Duration
}

// DefaultLimits are those of a configuration that says nothing.
func DefaultLimits() Limits {
	return Limits{Connections: 4096, PerIdentity: 2048, Handshakes: 1024, HandshakeTimeout: 5 * time.Second, DrainTimeout: 10 * time.Second}
}

func (s *Settings) check() error {
	for _, p := range s.Admit {
		if !p.IsValid() {
			return fmt.Errorf("admit: %s is not a network", p)
		}
	}
	l := s.Limits
	if l.Connections < 1 || l.PerIdentity < 1 || l.Handshakes < 1 || l.HandshakeTimeout <= 0 || l.DrainTimeout < 0 {
		return fmt.Errorf("limits must be positive, they are %+v", l)
	}
	return nil
}

// Change puts other settings in force. Connections that they would not let in end:
// those of networks that are no longer admitted, and, where the cache is now to be
// alone, those of hosts with several gateways. Of those that are more than a limit now
// allows none ends, but no other comes in before so many have gone. It waits for none of
// that, and it can't fail half-way: settings that are wrong change nothing.
func (g *Gateway) Change(s Settings) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	g.put(s)
	g.handshakes.cut(g.admits, notAdmitted)
	g.visitors.cut(g.admits)
	g.loops.judge()
	return nil
}

// put makes settings those that are looked at from now on.
func (g *Gateway) put(s Settings) {
	g.changing.Lock()
	defer g.changing.Unlock()
	s.Limits = s.Limits.fitFiles(g.options.Log)
	g.inForce.Store(&s)
	g.handshakes.bound(s.Limits.Handshakes)
	g.peers.bound(s.Limits.Connections, s.Limits.PerIdentity)
}

// settings are those in force.
func (g *Gateway) settings() *Settings { return g.inForce.Load() }

func (g *Gateway) admits(source netip.Addr) bool { return admitted(g.settings().Admit, source) }

const notAdmitted = "its network is not admitted (admit)"

// stays says why a connection that is up may not stay by the settings; judge asks.
func (s *Settings) stays(a *about) error {
	switch {
	case !admitted(s.Admit, a.source):
		return errors.New(notAdmitted)
	case s.Alone && a.several:
		return errors.New(notAlone)
	}
	return nil
}

// visitors are the connections that no loop carries and whose peers are proved: those
// that ask for renewals and for news of what to believe, for hours.
type visitors struct {
	mu  sync.Mutex
	all map[net.Conn]netip.Addr
}

func (v *visitors) enter(conn net.Conn, source netip.Addr) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all[conn] = source
}

func (v *visitors) leave(conn net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.all, conn)
}

// cut closes those whose source may not stay; their handlers see an error and leave.
func (v *visitors) cut(stays func(netip.Addr) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for conn, source := range v.all {
		if !stays(source) {
			conn.Close()
		}
	}
}
