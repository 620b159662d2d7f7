package sidecar

import (
	"crypto/tls"
	"fmt"
	"net"
)

// CutIf closes every lane whose other end is bad, as judged by its handshake:
// shared ones, and those of sessions; and from now on those too whose handshake
// was just over. What was under way on a lane is told that it may have run or
// not, as when one is lost. It doesn't wait for that.
func (c *Sidecar) CutIf(bad func(tls.ConnectionState) error) {
	c.bad.Store(&bad)
	c.loop.post(func() {
		for _, g := range c.loop.groups {
			if g.link == nil {
				continue
			}
			if err := c.doubt(g.link.conn); err != nil {
				c.loop.lose(g.link, err)
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.sessions {
		if conn := s.tunnel.Load(); conn != nil {
			s.cutIfBad(conn)
		}
	}
}

// doubt says why a lane may not be used.
func (c *Sidecar) doubt(lane net.Conn) error {
	bad := c.bad.Load()
	conn, ok := lane.(*tls.Conn)
	if bad == nil || !ok {
		return nil
	}
	if err := (*bad)(conn.ConnectionState()); err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	return nil
}

// watchLane lets CutIf see a session's lane.
func (s *session) watchLane(lane net.Conn) {
	if conn, ok := lane.(*tls.Conn); ok {
		s.tunnel.Store(conn)
		s.cutIfBad(conn) // CutIf may just have looked
	}
}

func (s *session) cutIfBad(conn *tls.Conn) {
	if err := s.car.doubt(conn); err != nil {
		s.log.Warn("a lane is lost", "cause", err)
		conn.NetConn().Close() // not with close_notify, which would wait for a writer
	}
}
