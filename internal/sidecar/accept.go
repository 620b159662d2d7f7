package sidecar

import (
	"net"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
)

// How connections come in where everybody may connect; listen.go has the others.

// listen begins to accept on a listener.
func (l *loop) listen(on *listener) {
	if l.deaf {
		return
	}
	if err := l.add(on.fd, entity{accepting: on}); err != nil {
		l.car.log.Error("can't listen", "cause", err)
		return
	}
	l.accept(on)
}

// accept takes what has come on a listener where everybody may connect, until
// none is left; a client's first command is often there already.
func (l *loop) accept(from *listener) {
	for !l.draining && !from.retrying {
		fd, err := eventloop.Accept(from.fd)
		if err == eventloop.ErrAgain {
			return
		}
		if err != nil {
			if from.shortage.Failed() {
				l.car.log.Warn(cantAccept, "cause", err)
			}
			from.retrying = true
			time.AfterFunc(acceptPause, func() {
				l.post(func() { from.retrying = false; l.accept(from) })
			})
			return
		}
		if from.shortage.Accepted() {
			l.car.log.Info(acceptsAgain)
		}
		l.car.deal(fd, from.addr, l)
	}
}

// What is logged when a listener runs short of descriptors, and when that is over.
const (
	cantAccept   = "connections can't be accepted; trying again"
	acceptsAgain = "connections are accepted again"
)

// acceptPause is how long it waits for descriptors to become free.
const acceptPause = 50 * time.Millisecond

// deal hands a connection to the loop that has the fewest, from one of them or (nil) from
// another goroutine.
func (c *Sidecar) deal(fd int, at net.Addr, from *loop) {
	to := c.loops[0]
	for _, l := range c.loops[1:] {
		if l.crowd.Load() < to.crowd.Load() {
			to = l
		}
	}
	to.crowd.Add(1)
	if to == from {
		to.welcome(fd, at)
	} else if !to.post(func() { to.welcome(fd, at) }) {
		eventloop.Close(fd)
	}
}

// welcome makes a guest of a connection that was dealt to the loop, if there is room for
// it.
func (l *loop) welcome(fd int, at net.Addr) {
	if l.draining { // accepted just before
		l.turnAway(fd)
		return
	}
	if l.car.crowd() > int64(l.car.settingsNow().Connections) {
		_, _ = eventloop.Write(fd, errorReply(errMaxClients))
		l.turnAway(fd)
		return
	}
	g := &guest{loop: l, fd: fd, since: time.Now(), at: at}
	g.socket.unix = at.Network() == "unix"
	g.known.profile = profile{id: l.car.lastID.Add(1), protocol: 2}
	if err := l.add(fd, entity{guest: g}); err != nil {
		l.turnAway(fd)
		return
	}
	l.guests[g] = struct{}{}
	g.socket.readable = true
	l.goOn(g)
}

// crowd is how many connections there are.
func (c *Sidecar) crowd() (n int64) {
	for _, l := range c.loops {
		n += l.crowd.Load()
	}
	return n
}

func (l *loop) turnAway(fd int) {
	eventloop.Close(fd)
	l.crowd.Add(-1)
}

// detach hands a connection that was accepted by a goroutine to a loop.
func (c *Sidecar) detach(conn net.Conn) {
	at := conn.LocalAddr()
	fd, err := eventloop.Detach(conn)
	if err != nil {
		c.log.Error("an application connection can't be driven by the loop", "cause", err)
		conn.Close()
		return
	}
	c.deal(fd, at, nil)
}
