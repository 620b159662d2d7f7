package gateway

import "context"

// Status is what a gateway tells of itself.
type Status struct {
	Address     string `json:"address"`
	Connections int    `json:"connections" metric:"redoubt_gateway_connections" help:"Tunnel connections of hosts that proved who they are."`
	Most        int    `json:"connections_limit" metric:"redoubt_gateway_connections_limit" help:"How many there may be (limits.connections)."`
	Identities  int    `json:"identities" metric:"redoubt_gateway_identities" help:"Hosts, by certificate identity, that have at least one connection."`
	Handshakes  int    `json:"handshakes" metric:"redoubt_gateway_handshakes" help:"TLS handshakes under way."`
	Opened      int64  `json:"opened" metric:"redoubt_gateway_connections_opened_total" help:"Connections of hosts that proved who they are, since the start."`
	Refused     int64  `json:"refused" metric:"redoubt_gateway_connections_refused_total" help:"Connections refused, for whatever reason; the log has it."`
	Knocks      int64  `json:"knocks" metric:"redoubt_gateway_knocks_total" help:"Connections that ended without a word, as a balancer's health check does; they are not among those refused."`
}

// Status may be called by any goroutine.
func (g *Gateway) Status() Status {
	s := Status{Address: g.Addr().String(), Most: g.settings().Limits.Connections, Refused: g.refusals.total.Load(), Knocks: g.refusals.knocks.Load()}
	g.handshakes.mu.Lock()
	s.Handshakes = g.handshakes.count
	g.handshakes.mu.Unlock()
	g.peers.mu.Lock()
	s.Connections, s.Identities, s.Opened = g.peers.count, len(g.peers.each), g.peers.opened
	g.peers.mu.Unlock()
	return s
}

// Alive says whether every event loop turns, before ctx ends. Once Run has ended
// none does.
func (g *Gateway) Alive(ctx context.Context) bool { return g.loops.turn(ctx) }
