package sidecar

import (
	"crypto/tls"
	"fmt"
	"net"
)

// CutIf closes every lane whose other end is bad, as judged by its handshake, and
// from now on those too whose handshake was just over. What was under way on a lane
// is told that it may have run or not, as when one is lost. It doesn't wait for that.
func (c *Sidecar) CutIf(bad func(tls.ConnectionState) error) {
	c.bad.Store(&bad)
	c.each(func(l *loop) {
		for _, e := range l.entities {
			if e.link == nil {
				continue
			}
			if err := c.doubt(e.link.conn); err != nil {
				l.lose(e.link, err)
			}
		}
	})
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
