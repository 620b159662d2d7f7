package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/redoubt-cache/redoubt/internal/eventloop"
	"github.com/redoubt-cache/redoubt/internal/identity"
	"github.com/redoubt-cache/redoubt/internal/tunnel"
)

// engineTimeout bounds connecting to the engine. A unix socket answers at once,
// unless the engine's backlog is full or it is being restarted.
const engineTimeout = 2 * time.Second

// welcome is called by the accept loop and must not block.
func (g *Gateway) welcome(ctx context.Context, conn net.Conn) {
	source := tunnel.Source(conn)
	if !g.admits(source) {
		conn.Close()
		g.refusals.log(source, identity.ID{}, notAdmitted)
		return
	}
	entry := g.handshakes.enter(conn, source)
	if entry == nil {
		conn.Close()
		g.refusals.log(source, identity.ID{}, tooMany)
		return
	}
	g.handlers.Go(func() {
		defer conn.Close()
		g.serve(ctx, entry, source)
	})
}

const tooMany = "too many handshakes under way, most of them from its own source (limits.handshakes)"

// serve is a connection's life until a loop takes over.
func (g *Gateway) serve(ctx context.Context, entry *handshake, source netip.Addr) {
	wire := eventloop.NewWire(entry.conn)
	several := false
	config := g.options.Credentials.ServerConfig(g.options.further()...)
	tunnel.OnSeveral(config, func() (refuse bool) { several = true; return g.settings().Alone })
	conn := tls.Server(wire, config)
	err := g.handshake(conn)
	if err == nil && !g.admits(source) { // since it was accepted
		err = errors.New(notAdmitted)
	}
	if err == nil && conn.ConnectionState().NegotiatedProtocol == tunnel.Enroll {
		g.options.Enroll(ctx, conn)
		hangUp(conn, entry.conn)
		g.handshakes.leave(entry)
		return
	}
	var peer tunnel.Peer
	if err == nil {
		peer, err = g.prove(conn)
	}
	if err != nil && !peer.ID.IsZero() {
		g.refusals.log(source, peer.ID, err.Error())
		if serves(conn) {
			decline(conn, entry.conn, "refuses this host: "+err.Error())
		}
		// The place among the handshakes is held until then, so that what refused
		// peers can keep of us is bounded like all of strangers'.
		hangUp(conn, entry.conn)
		g.handshakes.leave(entry)
		return
	}
	if err != nil {
		reason := err.Error()
		if ousted := g.handshakes.leave(entry); ousted != "" {
			reason = ousted
		}
		switch {
		case ctx.Err() != nil: // it is we who ended it
		case reason == wentAway && !wire.Heard():
			g.refusals.knock(source)
		default:
			g.refusals.log(source, peer.ID, reason)
		}
		return
	}
	if ousted := g.handshakes.leave(entry); ousted != "" {
		g.peers.leave(peer.ID)
		g.refusals.log(source, peer.ID, ousted)
		return
	}
	handed := false
	if serves(conn) {
		handed = g.relay(ctx, conn, wire, about{peer, source, several, time.Now()})
	} else {
		g.renew(ctx, conn, entry.conn, source)
	}
	if !handed {
		g.peers.leave(peer.ID)
	}
}

// renew serves a peer that renews, for as long as its network is admitted.
func (g *Gateway) renew(ctx context.Context, conn *tls.Conn, raw net.Conn, source netip.Addr) {
	g.visitors.enter(raw, source)
	defer g.visitors.leave(raw)
	if g.admits(source) { // else it changed before we entered
		g.options.Renew(ctx, conn)
	}
}

// serves says whether a connection is for the engine: a sidecar's, or that of an
// application that speaks TLS by itself. The other kind renews.
func serves(conn *tls.Conn) bool {
	protocol := conn.ConnectionState().NegotiatedProtocol
	return protocol == tunnel.Relay || protocol == ""
}

// decline says why a proved peer isn't served, which else only our log would know.
func decline(conn *tls.Conn, raw net.Conn, why string) {
	raw.SetDeadline(time.Now().Add(linger))
	conn.Write(tunnel.Sorry(why)) // hangUp sees what is wrong with the connection
}

// handshake ends with a peer that has proved its identity, or one that has none
// and wants to enrol.
func (g *Gateway) handshake(conn *tls.Conn) error {
	timeout := g.settings().Limits.HandshakeTimeout
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return errors.New(explain(err, timeout))
	}
	return nil
}

// prove tells the peer and counts it; when it returns no error, the caller owes
// peers.leave. An error with a peer means: known, and refused all the same.
func (g *Gateway) prove(conn *tls.Conn) (tunnel.Peer, error) {
	peer, err := g.options.Credentials.Peer(conn.ConnectionState())
	if err != nil {
		return tunnel.Peer{}, err
	}
	return peer, g.peers.enter(peer)
}

// relay connects a proved peer to the engine and hands both to a loop, which
// carries until both are done. If it says false, it has refused.
func (g *Gateway) relay(ctx context.Context, conn *tls.Conn, wire *eventloop.Wire, a about) (handed bool) {
	raw := wire.Conn
	log := g.options.Log.With("peer", a.peer.ID, "source", a.source)
	engine, err := g.dialEngine(ctx)
	if err != nil {
		log.Error("connection refused: the engine is away", "error", err)
		decline(conn, raw, "cannot reach its engine: its log says why")
		hangUp(conn, raw)
		return false
	}
	defer engine.Close()
	r, err := newRelay(a, conn, wire, engine)
	if err != nil {
		log.Error("connection refused", "error", err)
		hangUp(conn, raw)
		return false
	}
	log.Info("connection opened")
	g.loops.add(r)
	return true
}

// farewell is what a loop calls when a relay has ended.
func (g *Gateway) farewell(r *relay) {
	g.peers.leave(r.about.peer.ID)
	g.options.Log.Info("connection closed", "peer", r.about.peer.ID, "source", r.about.source, "reason", r.why,
		"bytes_in", r.in.bytes, "bytes_out", r.out.bytes, "duration", time.Since(r.about.since))
}

func (g *Gateway) dialEngine(ctx context.Context) (*net.UnixConn, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	conn, err := g.options.Dial(ctx)
	if err != nil {
		return nil, err
	}
	engine, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("the engine's connection is a %T, only a unix socket will do", conn)
	}
	return engine, nil
}

// hangUp ends a connection to a peer that may be sending. Closing with unread
// bytes would make the kernel send a reset, and that can overtake our last words
// (RFC 9112 §9.6 tells the story); so say goodbye, then read to the peer's end.
func hangUp(conn *tls.Conn, raw net.Conn) {
	raw.SetDeadline(time.Now().Add(linger))
	if conn.CloseWrite() != nil {
		return
	}
	finish(raw)
	io.Copy(io.Discard, raw)
}

// finish sends FIN behind what was written.
func finish(raw net.Conn) {
	if c, ok := raw.(*net.TCPConn); ok {
		c.CloseWrite()
	}
}
